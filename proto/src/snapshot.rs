//! The whole configuration at one revision, checked as a whole.
//!
//! [`Snapshot::with`] is the only way to a snapshot that is not empty, and what it yields cannot be wrong: every message
//! is understood, every reference exists, no two routes match the same, every expression is compiled. Building a router
//! from it cannot fail. Payloads stay as they came, and the hash tree over them is the identity of the whole.

mod asked;
mod certificates;
mod checked;
mod consumers;

pub use checked::Checked;
use consumers::Lists;

use crate::{
    certificate::ServerNames,
    consumer::{Directory, digest_keys},
    invalid::{Faults, Invalid, did_you_mean},
    name::Name,
    policy::Policy,
    resource::{Change, Hash, Kind, MAX_PAYLOAD, Resource, ResourceKey},
    route::{Action, Route},
    shards::{SHARDS, Shards, shard_of, shard_of_hash, shard_of_parts},
    test::Test,
    upstream::{Protocol, Upstream},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most regex routes of one host: they are tried one by one.
pub const MAX_REGEX_ROUTES: usize = 64;

/// The most tests: all of them run with every change.
pub const MAX_TESTS: usize = 1_000;

/// Features of a configuration that this program knows; a resource that requires another is refused.
pub const FEATURES: [&str; 0] = [];

/// The whole configuration. Cheap to clone; two that follow each other share what did not change.
#[derive(Clone)]
pub struct Snapshot {
    entries: Shards<ResourceKey, Arc<Entry>>,
    // The hash of each shard; zeros for an empty one.
    buckets: Vec<Hash>,
    root: Hash,
    len: usize,
    // Who refers to a resource, in the shard of who refers: thousands may refer to one, and a change of one of them must
    // not cost a copy of all.
    references: Shards<ResourceKey, Vec<ResourceKey>>,
    // Which route has a normalised match; the key is the beginning of a SHA-256 of `Match::normal_forms`'.
    matches: Shards<[u8; 16], Name>,
    // How many regex routes a host has.
    regexes: Shards<String, usize>,
    server_names: ServerNames,
    directory: Arc<Directory>,
    // Few, and looked at with every change.
    tests: Arc<BTreeMap<Name, Arc<Test>>>,
}

/// One resource: as it travels, and checked.
#[derive(Debug)]
pub struct Entry {
    /// As it travels.
    pub resource: Resource,
    /// Its leaf in the hash tree.
    pub leaf: Hash,
    /// Checked.
    pub checked: Checked,
}

// === impl Snapshot ===

impl Snapshot {
    /// The configuration of revision 0.
    pub fn empty() -> Snapshot {
        let buckets = vec![[0; 32]; SHARDS];
        let root = root_of(&buckets);
        Snapshot {
            entries: Shards::default(),
            buckets,
            root,
            len: 0,
            references: Shards::default(),
            matches: Shards::default(),
            regexes: Shards::default(),
            server_names: ServerNames::default(),
            directory: Arc::default(),
            tests: Arc::default(),
        }
    }

    /// The configuration with the changes, in their order; or every fault that it would have.
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Result<Snapshot, Vec<Invalid>> {
        let mut next = self.clone();
        let mut invalid = Vec::new();
        let mut touched = BTreeSet::new();
        let changes: Vec<Change> = changes.into_iter().collect();
        let keyring = self.keyring_after(&changes);
        let mut lists = Lists::default();
        for change in changes {
            match change {
                Change::Put(resource) => {
                    touched.insert(resource.key.clone());
                    match Entry::check(digest_keys(resource, keyring.as_deref())) {
                        Ok(mut entry) => {
                            lists.share(&mut entry.checked, &self.directory);
                            next.put(Arc::new(entry));
                        }
                        Err(faults) => invalid.extend(faults),
                    }
                }
                Change::Delete(key) => {
                    next.take(&key);
                    touched.insert(key);
                }
            }
        }
        next.check_references(&touched, &mut invalid);
        next.check_clients(&touched, &mut invalid);
        next.check_matches(self, &touched, &mut invalid);
        next.check_server_names(self, &touched, &mut invalid);
        next.check_consumers(self, &touched, &mut invalid);
        next.check_policies_of_consumers(&touched, &mut invalid);
        next.check_upgrades(self, &touched, &mut invalid);
        next.check_asked(&touched, &mut invalid);
        next.check_tests(&touched, &mut invalid);
        if !invalid.is_empty() {
            return Err(invalid);
        }
        next.rehash(&touched);
        Ok(next)
    }

    /// The root of the hash tree.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One resource.
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Entry>> {
        self.entries.get(shard_of(key), key)
    }

    /// All resources, in an order that depends on nothing but their keys.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// All resources of a kind, by name.
    pub fn of_kind(&self, kind: Kind) -> BTreeMap<&Name, &Arc<Entry>> {
        self.entries.iter().filter(|(key, _)| key.kind == kind).map(|(key, entry)| (&key.name, entry)).collect()
    }

    /// All routes.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries().filter_map(|entry| entry.checked.as_route())
    }

    /// All upstreams.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.entries().filter_map(|entry| entry.checked.as_upstream())
    }

    /// All policies that stand under `policies`.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.entries().filter_map(|entry| entry.checked.as_policy())
    }

    /// All tests, by name.
    pub fn tests(&self) -> &BTreeMap<Name, Arc<Test>> {
        &self.tests
    }

    /// The policy of a name.
    pub fn policy(&self, name: &Name) -> Option<&Arc<Policy>> {
        self.get(&ResourceKey::new(Kind::Policy, name.clone()))?.checked.as_policy()
    }

    /// Who refers to the resource. Looks into every shard.
    pub fn referrers(&self, key: &ResourceKey) -> impl Iterator<Item = &ResourceKey> {
        (0..SHARDS).filter_map(|shard| self.references.get(shard, key)).flatten()
    }

    /// The keys of all resources that differ: added, changed or gone. Costs little for snapshots that follow each other.
    pub fn differing(&self, other: &Snapshot) -> BTreeSet<ResourceKey> {
        let mut keys = BTreeSet::new();
        for shard in self.entries.differing(&other.entries) {
            let (ours, theirs) = (self.entries.shard(shard), other.entries.shard(shard));
            let differs = |key: &ResourceKey| match (ours.get(key), theirs.get(key)) {
                (Some(a), Some(b)) => a.leaf != b.leaf,
                (None, None) => false,
                (Some(_), None) | (None, Some(_)) => true,
            };
            keys.extend(ours.keys().chain(theirs.keys()).filter(|key| differs(key)).cloned());
        }
        keys
    }

    fn put(&mut self, entry: Arc<Entry>) {
        let key = entry.resource.key.clone();
        self.take(&key);
        let shard = shard_of(&key);
        for (target, _) in entry.checked.references() {
            let referrers = self.references.shard_mut(shard).entry(target).or_default();
            // One that refers to it twice is one referrer.
            if referrers.last() != Some(&key) {
                referrers.push(key.clone());
            }
        }
        if let Some(test) = entry.checked.as_test() {
            Arc::make_mut(&mut self.tests).insert(test.name.clone(), test.clone());
        }
        self.entries.shard_mut(shard).insert(key, entry);
        self.len += 1;
    }

    fn take(&mut self, key: &ResourceKey) {
        let shard = shard_of(key);
        if self.entries.get(shard, key).is_none() {
            return;
        }
        let Some(entry) = self.entries.shard_mut(shard).remove(key) else { return };
        if entry.checked.as_test().is_some() {
            Arc::make_mut(&mut self.tests).remove(&key.name);
        }
        self.len -= 1;
        for (target, _) in entry.checked.references() {
            let references = self.references.shard_mut(shard);
            if let Some(referrers) = references.get_mut(&target) {
                referrers.retain(|referrer| referrer != key);
                if referrers.is_empty() {
                    references.remove(&target);
                }
            }
        }
    }

    // What was touched may refer to what is not there, or be referred to and not be there.
    fn check_references(&self, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        let mut suspects: BTreeSet<&ResourceKey> = touched.iter().collect();
        for key in touched.iter().filter(|key| self.get(key).is_none()) {
            suspects.extend(self.referrers(key));
        }
        // A resource that is refused for its own faults is not missing.
        let refused: BTreeSet<ResourceKey> = invalid.iter().filter_map(|fault| fault.resource.clone()).collect();
        for key in suspects {
            let Some(entry) = self.get(key) else { continue };
            for (target, pointer) in entry.checked.references() {
                if self.get(&target).is_some() || refused.contains(&target) {
                    continue;
                }
                let names = self.of_kind(target.kind);
                let hint = did_you_mean(target.name.as_str(), names.keys().map(|name| name.as_str()));
                let detail = format!("no {} is named {:?}{hint}", target.kind, target.name.as_str());
                invalid.push(Invalid { resource: Some(key.clone()), pointer, detail });
            }
        }
    }

    // Keeps the index of matches, and notes two routes that match the same and hosts with too many expressions.
    fn check_matches(&mut self, before: &Snapshot, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        let route =
            |snapshot: &Snapshot, key: &ResourceKey| snapshot.get(key).and_then(|e| e.checked.as_route().cloned());
        for key in touched {
            let Some(old) = route(before, key) else { continue };
            for form in old.matches.normal_forms(old.priority) {
                let (shard, form) = shorten(&form);
                self.matches.shard_mut(shard).remove(&form);
            }
            self.count_regexes(&old, false);
        }
        for key in touched {
            let Some(new) = route(self, key) else { continue };
            for form in new.matches.normal_forms(new.priority) {
                let (shard, form) = shorten(&form);
                let Some(other) = self.matches.shard_mut(shard).insert(form, new.name.clone()) else { continue };
                if other == new.name {
                    continue;
                }
                let detail = format!(
                    "matches the same requests as route {:?}; change one of the matches, or give one a higher `priority`",
                    other.as_str()
                );
                invalid.push(Invalid { resource: Some(key.clone()), pointer: "/match".into(), detail });
                break;
            }
            if let Some(host) = self.count_regexes(&new, true) {
                let detail =
                    format!("host {host} has more than {MAX_REGEX_ROUTES} regex routes; use templates or prefixes");
                invalid.push(Invalid { resource: Some(key.clone()), pointer: "/match/path/regex".into(), detail });
            }
        }
    }

    // Upgrades that an operator counts on are not left to an upstream that knows none.
    fn check_upgrades(&self, before: &Snapshot, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        let is_http2 = |snapshot: &Snapshot, key: &ResourceKey| {
            let upstream = snapshot.get(key).and_then(|entry| entry.checked.as_upstream());
            upstream.is_some_and(|upstream| matches!(upstream.protocol, Protocol::Http2 { .. }))
        };
        let mut suspects: BTreeSet<&ResourceKey> = touched.iter().filter(|key| key.kind == Kind::Route).collect();
        // Whoever referred to it before.
        for key in touched.iter().filter(|key| before.get(key).is_some() && is_http2(self, key)) {
            suspects.extend(self.referrers(key));
        }
        for key in suspects {
            let Some(Action::Forward(forward)) =
                self.get(key).and_then(|entry| entry.checked.as_route()).map(|route| &route.action)
            else {
                continue;
            };
            let upstreams = forward.destination.upstreams();
            let mut names = upstreams.iter().filter(|_| forward.upgrades.named).map(|(name, _)| *name);
            if let Some(name) = names.find(|name| is_http2(self, &ResourceKey::new(Kind::Upstream, (*name).clone()))) {
                let detail = format!(
                    "upstream {:?} speaks HTTP/2, which has no upgrades; give it the protocol `http1`, or leave `upgrades` out",
                    name.as_str()
                );
                invalid.push(Invalid { resource: Some(key.clone()), pointer: "/forward/upgrades".into(), detail });
            }
        }
    }

    fn check_tests(&self, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        if self.tests.len() > MAX_TESTS
            && let Some(key) = touched.iter().find(|key| key.kind == Kind::Test)
        {
            let detail = format!("a configuration has at most {MAX_TESTS} tests, for all run with every change");
            invalid.push(Invalid { resource: Some(key.clone()), pointer: String::new(), detail });
        }
    }

    // Returns a host that has too many.
    fn count_regexes(&mut self, route: &Route, add: bool) -> Option<String> {
        if !matches!(route.matches.path, crate::matching::PathPattern::Regex(_)) {
            return None;
        }
        let mut full = None;
        for host in &route.matches.hosts {
            let host = host.to_string();
            let shard = self.regexes.shard_mut(shard_of_parts(b"regex", host.as_bytes()));
            let count = shard.entry(host.clone()).or_default();
            if add {
                *count += 1;
                if *count > MAX_REGEX_ROUTES {
                    full = Some(host);
                }
            } else if *count <= 1 {
                shard.remove(&host);
            } else {
                *count -= 1;
            }
        }
        full
    }

    fn rehash(&mut self, touched: &BTreeSet<ResourceKey>) {
        let shards: BTreeSet<usize> = touched.iter().map(shard_of).collect();
        for shard in shards {
            self.buckets[shard] = bucket_of(self.entries.shard(shard).values().map(|entry| entry.leaf));
        }
        self.root = root_of(&self.buckets);
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.entries().map(|entry| &entry.resource.key)).finish()
    }
}

