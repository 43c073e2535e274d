//! Routes alive in a node: what a route refers to is resolved once, when the router is built.

use super::{names::Names, split::Splitter};
use crate::{
    compose::{Part, Plan},
    context::variables,
    filter::{Attached, Filters, Place},
    pool::Pool,
    states::States,
};
use http::{HeaderValue, StatusCode};
use proto::{
    compose::{self, Compose},
    consumer::OwnPolicies,
    matching::{Head, Predicates},
    name::Name,
    policy::{Attachment, Policy},
    route::{self, BodyLimit, Destination, Redirect, Respond, Rewrite, Route, Upgrades},
    snapshot::Snapshot,
    upstream::{Protocol, Timeouts, Upstream},
};
use std::{
    iter,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// A route, alive.
pub(crate) struct RouteEntry {
    /// Its name.
    pub(crate) name: Name,
    /// The `http.route` of telemetry.
    pub(crate) label: String,
    /// What happens to its requests.
    pub(crate) action: Action,
    /// Of all traffic and of the route.
    pub(crate) filters: Filters,
    /// The largest request body; `None`: the node's setting.
    pub(crate) request_body: Option<BodyLimit>,
    /// The names that the path captures, in their order.
    pub(crate) variables: Vec<String>,
    /// What was said.
    pub(crate) route: Arc<Route>,
    // Most routes look at nothing but host and path.
    conditional: bool,
    // How many workers hold it.
    holders: AtomicUsize,
}

/// A route that a worker holds: what it made of it must not keep the route alive when no router has it any more.
pub(crate) struct HeldEntry(Arc<RouteEntry>);

/// What happens to a request.
pub(crate) enum Action {
    /// Send it to an upstream.
    Forward(Forward),
    /// Answer with another address.
    Redirect(Redirect),
    /// Answer here.
    Respond(Respond),
    /// Answer with what several upstreams answer.
    Compose(Box<Plan>),
}

/// Send it to an upstream.
pub(crate) struct Forward {
    /// The upstreams that it may be sent to: one, or those of a split.
    pub(crate) sides: Vec<Side>,
    /// How one of several is chosen.
    pub(crate) split: Option<Splitter>,
    /// How the path changes.
    pub(crate) rewrite: Option<Rewrite>,
    /// The Host that the upstream sees in place of the client's.
    pub(crate) host: Option<HeaderValue>,
    /// Who gets a copy.
    pub(crate) mirror: Option<Box<Mirror>>,
}

/// Another upstream that gets a copy of requests.
pub(crate) struct Mirror {
    /// What the operator said.
    pub(crate) spec: route::Mirror,
    /// The upstream.
    pub(crate) pool: Arc<Pool>,
    /// Its own.
    pub(crate) timeouts: Timeouts<Duration>,
    /// Its own.
    pub(crate) filters: Filters,
}

/// An upstream of a route.
pub(crate) struct Side {
    /// The upstream.
    pub(crate) pool: Arc<Pool>,
    /// The route's over the upstream's.
    pub(crate) timeouts: Timeouts<Duration>,
    /// The upstream's.
    pub(crate) filters: Filters,
    /// What its clients may switch to.
    pub(crate) upgrades: Upgrades,
}

/// What routes refer to.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) pools: &'a Names<Pool>,
    /// The policies of all traffic.
    pub(super) globals: &'a [Arc<Policy>],
    /// What policies remember.
    pub(super) states: &'a States,
}

// === impl RouteEntry ===

impl RouteEntry {
    /// The upstreams that its policies ask.
    pub(crate) fn asks(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let (sides, parts): (&[Side], &[Part]) = match &self.action {
            Action::Forward(forward) => (&forward.sides, &[]),
            Action::Compose(plan) => (&[], &plan.parts),
            Action::Redirect(_) | Action::Respond(_) => (&[], &[]),
        };
        let upstreams = sides.iter().map(|side| &side.filters).chain(parts.iter().map(|part| &part.filters));
        let filters = iter::once(&self.filters).chain(upstreams);
        filters.flat_map(|filters| filters.asks())
    }

