//! All hosts: exact names, wildcard suffixes, any. Two routers that follow each other share all but what changed.

use super::{
    candidate::Search,
    entry::RouteEntry,
    host::{Delta, Host},
    names::Names,
};
use foldhash::{HashMap, fast::RandomState};
use proto::{
    matching::{Head, HostPattern},
    route::Route,
};
use std::{collections::BTreeMap, sync::Arc};

/// All routes by host.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    // Random, so that nobody can choose paths that collide; all tables below use the same.
    state: RandomState,
    exact: Names<Host>,
    suffixes: Names<Host>,
    any: Option<Arc<Host>>,
    // How many suffixes of each length there are.
    suffix_lengths: BTreeMap<usize, usize>,
    // How many routes of each priority there are.
    priorities: BTreeMap<i32, usize>,
    // The highest priority.
    highest: i32,
}

// === impl Hosts ===

impl Hosts {
    /// The best of all routes that match.
    pub(super) fn find<'r>(&'r self, head: &Head<'_>) -> Option<&'r Arc<RouteEntry>> {
        let mut search = Search { head, state: &self.state, best: None };
        if let Some(host) = self.exact.get(head.host) {
            host.find(&mut search);
        }
        if !self.suffix_lengths.is_empty() && !search.is_over(self.highest) {
            self.find_suffix(&mut search);
        }
        if let Some(host) = self.any.as_ref().filter(|_| !search.is_over(self.highest)) {
            host.find(&mut search);
        }
        search.best.map(|best| &best.entry)
    }

    fn find_suffix<'r>(&'r self, search: &mut Search<'r, '_>) {
        let host = search.head.host;
        // Longest first. A star stands for something, so that a suffix is shorter than the host.
        for length in self.suffix_lengths.keys().rev().filter(|length| **length < host.len()) {
            let suffix = host.get(host.len() - length..).filter(|suffix| suffix.starts_with('.'));
            if let Some(found) = suffix.and_then(|suffix| self.suffixes.get(suffix)) {
                found.find(search);
                if search.is_over(self.highest) {
                    return;
                }
            }
        }
    }

    /// The hosts after a change: without the routes that are gone, with those that came.
    pub(super) fn with(&self, gone: &[&Arc<Route>], came: &[Arc<RouteEntry>]) -> Hosts {
        let mut deltas: HashMap<&HostPattern, Delta<'_>> = HashMap::default();
        for route in gone {
            for host in &route.matches.hosts {
                deltas.entry(host).or_default().gone.push(route);
            }
        }
        for entry in came {
            for host in &entry.route.matches.hosts {
                deltas.entry(host).or_default().came.push(entry);
            }
        }
        let mut next = self.clone();
        for (pattern, delta) in deltas {
            next.change(pattern, &delta);
        }
        for route in gone {
            take(&mut next.priorities, route.priority);
        }
        for entry in came {
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
                let host = build(self.exact.get(name));
                self.exact.set(name, host);
            }
            HostPattern::Suffix(suffix) => {
                let before = self.suffixes.get(suffix);
                let host = build(before);
                match (before.is_some(), host.is_some()) {
                    (false, true) => *self.suffix_lengths.entry(suffix.len()).or_default() += 1,
                    (true, false) => take(&mut self.suffix_lengths, suffix.len()),
                    (true, true) | (false, false) => {}
                }
                self.suffixes.set(suffix, host);
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
