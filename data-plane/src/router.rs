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
mod merged;
mod names;
mod segments;
mod split;
mod table;
mod tree;

pub(crate) use entry::{Action, Forward, HeldEntry, Mirror, RouteEntry, Side};
pub(crate) use live::{LiveRouter, Retired, RouterCache};
pub(crate) use split::Splitter;

use crate::{
    filter::{Attached, Filters, OwnFilters, Place, Telling, preflight_method},
    pool::Pool,
    states::States,
};
use entry::Resolver;
use hosts::Hosts;
use merged::{has_any, merged};
use names::Names;
use proto::{
    certificate::Certificate,
    consumer::PoliciesKey,
    identity::Identity,
    matching::{Captures, Head, PathPattern},
    policy::{Attachment, Policy},
    resource::{Kind, ResourceKey},
    route::Route,
    snapshot::Snapshot,
};
use std::{collections::BTreeSet, sync::Arc};

/// Few changes are always looked at one by one.
const MANY: usize = 64;

/// The whole configuration, alive.
pub(crate) struct Router {
    identity: Option<Identity>,
    // What it was built from: the next is built from the difference.
    snapshot: Snapshot,
    hosts: Hosts,
    pools: Names<Pool>,
    // The policies of all traffic, by name.
    globals: Arc<[Arc<Policy>]>,
    // Of requests that no route matches.
    telling: Telling,
    own: Arc<OwnFilters>,
    states: Arc<States>,
}

/// The route of a request.
pub(crate) struct Found<'r> {
    /// The route.
    pub(crate) route: &'r Arc<RouteEntry>,
    /// What its path captures.
    pub(crate) captures: Captures,
}

// === impl Router ===

impl Router {
    /// A router of nothing, for a node that has no configuration yet.
    pub(crate) fn empty() -> Router {
        Router {
            identity: None,
            snapshot: Snapshot::empty(),
            hosts: Hosts::default(),
            pools: Names::default(),
            globals: Arc::default(),
            telling: Telling::default(),
            own: Arc::default(),
            states: Arc::default(),
        }
    }

    /// The router of a snapshot, sharing with the previous one what did not change.
    pub(crate) fn build(snapshot: &Snapshot, identity: Option<Identity>, previous: Option<&Router>) -> Router {
        let nothing;
        let previous = match previous {
            Some(previous) => previous,
            None => {
                nothing = Router::empty();
                &nothing
            }
        };
        let before = &previous.snapshot;
        let mut changed = snapshot.differing(before);
        changed.extend(renewed(snapshot, before, &changed));
        changed.extend(asking(snapshot, before, &changed));
        let is_global = |key| [snapshot, before].into_iter().any(|snapshot| is_global(snapshot, key));
        let (globals, affected) = match changed.iter().any(is_global) {
            true => (globals(snapshot), None),
            false => (previous.globals.clone(), affected(snapshot, &changed)),
        };
        let pools = pools(&previous.pools, snapshot, &changed);
        let (gone, came): (Vec<_>, Vec<_>) = match &affected {
            None => (before.routes().collect(), snapshot.routes().collect()),
            Some(keys) => (routes(before, keys), routes(snapshot, keys)),
        };
        let states = previous.states.clone();
        let resolver = Resolver { snapshot, pools: &pools, globals: &globals, states: &states };
        let came: Vec<_> = came.into_iter().map(|route| resolver.entry(route)).collect();
        let hosts = previous.hosts.with(&gone, &came);
        let everywhere = globals.iter().map(|policy| Attached {
            place: Place::Global,
            owner: None,
            route: None,
            policy,
            asks: None,
        });
        let telling = Filters::build(everywhere, &states).telling().clone();
        let own = own(&previous.own, resolver, before, &changed);
        Router { identity, snapshot: snapshot.clone(), hosts, pools, globals, telling, own, states }
    }

    /// The best of all routes that match.
    pub(crate) fn find(&self, head: &Head<'_>) -> Option<Found<'_>> {
        let route = self.of_preflight(head).or_else(|| self.hosts.find(head))?;
        let path = &route.route.matches.path;
        let captures = match path {
            PathPattern::Template(_) => path.matches(head.path).unwrap_or_default(),
            PathPattern::Any | PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Regex(_) => {
                Captures::default()
            }
        };
        Some(Found { route, captures })
    }

    /// Whether whoever merges slashes and takes parameters out would say that the request is another route's. A route
    /// that is written with them means them.
    pub(crate) fn is_ambiguous(&self, head: &Head<'_>, found: &RouteEntry) -> bool {
        let Some(path) = merged(head.path) else { return false };
        let other = self.hosts.find(&Head { path: &path, ..*head });
        !has_any(&found.label) && other.is_none_or(|other| other.name != found.name)
    }

    // A preflight asks about a request to come: the route of that one answers, if it has a policy for it.
    fn of_preflight(&self, head: &Head<'_>) -> Option<&Arc<RouteEntry>> {
        let method = preflight_method(head.method, head.headers)?;
        let route = self.hosts.find(&Head { method: &method, ..*head })?;
        route.filters.answers_preflights().then_some(route)
    }

    /// What is told of a request that no route matches.
    pub(crate) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// The policies of a route and of all traffic, in the order of attachment.
    pub(crate) fn policies_of<'r>(&'r self, entry: &'r RouteEntry) -> impl Iterator<Item = Attached<'r>> {
        self.resolver().of_route(&entry.route)
    }

    /// Those of an upstream of the route.
    pub(crate) fn policies_of_side<'r>(
        &'r self,
        entry: &'r RouteEntry,
        side: &'r Side,
    ) -> impl Iterator<Item = Attached<'r>> {
        self.resolver().of_upstream(&entry.route, side.pool.spec())
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver { snapshot: &self.snapshot, pools: &self.pools, globals: &self.globals, states: &self.states }
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

