//! What is to be written next of a message: its head, or what frames a chunk; a piece of the body; what ends a chunk. One
//! write takes of all three what fits.

use bytes::{Buf, Bytes};
use std::io::IoSlice;

/// What is to be written next, in this order.
#[derive(Debug)]
pub(crate) struct Pieces {
    // The head, or what frames a chunk, and how much of it was written.
    prefix: Vec<u8>,
    at: usize,
    /// A piece of the body.
    pub(crate) data: Bytes,
    /// What ends a chunk.
    pub(crate) suffix: &'static [u8],
}

impl Pieces {
    /// A head.
    pub(crate) fn new(head: Vec<u8>) -> Pieces {
        Pieces { prefix: head, at: 0, data: Bytes::new(), suffix: b"" }
    }

    /// The buffer of the head.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.prefix
    }

    /// Whether all is written but a piece of the body.
    pub(crate) fn is_prefix_written(&self) -> bool {
        self.at == self.prefix.len()
    }

    /// Whether the next piece of the body may come.
    pub(crate) fn has_room(&self) -> bool {
        self.data.is_empty() && self.suffix.is_empty()
    }

    /// Whether all is written.
    pub(crate) fn is_written(&self) -> bool {
        self.is_prefix_written() && self.has_room()
    }

    /// What comes before the next piece; what was written of it is forgotten.
    pub(crate) fn prefix(&mut self) -> &mut Vec<u8> {
        if self.is_prefix_written() {
            self.prefix.clear();
            self.at = 0;
        }
        &mut self.prefix
    }

    /// Has it written, none of it empty but the first.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let all = [IoSlice::new(&self.prefix[self.at..]), IoSlice::new(&self.data), IoSlice::new(self.suffix)];
        let used = match (self.data.is_empty(), self.suffix.is_empty()) {
            (true, true) => 1,
            (false, true) => 2,
            (true | false, false) => 3,
        };
        write(&all[..used])
    }

    /// So many bytes were written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        let prefix = n.min(self.prefix.len() - self.at);
        self.at += prefix;
        n -= prefix;
        let data = n.min(self.data.len());
        self.data.advance(data);
        self.suffix = &self.suffix[n - data..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_little_is_taken_at_once_all_comes_out_in_order() {
        for step in 1..20 {
            let mut pieces = Pieces::new(b"head".to_vec());
            (pieces.data, pieces.suffix) = (Bytes::from_static(b"body"), b"end");
            let mut out = Vec::new();
            while !pieces.is_written() {
                let all = pieces.write(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>());
                let taken = step.min(all.len());
                out.extend_from_slice(&all[..taken]);
                pieces.advance(taken);
            }
            assert_eq!(out, b"headbodyend", "{step}");
            pieces.prefix().extend_from_slice(b"next");
            assert_eq!(pieces.into_buffer(), b"next");
        }
    }
}
