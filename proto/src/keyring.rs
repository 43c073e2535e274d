//! The keyring, checked: what the digests of API keys are keyed with.
//!
//! It is a part of the configuration, sealed where it is stored like all that is secret, so that a node which starts
//! without a control plane has it, and one that runs from a file reads it there.

use crate::{
    fields::{check_labels, check_name},
    invalid::Faults,
    name::Name,
    pb, secret,
};
use aws_lc_rs::hmac;
use std::{collections::BTreeMap, fmt};

/// What the only keyring is called.
pub const NAME: &str = "api-keys";

/// The shortest pepper.
pub const MIN_PEPPER: usize = 32;

/// A keyed digest of an API key.
pub type Digest = [u8; 32];

/// What digests are keyed with.
pub struct Keyring {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    // Prepared: what it costs to take the pepper in is paid once.
    key: hmac::Key,
}

// === impl Keyring ===

impl Keyring {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Keyring, faults: &mut Faults) -> Option<Keyring> {
        let name = check_name(&message.name, faults);
        if name.as_ref().is_some_and(|name| name.as_str() != NAME) {
            faults.note_at("name", format!("there is one keyring, and its name is {NAME:?}"));
        }
        check_labels(&message.labels, faults);
        let pepper = faults.at("pepper", |faults| {
            let pepper = secret::check(message.pepper.as_ref(), faults)?;
            if pepper.len() < MIN_PEPPER {
                faults.note(format!(
                    "a pepper has at least {MIN_PEPPER} characters that nobody can guess, as `openssl rand -hex 32` prints"
                ));
            }
            Some(pepper)
        });
        let key = hmac::Key::new(hmac::HMAC_SHA256, pepper?.as_bytes());
        Some(Keyring { name: name?, labels: message.labels.clone(), key })
    }

    /// The digest of an API key.
    pub fn digest(&self, key: &[u8]) -> Digest {
        // It has 32 bytes, whatever the key is.
        Digest::try_from(hmac::sign(&self.key, key).as_ref()).unwrap_or_default()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::hex;

    fn keyring(name: &str, pepper: &str) -> Result<Keyring, Vec<String>> {
        let source = pb::secret::Source::Value(pepper.into());
        let message = pb::Keyring {
            name: name.into(),
            labels: BTreeMap::new(),
            pepper: Some(pb::Secret { source: Some(source) }),
        };
        let mut faults = Faults::default();
        let keyring = Keyring::check(&message, &mut faults);
        match faults.count() {
            0 => Ok(keyring.expect("no fault was noted")),
            _ => Err(faults.into_found().iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_digest_is_hmac_sha_256() {
        // As `printf … | openssl dgst -sha256 -hmac …` prints it.
        let keyring = keyring(NAME, &"p".repeat(32)).expect("it is right");
        assert_eq!(
            hex(&keyring.digest(b"a key of somebody")),
            "8909eb1fdb20f8c1f0a2e27f01aca3c426bbe3064ee1b055ac9adcc78ea00259"
        );
        assert!(!format!("{keyring:?}").contains("ppp"));
    }

    #[test]
    fn there_is_one_and_its_pepper_is_long() {
        assert!(keyring("others", &"p".repeat(32)).unwrap_err()[0].starts_with("/name: there is one"));
        assert!(keyring(NAME, "pepper").unwrap_err()[0].starts_with("/pepper: a pepper has at least 32"));
    }
}
