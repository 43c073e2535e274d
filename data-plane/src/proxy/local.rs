//! What one worker owns, and its requests use: no lock, nothing shared, nothing that outlives the worker.

use super::mirror::Mirrors;
use crate::{
    consumers::Consumers,
    context::{Context, Routed, Trace, Values, hex},
    error::Error,
    filter::{Personal, Telling, token_counts},
    pool::{LocalPool, Upstreams},
    router::{Action, HeldEntry, LiveRouter, RouteEntry, RouterCache},
    settings::Settings,
    telemetry::{
        Telemetry,
        access_log::LogBuffer,
        counters::{CallSeries, Counters, Counts, RouteSeries},
    },
};
use bytes::BytesMut;
use fastrand::Rng;
use foldhash::HashMap;
use http::HeaderValue;
use proto::{
    matching::{Captures, Head},
    quantity::Share,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

/// What one worker owns.
pub(crate) struct Local {
    pub(crate) settings: Settings,
    pub(crate) upstreams: Upstreams,
    pub(crate) counters: Counters,
    pub(crate) log: LogBuffer,
    pub(crate) telemetry: Telemetry,
    /// Who there is.
    pub(crate) consumers: Consumers,
    /// What policies they have.
    pub(crate) personal: Personal,
    /// Whether answers say that the connection ends.
    pub(crate) draining: Cell<bool>,
    /// Where tunnels read into.
    pub(super) scratch: RefCell<Vec<u8>>,
    router: RefCell<RouterCache>,
    // By the entry's address, which cannot be another's while it is held here.
    routes: RefCell<HashMap<usize, Rc<LocalRoute>>>,
    ids: RefCell<Ids>,
    pub(super) mirrors: Mirrors,
}

/// A route as one worker has it. A long stream keeps this, and not the whole router.
pub(crate) struct LocalRoute {
    pub(crate) entry: HeldEntry,
    /// What policies see of it.
    pub(crate) routed: Rc<Routed>,
    pub(crate) series: Rc<RouteSeries>,
    /// Of the upstreams that it forwards to, in the order of its sides; of those that its parts ask, in theirs.
    pub(crate) pools: Vec<Rc<LocalPool>>,
    /// The tries of requests to each of them.
    pub(crate) calls: Vec<Rc<CallSeries>>,
    /// Of the upstream that gets copies.
    pub(crate) mirror: Option<Rc<LocalPool>>,
    // Of those that policies ask: held, so that their connections stay.
    _asked: Vec<Rc<LocalPool>>,
}

/// What the router says of a request.
pub(super) struct Found {
    /// Of the configuration that says so.
    pub(super) revision: u64,
    /// How many of the traces that begin here are recorded.
    pub(super) sample: Share,
    /// The route, and what its path captures; or why nobody can say.
    pub(super) route: Result<(Rc<LocalRoute>, Captures), Error>,
}

// Request ids: 128 bits in hexadecimal, cut from one block of memory so that each costs no allocation.
#[derive(Debug, Default)]
struct Ids {
    rng: Rng,
    block: BytesMut,
}

// === impl Local ===

impl Local {
    /// An empty household.
    pub(crate) fn new(settings: &Settings, router: &LiveRouter, telemetry: &Telemetry) -> Local {
        Local {
            settings: settings.clone(),
            upstreams: Upstreams::default(),
            counters: Counters::default(),
            log: telemetry.log_buffer(),
            telemetry: telemetry.clone(),
            consumers: Consumers::default(),
            personal: Personal::default(),
            draining: Cell::new(false),
            scratch: RefCell::default(),
            router: RefCell::new(router.cache()),
            routes: RefCell::default(),
            ids: RefCell::default(),
            mirrors: Mirrors::default(),
        }
    }

    /// Takes the router, once, and finds the route.
    pub(super) fn find(&self, head: &Head<'_>) -> Found {
        let mut cache = self.router.borrow_mut();
        let router = cache.load();
        self.consumers.follow(router.snapshot().directory());
        self.personal.follow(router.own());
        let found = router.find(head);
        let telling = found.as_ref().map_or(router.telling(), |found| found.route.filters.telling());
        Found {
            revision: router.revision(),
            sample: telling.sample.unwrap_or(self.settings.trace_sample),
            route: match found {
                None => Err(Error::NoRoute),
                Some(found) if router.is_ambiguous(head, found.route) => Err(Error::PathAmbiguous),
                Some(found) => Ok((self.route(found.route), found.captures)),
            },
        }
    }

    /// Reads what is told of a request that no route has.
    pub(super) fn of_unrouted<T>(&self, read: impl FnOnce(&Telling) -> T) -> T {
        read(self.router.borrow_mut().load().telling())
    }

    /// The id of a new request, and its trace: both are the same number.
    pub(crate) fn identify(&self) -> (HeaderValue, Trace) {
        self.ids.borrow_mut().next()
    }

    /// A copy of all that is counted, for whoever scrapes.
    pub(crate) fn counts(&self) -> Counts {
        Counts { idle: self.upstreams.idle(), tokens: token_counts(), ..self.counters.counts() }
    }

    /// No request is left: what goes on beside requests ends.
    pub(crate) fn end(&self) {
        self.mirrors.end();
    }

    /// Lets go of what the newest router does not have any more. A worker does so now and then.
    pub(crate) fn sweep(&self, now: Instant) {
        self.router.borrow_mut().load();
        self.routes.borrow_mut().retain(|_, route| route.entry.is_routed());
        self.upstreams.sweep(now);
    }

    fn route(&self, entry: &Arc<RouteEntry>) -> Rc<LocalRoute> {
        let address = Arc::as_ptr(entry).addr();
        let mut routes = self.routes.borrow_mut();
        let local = routes.entry(address).or_insert_with(|| {
            let (pools, calls, mirror) = match &entry.action {
                Action::Forward(forward) => (
                    forward.sides.iter().map(|side| self.upstreams.local(&side.pool)).collect(),
                    forward.sides.iter().map(|side| self.counters.upstream(side.pool.name())).collect(),
                    forward.mirror.as_ref().map(|mirror| self.upstreams.local(&mirror.pool)),
                ),
                Action::Compose(plan) => (
                    plan.parts.iter().map(|part| self.upstreams.local(&part.pool)).collect(),
                    plan.parts.iter().map(|part| self.counters.upstream(part.pool.name())).collect(),
                    None,
                ),
                Action::Redirect(_) | Action::Respond(_) => (Vec::new(), Vec::new(), None),
            };
            let asked = entry.asks().map(|pool| self.upstreams.local(pool)).collect();
            let series = self.counters.route(&entry.name, &entry.label);
            let routed = Rc::new(Routed::new(&entry.route));
            Rc::new(LocalRoute { entry: HeldEntry::new(entry), routed, series, pools, calls, mirror, _asked: asked })
        });
        local.clone()
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

// === impl LocalRoute ===

impl std::fmt::Debug for LocalRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalRoute").field(&self.entry.name).finish()
    }
}

impl LocalRoute {
    /// What a request offers to the route's templates.
    pub(super) fn values<'a>(&'a self, context: &'a Context, captures: Captures) -> Values<'a> {
        Values::with_captures(context, &self.entry.variables, captures)
    }
}

// === impl Ids ===

impl Ids {
    fn next(&mut self) -> (HeaderValue, Trace) {
        if self.block.capacity() < 32 {
            self.block = BytesMut::with_capacity(32 * 128);
        }
        let (id, span) = (self.rng.u128(1..), self.rng.u64(1..));
        let mut digits = [0; 32];
        hex(id, &mut digits);
        self.block.extend_from_slice(&digits);
        // Hexadecimal digits can stand in a header.
        let text = HeaderValue::from_maybe_shared(self.block.split().freeze());
        (text.unwrap_or(HeaderValue::from_static("none")), Trace::new(id, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ() {
        let mut ids = Ids::default();
        let all: HashSet<HeaderValue> = (0..1000).map(|_| ids.next().0).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|id| id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit)));
    }
}
