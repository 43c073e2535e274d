//! One credential: an API key, of which only the digest is ever kept.
//!
//! The digest is keyed: whoever reads the configuration, or takes a disk away, cannot try keys out without the pepper.
//! Digests are what is looked up and compared. How long that takes may tell of a digest, but nobody without the pepper
//! knows which key has a digest like another, so it tells nothing of keys.

use super::MAX_CREDENTIALS;
use crate::{
    fields::check_labels,
    invalid::Faults,
    keyring::{self, Digest, Keyring},
    name::Name,
    pb::{self, api_key::Source, credential::Kind as Proof, secret},
    resource::{Kind, Resource},
    secret as secrets,
};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The shortest API key that was made elsewhere.
const MIN_KEY: usize = 16;
/// The longest.
const MAX_KEY: usize = 255;

/// An API key: its digest, and when it is good. Times are seconds since 1970, which fit until 2106.
#[derive(Debug)]
pub struct Credential {
    digest: Digest,
    not_before: u32,
    // The last of all seconds: never.
    expires_at: u32,
    // Where its id ends among those of the consumer.
    id_end: u32,
}

// === impl Credential ===

impl Credential {
    /// The digest of the key.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether it is good at that second.
    pub fn is_good_at(&self, second: u32) -> bool {
        self.not_before <= second && (second < self.expires_at || self.expires_at == u32::MAX)
    }

    pub(super) fn id_end(&self) -> usize {
        self.id_end as usize
    }
}

/// A credential with that key, as a document has it.
pub fn document(id: &str, key: &str) -> Value {
    json!({"id": id, "api_key": {"key": {"value": key}}})
}

/// The resource with each key that a consumer was given in place of its digest digested. What cannot be stays, and is a
/// fault when the resource is checked.
pub fn digest_keys(resource: Resource, keyring: Option<&Keyring>) -> Resource {
    let Some(keyring) = keyring.filter(|_| resource.key.kind == Kind::Consumer) else { return resource };
    let Ok(mut message) = pb::Consumer::decode(resource.payload.clone()) else { return resource };
    let mut changed = false;
    for credential in &mut message.credentials {
        let Some(Proof::ApiKey(api_key)) = &mut credential.kind else { continue };
        let Some(Source::Key(key)) = &api_key.source else { continue };
        let Some(secret::Source::Value(key)) = &key.source else { continue };
        if is_key(key) {
            let digest = keyring.digest(key.as_bytes());
            api_key.source = Some(Source::Digest(digest.to_vec().into()));
            changed = true;
        }
    }
    match changed {
        true => Resource { payload: message.encode_to_vec().into(), ..resource },
        false => resource,
    }
}

/// The credentials, and their ids one behind the other.
pub(super) fn check_credentials(messages: &[pb::Credential], faults: &mut Faults) -> (Option<Vec<Credential>>, String) {
    if messages.len() > MAX_CREDENTIALS {
        faults.note(format!("a consumer has at most {MAX_CREDENTIALS} credentials; delete those that have expired"));
        return (None, String::new());
    }
    let (mut ids, mut seen) = (String::new(), BTreeSet::new());
    let mut credentials = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        faults.at(at, |faults| {
            if faults.at("id", |faults| check_id(&message.id, faults)).is_some() && !seen.insert(&message.id) {
                faults.note_at("id", format!("{:?} is the id of another credential of the consumer", message.id));
            }
            ids.push_str(&message.id);
            credentials.push(check_credential(message, ids.len(), faults));
        });
    }
    (credentials.into_iter().collect(), ids)
}

fn check_credential(message: &pb::Credential, id_end: usize, faults: &mut Faults) -> Option<Credential> {
    check_labels(&message.labels, faults);
    let not_before = faults.at("not_before", |faults| check_time(&message.not_before, faults));
    let expires_at = faults.at("expires_at", |faults| check_time(&message.expires_at, faults));
    if let (Some(not_before), Some(expires_at)) = (not_before, expires_at)
        && expires_at <= not_before
    {
        faults.note_at("expires_at", "it would end before it begins to be good");
    }
    let digest = match &message.kind {
        Some(Proof::ApiKey(api_key)) => faults.at("api_key", |faults| check_api_key(api_key, faults)),
        // The form of the JSON has a choice; what came otherwise is told here.
        None => faults.take(Err("a credential is an `api_key`".into())),
    };
    Some(Credential {
        digest: digest?,
        not_before: not_before.unwrap_or(0),
        expires_at: expires_at.unwrap_or(u32::MAX),
        id_end: u32::try_from(id_end).ok()?,
    })
}

// An id has the form of a name.
fn check_id(text: &str, faults: &mut Faults) -> Option<Name> {
    faults.take(Name::parse(text).map_err(|why| why.replace("a name", "an id")))
}

fn check_api_key(message: &pb::ApiKey, faults: &mut Faults) -> Option<Digest> {
    match &message.source {
        Some(Source::Digest(digest)) => {
            let digest = Digest::try_from(digest.as_ref());
            faults.at("digest", |faults| {
                faults.take(digest.map_err(|_| "a digest of an API key has 64 hexadecimal digits".to_owned()))
            })
        }
        Some(Source::Key(key)) => faults.at("key", |faults| {
            let key = secrets::check(Some(key), faults)?;
            faults.note(match is_key(key) {
                true => format!(
                    "there is no keyring to digest it with; give one, {{name: {}, pepper: {{value: …}}}}, or have keys \
                     made by POST /v1/consumers/NAME/credentials, which makes it too",
                    keyring::NAME
                ),
                false => format!(
                    "an API key has {MIN_KEY} to {MAX_KEY} printable characters of ASCII and no space, so that it fits \
                     into a header and nobody guesses it"
                ),
            });
            None
        }),
        None => faults.take(Err("an API key is a `digest` or a `key`".into())),
    }
}

fn is_key(text: &str) -> bool {
    (MIN_KEY..=MAX_KEY).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
}

// Nothing where nothing was said.
fn check_time(text: &str, faults: &mut Faults) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("{text:?} is not a time; write it as in \"2027-01-31T12:00:00Z\""));
    let second = faults.take(time)?.unix_timestamp();
    // What was before 1970 was always, and what is after 2106 is never.
    Some(u32::try_from(second.max(0)).unwrap_or(u32::MAX))
}
