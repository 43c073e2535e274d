//! The body of `apply`: a list of resources for each kind, every fault of it found at once and told with its place.

use super::problem::Problem;
use crate::commit::Refusal;
use proto::{
    consumer::keep_credentials,
    invalid::{Invalid, did_you_mean, escape},
    json::{self, secrets},
    resource::{Change, KINDS, Kind, Resource, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::Value;
use std::collections::{BTreeMap, btree_map::Entry};

/// What an `apply` says, as far as it could be understood.
#[derive(Debug)]
pub(crate) struct Bundle {
    // Each with whether it leaves its credentials to what is stored.
    resources: Vec<(Resource, bool)>,
    // Where in the body a resource stands first.
    places: BTreeMap<ResourceKey, String>,
    // Faults of shape within a resource; their pointers are relative to it.
    shape: Vec<Invalid>,
    // Other faults of shape; their pointers are relative to the body.
    loose: Vec<Invalid>,
}

impl Bundle {
    /// Reads a body. Faults within it are told when it is put to a configuration, for that may have more.
    pub(crate) fn read(body: &Value) -> Result<Bundle, Problem> {
        let Value::Object(object) = body else {
            let detail = "the body is not an object with lists of routes, upstreams, policies, consumers, certificates and tests";
            return Err(Problem::invalid(&[fault("", detail)], |_| None));
        };
        let (resources, places) = (Vec::new(), BTreeMap::new());
        let mut bundle = Bundle { resources, places, shape: Vec::new(), loose: Vec::new() };
        for (name, list) in object {
            let kind = KINDS.into_iter().find(|kind| kind.plural() == name);
            match (kind, list) {
                // YAML has a null where a list is left empty.
                (Some(_), Value::Null) => {}
                (Some(kind), Value::Array(list)) => bundle.read_list(kind, list),
                (Some(_), _) => bundle.loose.push(fault(&format!("/{name}"), "not a list")),
                (None, _) => {
                    let hint = did_you_mean(name, KINDS.map(Kind::plural));
                    let detail = format!("unknown field {name:?}{hint}");
                    bundle.loose.push(fault(&format!("/{}", escape(name)), &detail));
                }
            }
        }
        Ok(bundle)
    }

    /// The changes that it makes, or every fault that it or the configuration with it would have.
    pub(crate) fn changes(&self, snapshot: &Snapshot) -> Result<Vec<Change>, Refusal> {
        let put = |(resource, leaves): &(Resource, bool)| Change::Put(keep(resource.clone(), *leaves, snapshot));
        let changes: Vec<Change> = self.resources.iter().map(put).collect();
        if self.shape.is_empty() && self.loose.is_empty() {
            return Ok(changes);
        }
        let meaning = snapshot.with(changes).err().unwrap_or_default();
        let within = json::merge_faults(self.shape.clone(), meaning);
        Err(Refusal::Invalid(self.loose.iter().cloned().chain(within).collect()))
    }

    /// Where in the body a resource stands.
    pub(crate) fn place(&self, key: &ResourceKey) -> Option<String> {
        self.places.get(key).cloned()
    }

    /// Whether the body has the resource.
    pub(crate) fn has(&self, key: &ResourceKey) -> bool {
        self.places.contains_key(key)
    }

    /// The names of the resources of the body that were the same before.
    pub(crate) fn unchanged(&self, before: &Snapshot, after: &Snapshot) -> Value {
        let leaf = |snapshot: &Snapshot, key| snapshot.get(key).map(|entry| entry.leaf);
        let same = self.places.keys().filter(|key| leaf(before, key) == leaf(after, key));
        same.map(|key| Value::from(key.to_string())).collect()
    }

    fn read_list(&mut self, kind: Kind, list: &[Value]) {
        for (at, value) in list.iter().enumerate() {
            let place = format!("/{}/{at}", kind.plural());
            let read = json::read_partial(kind, value);
            let Some(resource) = read.resource else {
                let placed = |fault: Invalid| Invalid { pointer: format!("{place}{}", fault.pointer), ..fault };
                self.loose.extend(read.faults.into_iter().map(placed));
                continue;
            };
            match self.places.entry(resource.key.clone()) {
                Entry::Vacant(free) => {
                    free.insert(place);
                    self.shape.extend(read.faults);
                    self.resources.push((resource, read.leaves_credentials));
                }
                Entry::Occupied(first) => {
                    let detail = format!("{} stands in the body twice; the first is {}", first.key(), first.get());
                    self.loose.push(fault(&format!("{place}/name"), &detail));
                }
            }
        }
    }
}

/// The resource with the stored secrets in the place of their digests, and its stored credentials if it leaves them.
pub(crate) fn keep(resource: Resource, leaves_credentials: bool, snapshot: &Snapshot) -> Resource {
    let stored = snapshot.get(&resource.key).map(|entry| &entry.resource);
    let resource = secrets::keep(resource, stored);
    if leaves_credentials { keep_credentials(resource, stored) } else { resource }
}

fn fault(pointer: &str, detail: &str) -> Invalid {
    Invalid { resource: None, pointer: pointer.into(), detail: detail.into() }
}
