//! The form of what is made for others to show: a prefix, 43 random letters and digits, and 6 that are a checksum of the
//! rest. Admin tokens begin with `portico_`, API keys with `ptk_`.
//!
//! The prefix and the checksum are for programs that look for secrets where none should be, and tell a token that was
//! not copied whole. 43 of 62 characters are 256 random bits, so nobody guesses one, and a fast digest is enough to keep:
//! what makes a password's digest slow is that people choose passwords, and nobody chose this.

use aws_lc_rs::{error::Unspecified, rand};

/// How admin tokens begin.
pub(super) const ADMIN: &str = "portico_";
/// How API keys begin.
pub(crate) const API_KEY: &str = "ptk_";

/// Random characters.
const RANDOM: usize = 43;

/// Characters of the checksum.
const CHECKSUM: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token that begins so.
pub(crate) fn make(prefix: &str) -> Result<String, Unspecified> {
    let mut random = String::with_capacity(RANDOM);
    while random.len() < RANDOM {
        let mut bytes = [0; RANDOM];
        rand::fill(&mut bytes)?;
        // What is left over after the last whole 62 would make some characters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(DIGITS[usize::from(*byte) % 62]));
        random.extend(fair.take(RANDOM - random.len()));
    }
    let checksum = checksum(random.as_bytes());
    Ok(format!("{prefix}{random}{checksum}"))
}

/// Whether that was to be an admin token and was not copied whole.
pub(super) fn is_damaged(presented: &[u8]) -> bool {
    let Some(rest) = presented.strip_prefix(ADMIN.as_bytes()) else { return false };
    match rest.split_at_checked(RANDOM) {
        Some((random, sum)) => sum != checksum(random).as_bytes(),
        None => true,
    }
}

// CRC-32 as zip and gzip have it, in the same characters.
fn checksum(bytes: &[u8]) -> String {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let mut crc = !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[crc as usize % 62];
        crc /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_token_has_the_form_that_scanners_know() {
        let made: HashSet<String> = (0..200).map(|_| make(ADMIN).unwrap()).collect();
        assert_eq!(made.len(), 200);
        for token in &made {
            assert_eq!(token.len(), 57);
            assert!(token.starts_with("portico_"), "{token}");
            assert!(token["portico_".len()..].bytes().all(|c| c.is_ascii_alphanumeric()), "{token}");
            assert!(!is_damaged(token.as_bytes()));
        }
        let used: HashSet<u8> = made.iter().flat_map(|token| token.as_bytes()[8..51].to_vec()).collect();
        assert_eq!(used.len(), 62, "every character occurs");
    }

    #[test]
    fn a_token_that_was_not_copied_whole_is_told() {
        let token = make(ADMIN).unwrap();
        for (at, _) in token.char_indices().skip(8) {
            let mut wrong = token.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            assert!(is_damaged(&wrong), "another character at {at}");
            assert!(is_damaged(&token.as_bytes()[..at]), "cut at {at}");
        }
        assert!(is_damaged(format!("{token}x").as_bytes()));
        for other in ["", "portico", "correct-horse", "ä"] {
            assert!(!is_damaged(other.as_bytes()), "{other} is none of them");
        }
    }

    #[test]
    fn the_checksum_is_crc_32() {
        // The check value of CRC-32 is 0xcbf43926.
        let mut value = 0xcbf4_3926_u32;
        let mut expect = Vec::new();
        while value > 0 {
            expect.insert(0, DIGITS[value as usize % 62]);
            value /= 62;
        }
        assert_eq!(checksum(b"123456789").as_bytes(), expect);
        assert_eq!(checksum(b""), "000000");
    }
}
