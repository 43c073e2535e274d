//! Seals what is secret where it is stored: AES-256-GCM under a key that stands elsewhere.
//!
//! What is sealed names its key, so that a key can be followed by another, and is bound to its place, so that what was
//! sealed for one place cannot be put into another.

use crate::identity::hex;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest, Sha256};
use std::fmt;

/// The shortest text that a key is made of.
pub const MIN_KEY: usize = 32;

/// A key.
pub struct SealKey {
    id: String,
    key: RandomizedNonceKey,
}

/// Why something sealed cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// By a key that is not here.
    #[error("it was sealed with the key {0}, which is not here")]
    UnknownKey(String),
    /// By this key, but it was changed since, or is of another place.
    #[error("it was changed since it was sealed, or stands in another's place")]
    Damaged,
}

// === impl SealKey ===

impl SealKey {
    /// The key of a text that nobody can guess, as `openssl rand -hex 32` prints one.
    pub fn of(text: &str) -> Result<SealKey, String> {
        let text = text.trim();
        if text.len() < MIN_KEY {
            return Err(format!(
                "a key is made of at least {MIN_KEY} characters that nobody can guess, as `openssl rand -hex 32` prints"
            ));
        }
        let key = Sha256::new().chain_update(b"portico seal\0").chain_update(text).finalize();
        let id = Sha256::new().chain_update(b"portico seal id\0").chain_update(key).finalize();
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes");
        Ok(SealKey { id: hex(&id[..8]), key })
    }

    /// By what it is called; tells nothing about the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals what is for a place: the nonce, then the ciphertext and its tag.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed);
        let nonce = nonce.expect("so little fits under one nonce");
        [nonce.as_ref(), &sealed[..]].concat()
    }

    /// Opens what was sealed for a place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(OpenError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let mut bytes = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut bytes);
        let length = opened.map_err(|_| OpenError::Damaged)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_and_unchanged() {
        let key = SealKey::of(&"a".repeat(32)).expect("it is long enough");
        let other = SealKey::of(&"b".repeat(32)).expect("it is long enough");
        let sealed = key.seal("here", b"hush");
        assert_eq!(key.open("here", &sealed), Ok(b"hush".to_vec()));
        assert!(!sealed.windows(4).any(|bytes| bytes == b"hush"));
        assert_ne!(key.seal("here", b"hush"), sealed, "a nonce is used once");
        assert_eq!(key.open("there", &sealed), Err(OpenError::Damaged));
        assert_eq!(other.open("here", &sealed), Err(OpenError::Damaged));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open("here", &changed), Err(OpenError::Damaged), "byte {at}");
        }
        assert_eq!(key.open("here", &sealed[..8]), Err(OpenError::Damaged));
        assert!(SealKey::of("short").is_err());
        assert_ne!(key.id(), other.id());
        // A line break at the end is the editor's.
        assert_eq!(SealKey::of(&format!("{}\n", "a".repeat(32))).expect("the same").id(), key.id());
    }
}
