//! The keys that secrets in the database are sealed with: one seals, and all open, so that one can follow another.

use super::{StoreError, error::corrupt};
use proto::{
    json::secrets,
    resource::{Resource, ResourceKey},
    seal::{OpenError, SealKey},
};
use std::{fmt, sync::Arc};

/// The keys. Cheap to clone.
#[derive(Clone)]
pub struct Seal {
    keys: Arc<[SealKey]>,
}

// === impl Seal ===

impl Seal {
    /// Of the texts of the keys; the first seals.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Seal, String> {
        let keys: Vec<SealKey> = texts.into_iter().map(SealKey::of).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("there is no key".into()) } else { Ok(Seal { keys: keys.into() }) }
    }

    /// The payload as it is stored, and the id of its key: sealed where it has a secret.
    pub(super) fn close(&self, resource: &Resource) -> (Vec<u8>, Option<&str>) {
        match secrets::has(resource) {
            true => {
                let key = &self.keys[0];
                (key.seal(&resource.key.to_string(), &resource.payload), Some(key.id()))
            }
            false => (resource.payload.to_vec(), None),
        }
    }

    /// The payload of what is stored.
    pub(super) fn open(&self, key: &ResourceKey, stored: Vec<u8>, by: Option<&str>) -> Result<Vec<u8>, StoreError> {
        let Some(by) = by else { return Ok(stored) };
        let failed = |error: OpenError| corrupt(format!("the secret of {key} cannot be read: {error}"));
        match self.keys.iter().find(|key| key.id() == by) {
            Some(seal) => seal.open(&key.to_string(), &stored).map_err(failed),
            None => Err(unknown(by)),
        }
    }

    /// Refuses what is sealed with a key that is not here.
    pub(super) fn check(&self, ids: &[String]) -> Result<(), StoreError> {
        match ids.iter().find(|id| self.keys.iter().all(|key| key.id() != *id)) {
            Some(id) => Err(unknown(id)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

fn unknown(id: &str) -> StoreError {
    StoreError::Refused(format!(
        "secrets in it are sealed with the key {id}, which is not here; all control planes of a database need the same \
         keys, and old ones until nothing is sealed with them: give each with --secret-key-file"
    ))
}
