//! Counters of one worker, in cells that only it touches, and their sum over all workers.

mod decided;

use crate::{context::Decision, error::Fault};
use decided::Decided;
use foldhash::HashMap;
use http::Method;
use proto::name::Name;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

/// Upper bounds of the histogram's buckets in microseconds: those of OpenTelemetry's `http.server.request.duration`.
pub(crate) const BUCKETS: [u32; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000,
    7_500_000, 10_000_000,
];
/// The most routes that have series of their own; the others share one.
const MAX_ROUTES: usize = 2_000;

/// The most ends of parts of one route that are told apart; names of parts may change.
const MAX_PARTS: usize = 512;

/// How many requests failed, by upstream, reason and fault.
pub(crate) type Failures = BTreeMap<(Option<Name>, &'static str, Fault), u64>;

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    routes: RefCell<HashMap<Name, Rc<RouteSeries>>>,
    other: Rc<RouteSeries>,
    none: Rc<RouteSeries>,
    upstreams: RefCell<HashMap<Name, Rc<CallSeries>>>,
    other_upstreams: Rc<CallSeries>,
    failures: RefCell<Failures>,
    decisions: RefCell<Decided>,
    /// How late the worker's clock was.
    pub(crate) lag: RefCell<Histogram>,
    /// Requests that have no answer yet, or not all of it.
    pub(crate) in_flight: Cell<u64>,
    pub(crate) retries: Cell<u64>,
    /// Copies of requests, by what became of them.
    pub(crate) mirrored: [Cell<u64>; Mirrored::ALL.len()],
    pub(crate) panics: Cell<u64>,
    pub(crate) accepted: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    /// Those that are open.
    pub(crate) tunnels: Cell<u64>,
}

/// The requests of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteSeries {
    label: Box<str>,
    durations: Series<u16>,
    parts: RefCell<Parts>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

// Of compositions: the part, how it ended and why, and how long it took.
type Parts = Vec<(Box<str>, PartEnd, Histogram)>;

/// How a part of a composition ended, and why, if that was not well.
pub(crate) type PartEnd = (&'static str, &'static str);

/// The tries of requests to one upstream.
pub(crate) type CallSeries = Series<CallEnd>;

/// Durations by method and by how they ended.
#[derive(Debug)]
pub(crate) struct Series<E> {
    // Few of them occur: a search through them is faster than a hash.
    durations: RefCell<Vec<(MethodLabel, E, Histogram)>>,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallEnd {
    /// With an answer of that status.
    Answered(u16),
    /// Without, for that reason.
    Failed(&'static str),
}

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bodies {
    /// Of requests.
    pub(crate) received: u64,
    /// Of answers.
    pub(crate) sent: u64,
}

/// Durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// How many were at most the bound of that index, but above the one before; the last has no bound.
    pub(crate) buckets: [u64; BUCKETS.len() + 1],
    /// Their sum in microseconds.
    pub(crate) sum: u64,
}

/// What became of a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirrored {
    /// It was answered, however.
    Sent,
    /// It was not, or a policy stopped it.
    Failed,
    /// There were too many.
    Busy,
    /// Its body was too large.
    TooLarge,
    /// Its body had not come when the request was answered, or never did.
    CutOff,
}

/// A method as metrics name it; what nobody registered is `_OTHER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MethodLabel(&'static str);

/// What `portico_*` and `http_*` families are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// By the route's name (none: no route was found), its pattern, method and status.
    pub(crate) requests: BTreeMap<(Option<Name>, Box<str>, MethodLabel, u16), Histogram>,
    /// By the route's name and its pattern.
    pub(crate) bodies: BTreeMap<(Option<Name>, Box<str>), Bodies>,
    /// By the upstream's name (none: one of too many), method and end.
    pub(crate) calls: BTreeMap<(Option<Name>, MethodLabel, CallEnd), Histogram>,
    /// By the route's name, the part, and how it ended.
    pub(crate) parts: BTreeMap<(Option<Name>, Box<str>, PartEnd), Histogram>,
    /// Connections to upstreams that nobody uses now.
    pub(crate) idle: BTreeMap<Name, u64>,
    pub(crate) lag: Histogram,
    pub(crate) in_flight: u64,
    pub(crate) failures: Failures,
    pub(crate) decisions: Decided,
    pub(crate) retries: u64,
    pub(crate) mirrored: [u64; Mirrored::ALL.len()],
    pub(crate) panics: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) tunnels: u64,
    pub(crate) tokens: CacheCounts,
}

