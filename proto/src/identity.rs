//! Which configuration: (history, revision, root hash). Equal numbers with different content are not equal.

use crate::{pb, resource::Hash};
use bytes::Bytes;
use std::fmt;

/// The identity of a configuration, 56 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Changes when a database is restored or replaced.
    pub history: [u8; 16],
    /// Counts from 0, the empty configuration.
    pub revision: u64,
    /// The root of the hash tree.
    pub root: Hash,
}

impl Identity {
    /// From its message; `None` when a part has the wrong length.
    pub fn from_message(message: &pb::Identity) -> Option<Identity> {
        Some(Identity {
            history: message.history.as_ref().try_into().ok()?,
            revision: message.revision,
            root: message.root.as_ref().try_into().ok()?,
        })
    }
}

// === impl Identity ===

impl From<&Identity> for pb::Identity {
    fn from(identity: &Identity) -> pb::Identity {
        pb::Identity {
            history: Bytes::copy_from_slice(&identity.history),
            revision: identity.revision,
            root: Bytes::copy_from_slice(&identity.root),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, history {})", self.revision, hex(&self.root[..4]), hex(&self.history[..4]))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// The bytes of pairs of hexadecimal digits; `None` where that is something else.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_digits_is_read() {
        assert_eq!(unhex(&hex(&[0, 9, 0xab, 0xff])), Some(vec![0, 9, 0xab, 0xff]));
        assert_eq!(unhex("AbfF"), Some(vec![0xab, 0xff]));
        for bad in ["a", "+1", "0x", "gg", "ä", " 0"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
