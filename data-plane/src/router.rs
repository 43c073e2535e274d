//! The router: which route a request takes. One pointer, replaced whole.
//!
//! A router is built from a checked snapshot and its predecessor, and building cannot fail. What no change touched is
//! shared with the predecessor: pools, route entries, the tables of hosts. References are resolved here, so that nothing
//! is looked up by name while a request is answered. What is found agrees with [`proto::matching`] on everything.

mod candidate;
mod entry;
mod host;
mod hosts;
mod live;
mod table;
mod tree;

pub(crate) use entry::{Action, Forward, RouteEntry};
pub(crate) use live::{LiveRouter, Retired, RouterCache};

use crate::pool::Pool;
use entry::Resolver;
use hosts::Hosts;
use proto::{
    identity::Identity,
    matching::{Captures, Head, PathPattern},
    name::Name,
    policy::Policy,
    resource::{Kind, ResourceKey},
    route::Route,
    shards::{Shards, shard_of_parts},
    snapshot::Snapshot,
};
use std::{collections::BTreeSet, sync::Arc};

/// The whole configuration, alive.
pub(crate) struct Router {
    identity: Option<Identity>,
    // What it was built from: the next is built from the difference.
    snapshot: Snapshot,
    hosts: Hosts,
    pools: Pools,
}

/// The route of a request.
pub(crate) struct Found<'r> {
    /// The route.
    pub(crate) route: &'r Arc<RouteEntry>,
    /// What its path captures.
    pub(crate) captures: Captures,
}

/// Pools by the upstream's name.
#[derive(Clone, Default)]
struct Pools(Shards<Name, Arc<Pool>>);

// === impl Router ===

impl Router {
    /// A router of nothing, for a node that has no configuration yet.
    pub(crate) fn empty() -> Router {
        Router { identity: None, snapshot: Snapshot::empty(), hosts: Hosts::default(), pools: Pools::default() }
    }

    /// The router of a snapshot, sharing with the previous one what did not change.
    pub(crate) fn build(snapshot: &Snapshot, identity: Option<Identity>, previous: Option<&Router>) -> Router {
        let nothing = Router::empty();
        let previous = previous.unwrap_or(&nothing);
        let changed = snapshot.differing(&previous.snapshot);
        let pools = previous.pools.with(snapshot, &changed);
        let resolver = Resolver { snapshot, pools: &pools, globals: globals(snapshot) };
        let routes = affected(snapshot, &previous.snapshot, &changed);
        let gone = routes.iter().filter_map(|key| route(&previous.snapshot, key)).collect();
        let came = routes.iter().filter_map(|key| route(snapshot, key)).map(|route| resolver.entry(route)).collect();
        let hosts = previous.hosts.with(gone, came);
        Router { identity, snapshot: snapshot.clone(), hosts, pools }
    }

    /// The best of all routes that match.
    pub(crate) fn find(&self, head: &Head<'_>) -> Option<Found<'_>> {
        let route = self.hosts.find(head)?;
        let path = &route.route.matches.path;
        let captures = match path {
            PathPattern::Template(_) => path.matches(head.path).unwrap_or_default(),
            PathPattern::Any | PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Regex(_) => {
                Captures::default()
            }
        };
        Some(Found { route, captures })
    }

    /// The identity of the snapshot; `None` where it has none.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What it was built from.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The revision; 0 where there is none.
    pub(crate) fn revision(&self) -> u64 {
        self.identity.map_or(0, |identity| identity.revision)
    }

    /// All pools.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.0.iter().map(|(_, pool)| pool)
    }
}

// === impl Pools ===

impl Pools {
    fn get(&self, name: &Name) -> Option<&Arc<Pool>> {
        self.0.get(Pools::shard(name), name)
    }

    fn with(&self, snapshot: &Snapshot, changed: &BTreeSet<ResourceKey>) -> Pools {
        let mut next = self.clone();
        for key in changed.iter().filter(|key| key.kind == Kind::Upstream) {
            let shard = next.0.shard_mut(Pools::shard(&key.name));
            match snapshot.get(key).and_then(|entry| entry.checked.as_upstream()) {
                Some(upstream) => {
                    let pool = Pool::build(upstream, shard.get(&key.name).map(|pool| &**pool));
                    shard.insert(key.name.clone(), Arc::new(pool));
                }
                None => {
                    shard.remove(&key.name);
                }
            }
        }
        next
    }

    fn shard(name: &Name) -> usize {
        shard_of_parts(b"pool", name.as_str().as_bytes())
    }
}

/// The keys of all routes that are not what they were: themselves, or what they refer to.
fn affected<'s>(
    snapshot: &'s Snapshot,
    before: &'s Snapshot,
    changed: &'s BTreeSet<ResourceKey>,
) -> BTreeSet<&'s ResourceKey> {
    let global = |snapshot: &Snapshot, key| policy(snapshot, key).is_some_and(|policy| policy.global);
    if changed.iter().any(|key| global(snapshot, key) || global(before, key)) {
        let keys = |snapshot: &'s Snapshot| snapshot.entries().map(|entry| &entry.resource.key);
        return keys(before).chain(keys(snapshot)).filter(|key| key.kind == Kind::Route).collect();
    }
    let mut affected = BTreeSet::new();
    for key in changed {
        match key.kind {
            Kind::Route => {
                affected.insert(key);
            }
            Kind::Upstream => affected.extend(snapshot.referrers(key)),
            Kind::Policy => {
                for referrer in snapshot.referrers(key) {
                    match referrer.kind {
                        Kind::Route => {
                            affected.insert(referrer);
                        }
                        Kind::Upstream => affected.extend(snapshot.referrers(referrer)),
                        Kind::Policy => {}
                    }
                }
            }
        }
    }
    affected
}

/// The policies of all traffic, by name.
fn globals(snapshot: &Snapshot) -> Vec<Arc<Policy>> {
    let mut globals: Vec<_> = snapshot.policies().filter(|policy| policy.global).cloned().collect();
    globals.sort_by(|a, b| a.name.cmp(&b.name));
    globals
}

fn route<'s>(snapshot: &'s Snapshot, key: &ResourceKey) -> Option<&'s Arc<Route>> {
    snapshot.get(key)?.checked.as_route()
}

fn policy<'s>(snapshot: &'s Snapshot, key: &ResourceKey) -> Option<&'s Arc<Policy>> {
    snapshot.get(key)?.checked.as_policy()
}

#[cfg(test)]
mod tests;