/// What was looked for among what is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheCounts {
    /// What was there.
    pub(crate) hits: u64,
    /// What was not.
    pub(crate) misses: u64,
    /// How much is there.
    pub(crate) known: u64,
}

// === impl Counters ===

impl Counters {
    /// The series of a route.
    pub(crate) fn route(&self, name: &Name, label: &str) -> Rc<RouteSeries> {
        let mut routes = self.routes.borrow_mut();
        if let Some(series) = routes.get(name) {
            return series.clone();
        }
        if routes.len() >= MAX_ROUTES {
            return self.other.clone();
        }
        let series = Rc::new(RouteSeries { label: label.into(), ..RouteSeries::default() });
        routes.insert(name.clone(), series.clone());
        series
    }

    /// The series of requests that no route matched.
    pub(crate) fn no_route(&self) -> &RouteSeries {
        &self.none
    }

    /// The series of tries of requests to an upstream.
    pub(crate) fn upstream(&self, name: &Name) -> Rc<CallSeries> {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(series) = upstreams.get(name) {
            return series.clone();
        }
        if upstreams.len() >= MAX_ROUTES {
            return self.other_upstreams.clone();
        }
        upstreams.entry(name.clone()).or_default().clone()
    }

    /// Counts an answer of the gateway's own, or a body that was cut off.
    pub(crate) fn fail(&self, upstream: Option<&Name>, reason: &'static str, fault: Fault) {
        let mut failures = self.failures.borrow_mut();
        // Upstreams are as many as the configuration has; those that come and go share what is left.
        let upstream = upstream.filter(|_| failures.len() < MAX_ROUTES).cloned();
        *failures.entry((upstream, reason, fault)).or_default() += 1;
    }

    /// Counts a request, maybe a consumer's, that a policy refused, or would have.
    pub(crate) fn decide(&self, decision: &Decision, consumer: Option<&Name>) {
        self.decisions.borrow_mut().note(decision, consumer);
    }

    /// A copy for whoever scrapes.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            requests: BTreeMap::new(),
            bodies: BTreeMap::new(),
            calls: BTreeMap::new(),
            parts: BTreeMap::new(),
            idle: BTreeMap::new(),
            lag: self.lag.borrow().clone(),
            in_flight: self.in_flight.get(),
            failures: self.failures.borrow().clone(),
            decisions: self.decisions.borrow().clone(),
            retries: self.retries.get(),
            mirrored: std::array::from_fn(|at| self.mirrored[at].get()),
            panics: self.panics.get(),
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            tunnels: self.tunnels.get(),
            // They are counted where they are known.
            tokens: CacheCounts::default(),
        };
        let routes = self.routes.borrow();
        let own = routes.iter().map(|(name, series)| (Some(name), series));
        for (name, route) in own.chain([(None, &self.other), (None, &self.none)]) {
            let label = if Rc::ptr_eq(route, &self.other) { "_OTHER".into() } else { route.label.clone() };
            for (method, status, histogram) in route.durations.durations.borrow().iter() {
                counts.requests.insert((name.cloned(), label.clone(), *method, *status), histogram.clone());
            }
            for (part, end, histogram) in route.parts.borrow().iter() {
                counts.parts.insert((name.cloned(), part.clone(), *end), histogram.clone());
            }
            let bodies = Bodies { received: route.received.get(), sent: route.sent.get() };
            if bodies != Bodies::default() {
                counts.bodies.insert((name.cloned(), label), bodies);
            }
        }
        let upstreams = self.upstreams.borrow();
        let own = upstreams.iter().map(|(name, series)| (Some(name), series));
        for (name, upstream) in own.chain([(None, &self.other_upstreams)]) {
            for (method, end, histogram) in upstream.durations.borrow().iter() {
                counts.calls.insert((name.cloned(), *method, *end), histogram.clone());
            }
        }
        counts
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

