//! A pen writes into room that is there already: no step of a line asks for more, moves what is written, or calls anybody.
//!
//! At a line a request, the checks and calls between the pieces of a line are most of what it costs. So what is known
//! beforehand, as the keys, is copied as a whole of fixed size, of which only the beginning counts.

/// The longest text that is copied as a whole of fixed size.
const SHORT: usize = 32;

/// A text that is known beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    text: [u8; SHORT],
    len: u8,
}

/// Writes a line.
#[derive(Debug)]
pub(super) struct Pen<'r> {
    room: &'r mut [u8],
    at: usize,
    full: bool,
}

// === impl Short ===

impl Short {
    /// The text, of at most 32 bytes; a longer one does not compile.
    pub(super) const fn new(text: &str) -> Short {
        assert!(text.len() <= SHORT, "the text is too long");
        let mut short = Short { text: [0; SHORT], len: text.len() as u8 };
        let mut at = 0;
        while at < text.len() {
            short.text[at] = text.as_bytes()[at];
            at += 1;
        }
        short
    }
}

// === impl Pen ===

impl<'r> Pen<'r> {
    /// A pen at the beginning of the room.
    pub(super) fn new(room: &'r mut [u8]) -> Pen<'r> {
        Pen { room, at: 0, full: false }
    }

    /// How much was written; `None` where the room was too small, and then what is in it is of no use.
    pub(super) fn written(&self) -> Option<usize> {
        (!self.full).then_some(self.at)
    }

    /// Where the pen stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Takes back what was written since then.
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Writes over a byte that was written.
    pub(super) fn replace(&mut self, at: usize, byte: u8) {
        if let Some(old) = self.room.get_mut(at) {
            *old = byte;
        }
    }

    /// Writes a byte.
    pub(super) fn byte(&mut self, byte: u8) {
        match self.room.get_mut(self.at) {
            Some(place) => {
                *place = byte;
                self.at += 1;
            }
            None => self.full = true,
        }
    }

    /// Writes bytes whose number is known.
    pub(super) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.room.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            Some(place) => {
                *place = bytes;
                self.at += N;
            }
            None => self.full = true,
        }
    }

    /// Writes what is known beforehand. At the very end of the room it may not fit though its text would.
    pub(super) fn short(&mut self, short: Short) {
        self.array(short.text);
        self.at -= if self.full { 0 } else { SHORT - usize::from(short.len) };
    }

    /// Writes what is as long as it is.
    pub(super) fn text(&mut self, text: &[u8]) {
        match self.room.get_mut(self.at..).and_then(|rest| rest.get_mut(..text.len())) {
            Some(place) => {
                place.copy_from_slice(text);
                self.at += text.len();
            }
            None => self.full = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pen: &mut Pen<'_>) {
        pen.text(b"long ");
        pen.short(Short::new("short"));
        let here = pen.at();
        pen.array(*b" gone");
        pen.back_to(here);
        pen.byte(b'!');
        pen.replace(0, b'L');
    }

    #[test]
    fn what_is_written_stands_there() {
        let mut room = [b'x'; 64];
        let mut pen = Pen::new(&mut room);
        write(&mut pen);
        assert_eq!(pen.written(), Some(11));
        assert_eq!(&room[..11], b"Long short!");
    }

    #[test]
    fn what_does_not_fit_is_no_line() {
        for len in 0..37 {
            let mut room = vec![0; len];
            let mut pen = Pen::new(&mut room);
            write(&mut pen);
            assert_eq!(pen.written(), None, "{len}");
        }
    }
}