    /// Whether all conditions besides host and path hold.
    pub(super) fn holds(&self, head: &Head<'_>) -> bool {
        !self.conditional || self.route.matches.predicates.hold(head).is_ok()
    }
}

// === impl Forward ===

impl Forward {
    /// The upstream of that index; without one, the only one that there is.
    pub(crate) fn side(&self, index: Option<usize>) -> Option<&Side> {
        match (index, self.sides.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(index), sides) => sides.get(index),
        }
    }
}

// === impl HeldEntry ===

impl HeldEntry {
    /// Holds the route.
    pub(crate) fn new(entry: &Arc<RouteEntry>) -> HeldEntry {
        // In this order, and the other way round in the end: in between it seems to be in use, never the reverse.
        let held = HeldEntry(entry.clone());
        held.holders.fetch_add(1, Relaxed);
        held
    }

    /// Whether anybody but workers has it: a router.
    pub(crate) fn is_routed(&self) -> bool {
        Arc::strong_count(&self.0) > self.holders.load(Relaxed)
    }
}

impl Deref for HeldEntry {
    type Target = RouteEntry;

    fn deref(&self) -> &RouteEntry {
        &self.0
    }
}

impl Drop for HeldEntry {
    fn drop(&mut self) {
        self.holders.fetch_sub(1, Relaxed);
    }
}

// === impl Resolver ===

impl<'a> Resolver<'a> {
    /// The route, alive.
    pub(super) fn entry(self, route: &Arc<Route>) -> Arc<RouteEntry> {
        Arc::new(RouteEntry {
            name: route.name.clone(),
            label: route.matches.path.label(),
            action: self.action(route),
            filters: Filters::build(self.of_route(route), self.states),
            request_body: route.request_body,
            variables: variables(route).to_vec(),
            conditional: is_conditional(&route.matches.predicates),
            holders: AtomicUsize::new(0),
            route: route.clone(),
        })
    }

    fn action(self, route: &Route) -> Action {
        match &route.action {
            route::Action::Forward(forward) => self.forward(route, forward),
            route::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
            route::Action::Respond(respond) => Action::Respond(respond.clone()),
            route::Action::Compose(compose) => self.compose(route, compose),
        }
    }

    fn forward(self, route: &Route, forward: &route::Forward) -> Action {
        let upstreams = forward.destination.upstreams();
        let sides: Option<Vec<Side>> = upstreams.iter().map(|(name, _)| self.side(route, forward, name)).collect();
        let Some(sides) = sides else { return lost(route) };
        let split = match &forward.destination {
            Destination::Upstream(_) => None,
            Destination::Split(split) => Some(Splitter::new(split)),
        };
        let mirror = forward.mirror.as_ref().and_then(|mirror| self.mirror(route, mirror)).map(Box::new);
        Action::Forward(Forward { sides, split, rewrite: forward.rewrite.clone(), host: forward.host.clone(), mirror })
    }

    fn compose(self, route: &Route, compose: &Compose) -> Action {
        let upstream = |part: &compose::Part| {
            let pool = self.pools.get(part.call().upstream.as_str())?;
            Some((pool.clone(), Filters::build(self.of_upstream(route, pool.spec()), self.states)))
        };
        match compose.parts.iter().map(upstream).collect() {
            Some(upstreams) => Action::Compose(Box::new(Plan::new(compose, upstreams))),
            None => lost(route),
        }
    }

    // A checked snapshot has every upstream that is referred to.
    fn mirror(self, route: &Route, mirror: &route::Mirror) -> Option<Mirror> {
        let pool = self.pools.get(mirror.upstream.as_str())?;
        let spec = pool.spec();
        Some(Mirror {
            spec: mirror.clone(),
            pool: pool.clone(),
            timeouts: spec.timeouts,
            filters: Filters::build(self.of_upstream(route, spec), self.states),
        })
    }

