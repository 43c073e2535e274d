//! All hosts: exact names, wildcard suffixes, any. In shards that two routers share where no host of them changed.

use super::{
    candidate::Search,
    entry::RouteEntry,
    host::{Delta, Host},
};
use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use proto::{
    matching::{Head, HostPattern},
    route::Route,
};
use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc};

/// How many shards the names are in; a power of two.
const SHARDS: usize = 256;

/// All routes by host.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    // Random, so that nobody can choose names and paths that collide; all tables below use the same.
    state: RandomState,
    exact: Names,
    suffixes: Names,
    any: Option<Arc<Host>>,
    // How many suffixes of each length there are.
    suffix_lengths: BTreeMap<usize, usize>,
    // How many routes of each priority there are.
    priorities: BTreeMap<i32, usize>,
    // The highest priority.
    highest: i32,
}

/// Hosts by name or suffix.
#[derive(Clone)]
struct Names {
    shards: Box<[Arc<HashTable<Slot>>]>,
    len: usize,
}

#[derive(Clone)]
struct Slot {
    name: Arc<str>,
    host: Arc<Host>,
}

// === impl Hosts ===

impl Hosts {
    /// The best of all routes that match.
    pub(super) fn find<'r>(&'r self, head: &Head<'_>) -> Option<&'r Arc<RouteEntry>> {
        let mut search = Search { head, state: &self.state, best: None };
        if let Some(host) = self.exact.get(head.host, &self.state) {
            host.find(&mut search);
        }
        // Longest first. A star stands for something, so that a suffix is shorter than the host.
        for length in self.suffix_lengths.keys().rev().filter(|length| **length < head.host.len()) {
            if search.is_over(self.highest) {
                break;
            }
            let suffix = head.host.get(head.host.len() - length..).filter(|suffix| suffix.starts_with('.'));
            if let Some(host) = suffix.and_then(|suffix| self.suffixes.get(suffix, &self.state)) {
                host.find(&mut search);
            }
        }
        if let Some(host) = self.any.as_ref().filter(|_| !search.is_over(self.highest)) {
            host.find(&mut search);
        }
        search.best.map(|best| &best.entry)
    }

    /// The hosts after a change: without the routes that are gone, with those that came.
    pub(super) fn with(&self, gone: Vec<&Arc<Route>>, came: Vec<Arc<RouteEntry>>) -> Hosts {
        let mut deltas: BTreeMap<&HostPattern, Delta<'_>> = BTreeMap::new();
        for route in &gone {
            for host in &route.matches.hosts {
                deltas.entry(host).or_default().gone.push(route);
            }
        }
        for entry in &came {
            for host in &entry.route.matches.hosts {
                deltas.entry(host).or_default().came.push(entry);
            }
        }
        let mut next = self.clone();
        for (pattern, delta) in deltas {
            next.change(pattern, &delta);
        }
        for route in &gone {
            take(&mut next.priorities, route.priority);
        }
        for entry in &came {
            *next.priorities.entry(entry.route.priority).or_default() += 1;
        }
        next.highest = next.priorities.last_key_value().map_or(0, |(priority, _)| *priority);
        next
    }

    fn change(&mut self, pattern: &HostPattern, delta: &Delta<'_>) {
        let state = self.state.clone();
        let build = |previous: Option<&Arc<Host>>| {
            Host::build(previous.map(|host| &**host), pattern, delta, &state).map(Arc::new)
        };
        match pattern {
            HostPattern::Any => self.any = build(self.any.as_ref()),
            HostPattern::Exact(name) => {
                let host = build(self.exact.get(name, &self.state));
                self.exact.set(name, host, &self.state);
            }
            HostPattern::Suffix(suffix) => {
                let before = self.suffixes.get(suffix, &self.state);
                let host = build(before);
                match (before.is_some(), host.is_some()) {
                    (false, true) => *self.suffix_lengths.entry(suffix.len()).or_default() += 1,
                    (true, false) => take(&mut self.suffix_lengths, suffix.len()),
                    (true, true) | (false, false) => {}
                }
                self.suffixes.set(suffix, host, &self.state);
            }
        }
    }
}

fn take<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            counts.remove(&key);
        }
        None => {}
    }
}

// === impl Names ===

impl Names {
    #[inline]
    fn get(&self, name: &str, state: &RandomState) -> Option<&Arc<Host>> {
        if self.len == 0 {
            return None;
        }
        let hash = state.hash_one(name);
        self.shards[shard(hash)].find(hash, |slot| *slot.name == *name).map(|slot| &slot.host)
    }

    fn set(&mut self, name: &str, host: Option<Arc<Host>>, state: &RandomState) {
        let hash = state.hash_one(name);
        let table = Arc::make_mut(&mut self.shards[shard(hash)]);
        let entry = table.entry(hash, |slot| *slot.name == *name, |slot| state.hash_one(&*slot.name));
        match (entry, host) {
            (Entry::Occupied(mut slot), Some(host)) => slot.get_mut().host = host,
            (Entry::Occupied(slot), None) => {
                slot.remove();
                self.len -= 1;
            }
            (Entry::Vacant(slot), Some(host)) => {
                slot.insert(Slot { name: name.into(), host });
                self.len += 1;
            }
            (Entry::Vacant(_), None) => {}
        }
    }
}

impl Default for Names {
    fn default() -> Names {
        let empty = Arc::new(HashTable::new());
        Names { shards: vec![empty; SHARDS].into(), len: 0 }
    }
}

// The table itself uses the lowest and the highest bits.
fn shard(hash: u64) -> usize {
    (hash >> 32) as usize & (SHARDS - 1)
}
