//! Consumers, checked: who calls, and what they prove themselves with.
//!
//! There may be a million API keys, so what is kept of each is little: its digest and its times, and one text for the ids
//! of all credentials of a consumer. There is no clock here: whether a credential is good is judged when it is shown.

mod credential;
mod directory;
mod policies;

pub use credential::{Credential, digest_keys, document};
pub use directory::{Directory, Found, Taken};
pub use policies::{OwnPolicies, PoliciesKey};

use crate::{
    fields::{check_labels, check_name, check_reference},
    invalid::Faults,
    name::Name,
    pb,
    resource::{Kind, Resource},
};
use credential::check_credentials;
use prost::Message;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most credentials of one consumer.
pub const MAX_CREDENTIALS: usize = 1_000;
/// The most groups of one consumer, and the most ids.
pub const MAX_NAMES: usize = 64;
/// The longest id by which others know it.
pub const MAX_ID: usize = 255;

/// The field of a consumer that stays what it was where a document leaves it out.
pub const CREDENTIALS: &str = "credentials";

/// Who calls.
#[derive(Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Name,
    // Most have none.
    #[expect(clippy::box_collection, reason = "a pointer is a third of a map, and there may be a million consumers")]
    labels: Option<Box<BTreeMap<String, String>>>,
    /// What it belongs to; sorted.
    pub groups: Box<[Name]>,
    /// By what others know it.
    pub ids: Box<[Box<str>]>,
    /// What it proves itself with.
    pub credentials: Box<[Credential]>,
    // The ids of the credentials, one behind the other.
    credential_ids: Box<str>,
    /// What must hold for its requests; most have nothing of their own.
    pub policies: Option<Arc<OwnPolicies>>,
}

// === impl Consumer ===

impl Consumer {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Consumer, faults: &mut Faults) -> Option<Consumer> {
        let name = check_name(&message.name, faults);
        check_labels(&message.labels, faults);
        let groups = faults.at("groups", |faults| check_groups(&message.groups, faults));
        let ids = faults.at("ids", |faults| check_ids(&message.ids, faults));
        let (credentials, credential_ids) =
            faults.at(CREDENTIALS, |faults| check_credentials(&message.credentials, faults));
        let policies = OwnPolicies::check(&message.name, &message.policies, faults);
        Some(Consumer {
            name: name?,
            labels: Some(message.labels.clone()).filter(|labels| !labels.is_empty()).map(Box::new),
            groups,
            ids,
            credentials: credentials?.into(),
            credential_ids: credential_ids.into(),
            policies: policies.map(Arc::new),
        })
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.labels.as_deref().unwrap_or(&NONE)
    }

    /// Whether it belongs to the group.
    pub fn is_in(&self, group: &Name) -> bool {
        self.groups.binary_search(group).is_ok()
    }

    /// The id of its credential at that place.
    pub fn credential_id(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.credentials.get(before)).map_or(0, Credential::id_end);
        let end = self.credentials.get(at).map_or(start, Credential::id_end);
        self.credential_ids.get(start..end).unwrap_or_default()
    }
}

/// Whether a document about a resource of that kind leaves the credentials to what is stored.
pub fn leaves_credentials(kind: Kind, document: &Value) -> bool {
    kind == Kind::Consumer && document.get(CREDENTIALS).is_none()
}

/// The consumer with the credentials that are stored.
pub fn keep_credentials(resource: Resource, stored: Option<&Resource>) -> Resource {
    let decode = |resource: &Resource| pb::Consumer::decode(resource.payload.clone()).ok();
    let Some(stored) = stored.and_then(decode) else { return resource };
    let Some(mut message) = decode(&resource) else { return resource };
    message.credentials = stored.credentials;
    Resource { payload: message.encode_to_vec().into(), ..resource }
}

fn check_groups(groups: &[String], faults: &mut Faults) -> Box<[Name]> {
    note_too_many(groups, "groups", faults);
    let parse = |(at, text): (usize, &String)| check_reference(&at.to_string(), text, faults);
    let groups: BTreeSet<Name> = groups.iter().enumerate().filter_map(parse).collect();
    groups.into_iter().collect()
}

fn check_ids(ids: &[String], faults: &mut Faults) -> Box<[Box<str>]> {
    note_too_many(ids, "ids", faults);
    let mut seen = BTreeSet::new();
    for (at, id) in ids.iter().enumerate() {
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|c| (b' '..=b'~').contains(&c)) {
            faults.note_at(at, format!("an id has 1 to {MAX_ID} printable characters of ASCII"));
        }
        if !seen.insert(id) {
            faults.note_at(at, format!("{id:?} stands twice"));
        }
    }
    ids.iter().map(|id| id.as_str().into()).collect()
}

fn note_too_many(names: &[String], what: &str, faults: &mut Faults) {
    if names.len() > MAX_NAMES {
        faults.note(format!("at most {MAX_NAMES} {what} can be given"));
    }
}

#[cfg(test)]
mod tests;
