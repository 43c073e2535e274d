//! Consumers in a configuration: no two have the same key or id, and their keys are digested with the keyring that is
//! there.

use super::{Checked, Snapshot};
use crate::{
    consumer::{Consumer, Directory, OwnPolicies, PoliciesKey},
    explain::Description,
    invalid::{Faults, Invalid},
    keyring::{self, Keyring},
    name::Name,
    pb,
    policy::Attachment,
    resource::{Change, Kind, ResourceKey},
};
use prost::Message;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The policies of consumers that were checked together: those who have the same share them, for there may be a million.
#[derive(Default)]
pub(super) struct Lists(HashMap<PoliciesKey, Arc<OwnPolicies>>);

// === impl Lists ===

impl Lists {
    /// Has it share what others have, or had before.
    pub(super) fn share(&mut self, checked: &mut Checked, before: &Directory) {
        let Checked::Consumer(consumer) = checked else { return };
        // Nobody else has it yet.
        let Some(policies) = Arc::get_mut(consumer).and_then(|consumer| consumer.policies.as_mut()) else { return };
        let known = || before.find_policies(&policies.key).unwrap_or(policies).clone();
        *policies = self.0.entry(policies.key).or_insert_with(known).clone();
    }
}

impl Snapshot {
    /// Who has which API key and which id.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The consumer of a name.
    pub fn consumer(&self, name: &Name) -> Option<&Arc<Consumer>> {
        self.get(&ResourceKey::new(Kind::Consumer, name.clone()))?.checked.as_consumer()
    }

    /// Notes that a request is said to be a consumer's whom there is not.
    pub fn check_given(&self, request: &Description, faults: &mut Faults) {
        let Some(name) = request.consumer.as_ref().filter(|name| self.consumer(name).is_none()) else { return };
        faults.note_at("consumer", format!("no consumer is named {:?}", name.as_str()));
    }

    // With what the keys of consumers are digested once the changes are made.
    pub(super) fn keyring_after(&self, changes: &[Change]) -> Option<Arc<Keyring>> {
        let last = changes.iter().rev().find(|change| change.key().kind == Kind::Keyring);
        match last {
            None => self.directory.keyring().cloned(),
            Some(Change::Delete(_)) => None,
            Some(Change::Put(resource)) => {
                // Its faults are noted when its turn comes.
                let message = pb::Keyring::decode(resource.payload.clone()).ok()?;
                Keyring::check(&message, &mut Faults::default()).map(Arc::new)
            }
        }
    }

    // Keeps the directory, notes what two consumers have, and keys that would be void.
    pub(super) fn check_consumers(
        &mut self,
        before: &Snapshot,
        touched: &BTreeSet<ResourceKey>,
        invalid: &mut Vec<Invalid>,
    ) {
        let keyring = touched.iter().find(|key| key.kind == Kind::Keyring);
        let consumers: Vec<&ResourceKey> = touched.iter().filter(|key| key.kind == Kind::Consumer).collect();
        if consumers.is_empty() && keyring.is_none() {
            return;
        }
        let consumer = |snapshot: &Snapshot, key: &ResourceKey| snapshot.get(key)?.checked.as_consumer().cloned();
        let mut directory = (*self.directory).clone();
        for old in consumers.iter().filter_map(|key| consumer(before, key)) {
            directory.take(&old);
        }
        let kept = directory.len();
        let mut keyless = None;
        for key in consumers {
            let Some(new) = consumer(self, key) else { continue };
            for taken in directory.put(&new) {
                let (pointer, detail) = taken.fault();
                invalid.push(Invalid { resource: Some(key.clone()), pointer, detail });
            }
            keyless = keyless.or((!new.credentials.is_empty()).then_some(key));
        }
        if let Some(key) = keyring {
            let next = self.get(key).and_then(|entry| entry.checked.as_keyring()).cloned();
            // One that is refused for its own faults is not missing.
            let is_refused = invalid.iter().any(|fault| fault.resource.as_ref() == Some(key));
            if !is_refused && kept > 0 && !same(next.as_deref(), directory.keyring().map(|keyring| &**keyring)) {
                let pointer = if next.is_some() { "/pepper" } else { "" }.into();
                let detail = format!(
                    "{kept} API keys are digested with the pepper that is there and would be void; delete their \
                     credentials first"
                );
                invalid.push(Invalid { resource: Some(key.clone()), pointer, detail });
            }
            keyless = keyless.filter(|_| !is_refused);
            directory.set_keyring(next);
        }
        if let Some(key) = keyless.filter(|_| directory.keyring().is_none()) {
            let detail = format!(
                "there is no keyring {:?}, with whose pepper the digest would mean something; give it too",
                keyring::NAME
            );
            let pointer = "/credentials/0/api_key/digest".into();
            invalid.push(Invalid { resource: Some(key.clone()), pointer, detail });
        }
        self.directory = Arc::new(directory);
    }

    // Notes policies that stand by `ref` where they cannot: at consumers that were touched, and those that were touched.
    pub(super) fn check_policies_of_consumers(&self, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        for key in touched {
            let Some(entry) = self.get(key) else { continue };
            if let Some(policies) = entry.checked.as_consumer().and_then(|consumer| consumer.policies.as_ref()) {
                for (at, attachment) in policies.attachments.iter().enumerate() {
                    let Attachment::Ref(name) = attachment else { continue };
                    if let Some(why) = self.policy(name).and_then(|policy| policy.kind.unfit_for_consumers()) {
                        let pointer = format!("/policies/{at}/ref");
                        invalid.push(Invalid { resource: Some(key.clone()), pointer, detail: why });
                    }
                }
            }
            let Some(why) = entry.checked.as_policy().and_then(|policy| policy.kind.unfit_for_consumers()) else {
                continue;
            };
            let is_left = |referrer: &&ResourceKey| referrer.kind == Kind::Consumer && !touched.contains(referrer);
            if let Some(referrer) = self.referrers(key).find(is_left) {
                let detail = format!("{referrer} refers to it, but {why}");
                invalid.push(Invalid { resource: Some(key.clone()), pointer: String::new(), detail });
            }
        }
    }
}

fn same(one: Option<&Keyring>, other: Option<&Keyring>) -> bool {
    // Two peppers are the same if they digest alike.
    let sample = |keyring: &Keyring| keyring.digest(b"");
    one.map(sample) == other.map(sample)
}