// === impl Mirrored ===

impl Mirrored {
    pub(crate) const ALL: [Mirrored; 5] =
        [Mirrored::Sent, Mirrored::Failed, Mirrored::Busy, Mirrored::TooLarge, Mirrored::CutOff];

    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mirrored::Sent => "sent",
            Mirrored::Failed => "failed",
            Mirrored::Busy => "busy",
            Mirrored::TooLarge => "too_large",
            Mirrored::CutOff => "cut_off",
        }
    }
}

// === impl RouteSeries ===

impl RouteSeries {
    /// Counts a request.
    pub(crate) fn observe(&self, method: &Method, status: u16, duration: Duration) {
        self.durations.observe(method, status, duration);
    }

    /// Counts a part of a composition.
    pub(crate) fn observe_part(&self, part: &str, end: PartEnd, took: Duration) {
        let mut parts = self.parts.borrow_mut();
        let at = parts.iter().position(|(name, known, _)| **name == *part && *known == end);
        let at = at.unwrap_or(parts.len());
        if at == parts.len() && at < MAX_PARTS {
            parts.push((part.into(), end, Histogram::default()));
        }
        if let Some((_, _, histogram)) = parts.get_mut(at) {
            histogram.observe(took);
        }
    }

    /// Counts the bytes of its bodies.
    pub(crate) fn add_bodies(&self, received: u64, sent: u64) {
        count(&self.received, received);
        count(&self.sent, sent);
    }
}

// === impl Series ===

impl<E: Copy + PartialEq> Series<E> {
    /// Counts one that took so long.
    pub(crate) fn observe(&self, method: &Method, end: E, duration: Duration) {
        let method = MethodLabel::of(method);
        let mut durations = self.durations.borrow_mut();
        let at = durations.iter().position(|(m, e, _)| *e == end && *m == method).unwrap_or_else(|| {
            durations.push((method, end, Histogram::default()));
            durations.len() - 1
        });
        durations[at].2.observe(duration);
    }
}

impl<E> Default for Series<E> {
    fn default() -> Series<E> {
        Series { durations: RefCell::default() }
    }
}

// === impl Histogram ===

impl Histogram {
    /// Counts one.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        let bucket = BUCKETS.iter().position(|bound| micros <= u64::from(*bound)).unwrap_or(BUCKETS.len());
        self.buckets[bucket] += 1;
        self.sum += micros;
    }

    /// How many durations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, other: &Histogram) {
        self.sum += other.sum;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, n)| *bucket += n);
    }
}

/// A method as everything that is counted or traced names it; what nobody registered is `_OTHER`.
pub(crate) fn method_label(method: &Method) -> &'static str {
    MethodLabel::of(method).0
}

// === impl CacheCounts ===

impl CacheCounts {
    /// Adds another's.
    pub(crate) fn add(&mut self, other: CacheCounts) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.known += other.known;
    }
}

// === impl MethodLabel ===

impl MethodLabel {
    fn of(method: &Method) -> MethodLabel {
        const KNOWN: [(Method, &str); 10] = [
            (Method::GET, "GET"),
            (Method::POST, "POST"),
            (Method::PUT, "PUT"),
            (Method::DELETE, "DELETE"),
            (Method::HEAD, "HEAD"),
            (Method::PATCH, "PATCH"),
            (Method::OPTIONS, "OPTIONS"),
            (Method::QUERY, "QUERY"),
            (Method::TRACE, "TRACE"),
            (Method::CONNECT, "CONNECT"),
        ];
        MethodLabel(KNOWN.iter().find(|(known, _)| known == method).map_or("_OTHER", |(_, label)| label))
    }

    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }
}

