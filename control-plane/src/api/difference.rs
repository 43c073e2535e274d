//! What differs between two configurations, resource by resource.

use proto::{
    json,
    resource::{Change, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::{Map, Value, json};

/// What differs: each list in the order of kinds and names.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) created: Vec<ResourceKey>,
    pub(crate) updated: Vec<ResourceKey>,
    pub(crate) deleted: Vec<ResourceKey>,
}

// === impl Difference ===

impl Difference {
    /// From one configuration to another.
    pub(crate) fn between(before: &Snapshot, after: &Snapshot) -> Difference {
        let mut difference = Difference::default();
        for key in before.differing(after) {
            let list = match (before.get(&key), after.get(&key)) {
                (None, _) => &mut difference.created,
                (Some(_), Some(_)) => &mut difference.updated,
                (Some(_), None) => &mut difference.deleted,
            };
            list.push(key);
        }
        difference
    }

    /// The names of what was created, updated and deleted.
    pub(crate) fn summary(&self) -> Map<String, Value> {
        let names = |keys: &[ResourceKey]| keys.iter().map(|key| Value::from(key.to_string())).collect();
        let lists = [("created", &self.created), ("updated", &self.updated), ("deleted", &self.deleted)];
        lists.into_iter().map(|(name, keys)| (name.to_owned(), Value::Array(names(keys)))).collect()
    }
}

/// Each resource that differs, before and after.
pub(crate) fn changes(before: &Snapshot, after: &Snapshot) -> Vec<Value> {
    let of = |snapshot: &Snapshot, key: &ResourceKey| snapshot.get(key).map(|entry| json::write(&entry.resource));
    let change = |key: &ResourceKey| {
        json!({
            "resource": key.to_string(), "kind": key.kind.as_str(), "name": key.name.as_str(),
            "before": of(before, key), "after": of(after, key),
        })
    };
    before.differing(after).iter().map(change).collect()
}

/// The changes that lead from one configuration to another.
pub(crate) fn steps(from: &Snapshot, to: &Snapshot) -> Vec<Change> {
    let step = |key: ResourceKey| match to.get(&key) {
        Some(entry) => Change::Put(entry.resource.clone()),
        None => Change::Delete(key),
    };
    from.differing(to).into_iter().map(step).collect()
}