    /// The policies of consumers.
    pub(crate) fn own(&self) -> &Arc<OwnFilters> {
        &self.own
    }

    /// What policies remember.
    pub(crate) fn states(&self) -> &States {
        &self.states
    }

    /// The certificate for a client that asks for this name, or for none.
    pub(crate) fn certificate(&self, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        self.snapshot.server_names().find(server_name)
    }

    /// All pools.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values()
    }
}

/// The upstreams that show a certificate which is not what it was, and so are not what they were. Of one that came or
/// went, those that refer to it changed themselves.
fn renewed(snapshot: &Snapshot, before: &Snapshot, changed: &BTreeSet<ResourceKey>) -> Vec<ResourceKey> {
    let certificates = changed.iter().filter(|key| key.kind == Kind::Certificate);
    let stood = certificates.filter(|key| before.get(key).is_some());
    stood.flat_map(|key| snapshot.referrers(key)).cloned().collect()
}

/// The policies that ask an upstream which is not what it was, and so are not what they were.
fn asking(snapshot: &Snapshot, before: &Snapshot, changed: &BTreeSet<ResourceKey>) -> Vec<ResourceKey> {
    let upstreams = changed.iter().filter(|key| key.kind == Kind::Upstream && before.get(key).is_some());
    let referrers = upstreams.flat_map(|key| snapshot.referrers(key));
    referrers.filter(|key| key.kind == Kind::Policy).cloned().collect()
}

/// The pools after a change. One whose upstream is what it was stays; another takes over its endpoints.
fn pools(previous: &Names<Pool>, snapshot: &Snapshot, changed: &BTreeSet<ResourceKey>) -> Names<Pool> {
    let mut pools = previous.clone();
    for key in changed.iter().filter(|key| key.kind == Kind::Upstream) {
        let upstream = snapshot.get(key).and_then(|entry| entry.checked.as_upstream());
        let before = pools.get(key.name.as_str()).map(|pool| &**pool);
        let pool = upstream.map(|upstream| {
            let shown = upstream.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
            Arc::new(Pool::build(upstream, shown.and_then(|name| snapshot.certificate(name)), before))
        });
        pools.set(key.name.as_str(), pool);
    }
    pools
}

/// The filters of consumers' policies after a change. Those of which nothing changed stay.
fn own(
    previous: &Arc<OwnFilters>,
    resolver: Resolver<'_>,
    before: &Snapshot,
    changed: &BTreeSet<ResourceKey>,
) -> Arc<OwnFilters> {
    let directory = resolver.snapshot.directory();
    let mut keys: BTreeSet<&PoliciesKey> = directory.differing_policies(before.directory()).collect();
    let is_changed = |attachment: &Attachment| attachment.reference().is_some_and(|(key, _)| changed.contains(&key));
    // Those that ask an upstream are among what changed; those that stand inline refer to it themselves.
    if changed.iter().any(|key| matches!(key.kind, Kind::Policy | Kind::Upstream)) {
        let policies = directory.policies().filter(|own| own.attachments.iter().any(is_changed));
        keys.extend(policies.map(|own| &own.key));
    }
    if keys.is_empty() && !previous.has_retired() {
        return previous.clone();
    }
    let build = |key: &PoliciesKey| Some(resolver.own(directory.find_policies(key)?));
    Arc::new(previous.with(keys.into_iter(), build))
}

/// The keys of all routes that are not what they were: themselves, or what they refer to. `None`: all of them.
fn affected<'s>(snapshot: &'s Snapshot, changed: &'s BTreeSet<ResourceKey>) -> Option<BTreeSet<&'s ResourceKey>> {
    // So many that finding out which costs more than it saves.
    if changed.len() > MANY && changed.len() > snapshot.len() / 4 {
        return None;
    }
    let mut affected = BTreeSet::new();
    for key in changed {
        match key.kind {
            // Handshakes look it up; the upstreams that refer to it are among what changed.
            Kind::Certificate => {}
            // Whoever asks for a consumer asks the router.
            Kind::Consumer | Kind::Keyring => {}
            // They tell nodes nothing.
            Kind::Test => {}
            Kind::Route => {
                affected.insert(key);
            }
            // Policies that ask an upstream are among what changed; those that stand inside another are found here.
            Kind::Upstream | Kind::Policy => {
                for referrer in snapshot.referrers(key) {
                    match referrer.kind {
                        Kind::Route => {
                            affected.insert(referrer);
                        }
                        Kind::Upstream => affected.extend(snapshot.referrers(referrer)),
                        Kind::Certificate | Kind::Consumer | Kind::Keyring | Kind::Policy | Kind::Test => {}
                    }
                }
            }
        }
    }
    Some(affected)
}

fn routes<'s>(snapshot: &'s Snapshot, keys: &BTreeSet<&ResourceKey>) -> Vec<&'s Arc<Route>> {
    keys.iter().filter_map(|key| snapshot.get(key)?.checked.as_route()).collect()
}

fn is_global(snapshot: &Snapshot, key: &ResourceKey) -> bool {
    snapshot.get(key).and_then(|entry| entry.checked.as_policy()).is_some_and(|policy| policy.global)
}

/// The policies of all traffic, by name.
fn globals(snapshot: &Snapshot) -> Arc<[Arc<Policy>]> {
    let mut globals: Vec<_> = snapshot.policies().filter(|policy| policy.global).cloned().collect();
    globals.sort_by(|a, b| a.name.cmp(&b.name));
    globals.into()
}

#[cfg(test)]
mod tests;