// === impl Counts ===

impl Counts {
    /// Adds another worker's.
    pub(crate) fn add(&mut self, other: Counts) {
        for (key, histogram) in other.requests {
            self.requests.entry(key).or_default().add(&histogram);
        }
        for (key, bodies) in other.bodies {
            let sum = self.bodies.entry(key).or_default();
            sum.received += bodies.received;
            sum.sent += bodies.sent;
        }
        for (key, histogram) in other.calls {
            self.calls.entry(key).or_default().add(&histogram);
        }
        for (key, histogram) in other.parts {
            self.parts.entry(key).or_default().add(&histogram);
        }
        for (key, n) in other.idle {
            *self.idle.entry(key).or_default() += n;
        }
        self.lag.add(&other.lag);
        self.in_flight += other.in_flight;
        for (key, n) in other.failures {
            *self.failures.entry(key).or_default() += n;
        }
        self.decisions.add(other.decisions);
        self.retries += other.retries;
        self.mirrored.iter_mut().zip(other.mirrored).for_each(|(count, n)| *count += n);
        self.panics += other.panics;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.tunnels += other.tunnels;
        self.tokens.add(other.tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_workers_add_up() {
        let name = Name::parse("orders").unwrap();
        let worker = || {
            let counters = Counters::default();
            let route = counters.route(&name, "/orders/*");
            route.observe(&Method::GET, 200, Duration::from_millis(5));
            route.observe(&Method::GET, 200, Duration::from_secs(60));
            route.observe(&Method::from_bytes(b"BREW").unwrap(), 418, Duration::ZERO);
            counters.no_route().observe(&Method::GET, 404, Duration::ZERO);
            counters.fail(Some(&name), "connect", Fault::Upstream);
            route.add_bodies(3, 4);
            counters.upstream(&name).observe(&Method::GET, CallEnd::Failed("connect"), Duration::ZERO);
            counters.lag.borrow_mut().observe(Duration::from_millis(300));
            count(&counters.retries, 2);
            counters.counts()
        };
        let mut total = worker();
        total.add(worker());
        assert_eq!(total.requests.len(), 3);
        let gets = &total.requests[&(Some(name.clone()), "/orders/*".into(), MethodLabel("GET"), 200)];
        assert_eq!((gets.buckets[0], gets.buckets[14], gets.count(), gets.sum), (2, 2, 4, 120_010_000));
        assert!(total.requests.contains_key(&(Some(name.clone()), "/orders/*".into(), MethodLabel("_OTHER"), 418)));
        let bodies = &total.bodies[&(Some(name.clone()), "/orders/*".into())];
        assert_eq!(*bodies, Bodies { received: 6, sent: 8 });
        let calls = &total.calls[&(Some(name.clone()), MethodLabel("GET"), CallEnd::Failed("connect"))];
        assert_eq!((calls.count(), total.lag.count(), total.lag.buckets[7]), (2, 2, 2));
        assert_eq!((total.failures[&(Some(name), "connect", Fault::Upstream)], total.retries), (2, 4));
    }

    #[test]
    fn routes_beyond_the_limit_share_a_series() {
        let counters = Counters::default();
        for n in 0..MAX_ROUTES + 5 {
            let name = Name::parse(&format!("r{n}")).unwrap();
            counters.route(&name, "/*").observe(&Method::GET, 200, Duration::ZERO);
            counters.upstream(&name).observe(&Method::GET, CallEnd::Answered(200), Duration::ZERO);
        }
        let counts = counters.counts();
        assert_eq!((counts.requests.len(), counts.calls.len()), (MAX_ROUTES + 1, MAX_ROUTES + 1));
        assert_eq!(counts.requests.values().map(Histogram::count).sum::<u64>() as usize, MAX_ROUTES + 5);
    }
}
