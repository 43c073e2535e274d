//! What a process is told at its start: flags and environment, read here and passed on as values.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token, kept as its digest and compared in constant time.
#[derive(Clone)]
pub struct Token([u8; 32]);

// === impl Token ===

impl Token {
    /// Of its text.
    pub fn new(text: &str) -> Token {
        Token(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether that is the token.
    pub fn matches(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&presented).into()
    }
}