    fn side(self, route: &Route, forward: &route::Forward, upstream: &Name) -> Option<Side> {
        let pool = self.pools.get(upstream.as_str())?;
        let spec = pool.spec();
        Some(Side {
            pool: pool.clone(),
            timeouts: forward.timeouts.over(spec.timeouts),
            filters: Filters::build(self.of_upstream(route, spec), self.states),
            upgrades: match spec.protocol {
                Protocol::Http1 => forward.upgrades.clone(),
                // It cannot be asked.
                Protocol::Http2 { .. } => Upgrades { protocols: Vec::new(), ..forward.upgrades },
            },
        })
    }

    /// The policies of all traffic and of the route, in the order of attachment.
    pub(super) fn of_route(self, route: &'a Route) -> impl Iterator<Item = Attached<'a>> {
        let globals = self.globals.iter().map(|policy| &**policy).filter(move |policy| holds(route, policy));
        let globals = globals.map(move |policy| self.attach(route, (Place::Global, None), policy));
        let own = self.attached(&route.policies);
        globals.chain(own.map(move |policy| self.attach(route, (Place::Route, Some(&route.name)), policy)))
    }

    /// The policies of the upstream that hold for the route.
    pub(super) fn of_upstream(self, route: &'a Route, upstream: &'a Upstream) -> impl Iterator<Item = Attached<'a>> {
        let policies = self.attached(&upstream.policies).filter(move |policy| holds(route, policy));
        policies.map(move |policy| self.attach(route, (Place::Upstream, Some(&upstream.name)), policy))
    }

    // A checked snapshot has the upstream that a policy asks.
    fn attach(self, route: &'a Route, (place, owner): (Place, Option<&'a Name>), policy: &'a Policy) -> Attached<'a> {
        let asks = policy.kind.upstream().and_then(|(name, _)| self.pools.get(name.as_str()));
        Attached { place, owner, route: Some(&route.name), policy, asks }
    }

    /// The policies of a consumer, alive.
    pub(super) fn own(self, own: &OwnPolicies) -> Filters {
        let policies = own.attachments.iter().filter_map(|attachment| {
            let (owner, policy) = match attachment {
                // Whoever refers to it counts in the same way, whatever else he has.
                Attachment::Ref(name) => (None, &**self.snapshot.policy(name)?),
                Attachment::Inline(policy) => (own.owner.as_ref(), policy),
            };
            let asks = policy.kind.upstream().and_then(|(name, _)| self.pools.get(name.as_str()));
            Some(Attached { place: Place::Consumer, owner, route: None, policy, asks })
        });
        Filters::build(policies, self.states)
    }

    // A checked snapshot has every policy that is referred to.
    fn attached(self, attachments: &'a [Attachment]) -> impl Iterator<Item = &'a Policy> {
        attachments.iter().filter_map(move |attachment| match attachment {
            Attachment::Ref(name) => self.snapshot.policy(name).map(|policy| &**policy),
            Attachment::Inline(policy) => Some(policy),
        })
    }
}

// A checked snapshot has every upstream that is referred to.
fn lost(route: &Route) -> Action {
    tracing::error!(route.name = %route.name, "a route's upstream is missing; it answers 500");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Action::Respond(Respond { status, headers: Vec::new(), body: Default::default() })
}

/// Whether a policy that is attached more widely holds for the route too.
fn holds(route: &Route, policy: &Policy) -> bool {
    !route.disable.contains(&policy.kind.name())
}

fn is_conditional(predicates: &Predicates) -> bool {
    let Predicates { methods, headers, query, listeners, schemes, client_addresses } = predicates;
    !(methods.is_empty()
        && headers.is_empty()
        && query.is_empty()
        && listeners.is_empty()
        && schemes.is_empty()
        && client_addresses.is_empty())
}