// === impl Entry ===

impl Entry {
    fn check(resource: Resource) -> Result<Entry, Vec<Invalid>> {
        let mut faults = Faults::default();
        if resource.payload.len() > MAX_PAYLOAD {
            faults.note("a resource is smaller than 256KiB");
        }
        if let Some(feature) = resource.requires.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
            faults.note(format!("requires {feature:?}, which this version does not know; upgrade it"));
        }
        let checked = if faults.count() == 0 { Checked::check(&resource, &mut faults) } else { None };
        let checked = match checked {
            Some(checked) if faults.count() == 0 => checked,
            Some(_) | None => {
                if faults.count() == 0 {
                    faults.note("a choice is not made");
                }
                let place = |fault: Invalid| Invalid { resource: Some(resource.key.clone()), ..fault };
                return Err(faults.into_found().into_iter().map(place).collect());
            }
        };
        Ok(Entry { leaf: resource.leaf(), resource, checked })
    }
}

/// The root of the hash tree over resources that nobody has checked; of two with one key the last counts.
pub fn root_of_unchecked<'r>(resources: impl IntoIterator<Item = &'r Resource>) -> Hash {
    let mut leaves = vec![BTreeMap::new(); SHARDS];
    for resource in resources {
        leaves[shard_of(&resource.key)].insert(&resource.key, resource.leaf());
    }
    let buckets: Vec<Hash> = leaves.into_iter().map(|leaves| bucket_of(leaves.into_values())).collect();
    root_of(&buckets)
}

// The leaves come in the order of their keys.
fn bucket_of(leaves: impl Iterator<Item = Hash>) -> Hash {
    let mut leaves = leaves.peekable();
    if leaves.peek().is_none() {
        return [0; 32];
    }
    let mut hasher = Sha256::new();
    leaves.for_each(|leaf| hasher.update(leaf));
    hasher.finalize().into()
}

/// The shard and the beginning of the SHA-256 of a normalised match, which would be long to keep.
fn shorten(form: &str) -> (usize, [u8; 16]) {
    let hash: Hash = Sha256::digest(form).into();
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    (shard_of_hash(&hash), short)
}

fn root_of(buckets: &[Hash]) -> Hash {
    let mut hasher = Sha256::new();
    buckets.iter().for_each(|bucket| hasher.update(bucket));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
