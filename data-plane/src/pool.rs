//! Pools: upstreams alive in a node.
//!
//! A [`Pool`] is what all workers share: the spec and an `Arc` of each endpoint's state, inherited from router to router.
//! What a worker has of it is a [`LocalPool`]: the balance, and the connections, which never cross threads. Nothing here
//! is registered: what no route of a router refers to any more is dropped, and its connections with it.

mod affinity;
mod attempts;
mod balance;
mod budget;
mod call;
mod circuit;
mod connect;
mod connection;
mod download;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod head;
mod health;
mod http2;
mod judge;
mod limiter;
mod live;
mod local;
mod origin;
mod outbound;
mod rendezvous;
mod resolve;
mod retry;
mod session;
mod stream;
mod switch;
mod tls;
mod window;

pub(crate) use affinity::{affinity, key_hash, session_cookie};
pub(crate) use attempts::{Attempts, Phases, Try, TryEnd};
pub(crate) use call::{Call, Outgoing, call};
pub(crate) use download::{DownloadBody, DownloadFault};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzing::{decode_answer, encode_request};
pub(crate) use health::{HealthReport, Vitals, checks::check};
pub(crate) use local::{LocalPool, Upstreams};
pub(crate) use rendezvous::{Contender, KeyHash, seed};
pub(crate) use resolve::{Resolver, resolve};
pub(crate) use session::SessionId;
pub(crate) use switch::{Switched, Upgrade};
pub(crate) use tls::system_roots;

use budget::Budget;
use circuit::Circuit;
use health::{Health, Moment};
use limiter::Limiter;
use origin::{Found, Manner, Origin, Unresolved};
use proto::{
    certificate::Certificate,
    name::Name,
    upstream::{Address, Place, Upstream},
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};
use tls::{ClientTls, EndpointTls};
use tokio::sync::Notify;

/// Into how many parts a weight of 1 is divided among the addresses of a name.
const PARTS: u32 = 1_000;

/// An upstream, alive.
#[derive(Debug)]
pub(crate) struct Pool {
    spec: Arc<Upstream>,
    // In the order of the spec's.
    origins: Vec<Arc<Origin>>,
    tls: Option<ClientTls>,
    // What is shown to endpoints that ask who calls.
    shown: Option<Arc<Certificate>>,
    vitals: Arc<Vitals>,
    // However the endpoints are called.
    budget: Arc<Budget>,
    limiter: Arc<Limiter>,
    circuit: Arc<Circuit>,
    id: u64,
}

/// An endpoint, alive; it outlives the pool it was made for when the next has the same address, called in the same way.
#[derive(Debug)]
pub(crate) struct Endpoint {
    // As it was written, or as an SRV record has it.
    address: Address,
    // One, or one of each family.
    ips: Vec<IpAddr>,
    // As the log has it.
    text: String,
    // Of its address.
    seed: u64,
    id: u64,
    seats: Arc<Seats>,
    // `None`: cleartext.
    tls: Option<EndpointTls>,
    health: Health,
    // Wakes who resolves the name. The other end is the origin's.
    wanted: Arc<Notify>,
}

/// Which endpoint a request is for, as far as it has a say in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Affinity {
    /// Any.
    None,
    /// The one that this key belongs to.
    Key(KeyHash),
    /// The one that the client was given before.
    Session(SessionId),
}

/// An endpoint of a pool, as it is now.
#[derive(Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    weight: u32,
    // The lowest takes the traffic.
    priority: u32,
    // Its weight grows.
    is_warming: bool,
}

/// The connections that stand between the node and one endpoint, of all workers; each holds a [`Seat`].
#[derive(Debug, Default)]
struct Seats {
    taken: AtomicU32,
    // So many found none free: as many that are given back are not kept.
    wanted: AtomicU32,
}

/// The right to one connection.
#[derive(Debug)]
struct Seat(Arc<Seats>);

// === impl Pool ===

impl Pool {
    /// Builds the pool, taking over the endpoints that the previous pool of the name had; none if they were called in
    /// another way, for their connections would be used as they are. What DNS says holds in any case, and what checks say
    /// if nothing but the certificate that is shown is another.
    pub(crate) fn build(upstream: &Arc<Upstream>, shown: Option<&Arc<Certificate>>, previous: Option<&Pool>) -> Pool {
        let (budget, limiter, circuit) =
            previous.map(|pool| (pool.budget.clone(), pool.limiter.clone(), pool.circuit.clone())).unwrap_or_default();
        let key_pair = shown.map(|certificate| &certificate.key_pair);
        let alike = previous.filter(|pool| pool.asks_the_same(upstream));
        let same = alike.filter(|pool| pool.shown.as_ref().map(|shown| &shown.key_pair) == key_pair);
        let tls = match same {
            Some(pool) => pool.tls.clone(),
            None => upstream.tls.as_ref().map(|tls| ClientTls::build(tls, key_pair, upstream.protocol)),
        };
        let vitals = alike.map(|pool| pool.vitals.clone()).unwrap_or_default();
        let manner = Manner { upstream: upstream.clone(), tls: tls.clone(), vitals: vitals.clone() };
        let origin = |place: &Place| {
            let before = previous.and_then(|pool| pool.origins.iter().find(|origin| origin.place() == place));
            match (before, same, alike) {
                (Some(origin), Some(_), _) => origin.clone(),
                (Some(origin), None, Some(_)) => Arc::new(Origin::after(origin, manner.clone()).with_checks_of(origin)),
                (Some(origin), None, None) => Arc::new(Origin::after(origin, manner.clone())),
                (None, _, alike) => Arc::new(Origin::new(place.clone(), manner.clone(), alike.is_some())),
            }
        };
        let origins = upstream.endpoints.iter().map(|spec| origin(&spec.place)).collect();
        Pool {
            spec: upstream.clone(),
            origins,
            tls,
            shown: shown.cloned(),
            vitals,
            budget,
            limiter,
            circuit,
            id: next_id(),
        }
    }

    // Whether endpoints are called as those of the upstream, whoever calls.
    fn asks_the_same(&self, upstream: &Upstream) -> bool {
        let same_tls = match (&self.spec.tls, &upstream.tls) {
            (Some(ours), Some(theirs)) => ours.asks_the_same(theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls && self.spec.protocol == upstream.protocol
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &Name {
        &self.spec.name
    }

    /// What the operator said.
    pub(crate) fn spec(&self) -> &Arc<Upstream> {
        &self.spec
    }

    /// Its endpoints, as names are resolved now.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let found = self.origins.iter().map(|origin| origin.found().1);
        found.flat_map(|found| found.iter().map(|found| found.endpoint.clone()).collect::<Vec<_>>()).collect()
    }

    // Those that may take traffic; and whether one of the names was never resolved, and why. The endpoints of a name
    // divide its share, and one that warms up has only a part of its own.
    fn members(&self) -> (Vec<Member>, Option<Unresolved>) {
        let weighted = self.spec.endpoints.iter().zip(&self.origins).filter(|(spec, _)| spec.weight > 0);
        let found: Vec<_> = weighted.map(|(spec, origin)| (spec, origin.found())).collect();
        let warmth = self.spec.slow_start.map(|window| (Moment::now(), window));
        let warmth = |found: &Found| warmth.and_then(|(now, window)| found.endpoint.health.warmth(now, window));
        let is_divided =
            found.iter().any(|(_, (_, found))| found.len() > 1 || found.iter().any(|one| warmth(one).is_some()));
        let mut members = Vec::new();
        for (spec, (_, found)) in &found {
            let shares = found.iter().map(|found| u64::from(found.share())).sum::<u64>();
            members.extend(found.iter().map(|found| {
                let warmth = warmth(found);
                let weight = match is_divided {
                    // Below 2^30 for all endpoints that there may be.
                    true => divide(spec.weight, found.share(), shares),
                    false => spec.weight,
                };
                Member {
                    endpoint: found.endpoint.clone(),
                    // Of at most 1,000,000, which one endpoint can have.
                    weight: warmth.map_or(weight, |thousandths| (weight * thousandths / 1_000).max(1)),
                    priority: (spec.priority << 16) + u32::from(found.rank),
                    is_warming: warmth.is_some(),
                }
            }));
        }
        (members, found.iter().find_map(|(_, (unresolved, _))| *unresolved))
    }

    // Those that take no new clients, in case they have some: of weight 0.
    fn resting(&self) -> impl Iterator<Item = Arc<Endpoint>> {
        let resting = self.spec.endpoints.iter().zip(&self.origins).filter(|(spec, _)| spec.weight == 0);
        resting.flat_map(|(_, origin)| origin.found().1.iter().map(|found| found.endpoint.clone()).collect::<Vec<_>>())
    }

    /// What they share of their health.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// How many further tries there were not, for the budget was spent.
    pub(crate) fn retries_over_budget(&self) -> u64 {
        self.budget.refused()
    }

    /// How many requests are under way and how many wait, where that is bounded.
    pub(crate) fn concurrency(&self) -> Option<(u32, u32)> {
        self.spec.concurrency.map(|_| self.limiter.figures())
    }

    /// Whether requests are kept from it, and how often that began, where that may be.
    pub(crate) fn circuit(&self) -> Option<(bool, u64)> {
        self.spec.circuit_breaker.map(|_| (!self.circuit.is_closed(), self.circuit.openings()))
    }

    /// What tells it from the pool of the same name in another router.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Its address; the first, where the name has one of each family.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// How many connections stand, of all workers.
    pub(crate) fn connections(&self) -> u32 {
        self.seats.taken.load(Relaxed)
    }

    /// Whether it is neither ejected nor failing its checks.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.down().is_none()
    }
}

// === impl Seats ===

impl Seats {
    // None when there are as many as there may be.
    fn take(self: &Arc<Seats>, max: u32) -> Option<Seat> {
        let taken = self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < max).then_some(taken + 1));
        if taken.is_err() {
            let more = |wanted| (wanted < max).then_some(wanted + 1);
            self.wanted.fetch_update(Relaxed, Relaxed, more).ok();
        }
        taken.ok().map(|_| Seat(self.clone()))
    }
}

// === impl Seat ===

impl Seat {
    // Whether another would make better use of it; asked once, for one seat helps one.
    fn is_wanted(&self) -> bool {
        self.0.wanted.load(Relaxed) > 0
            && self.0.wanted.fetch_update(Relaxed, Relaxed, |wanted| wanted.checked_sub(1)).is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// One share of so many of a weight, in parts; not nothing. The weights of SRV records go up to 65535.
fn divide(weight: u32, share: u32, shares: u64) -> u32 {
    let parts = u64::from(weight) * u64::from(PARTS) * u64::from(share) / shares.max(1);
    u32::try_from(parts).unwrap_or(u32::MAX).max(1)
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_given_back() {
        let seats = Arc::<Seats>::default();
        let first = seats.take(1).unwrap();
        assert!(!first.is_wanted());
        assert!(seats.take(1).is_none());
        assert!(first.is_wanted() && !first.is_wanted());
        drop(first);
        assert!(seats.take(1).is_some());
    }

    #[test]
    fn a_weight_is_divided_whatever_the_shares() {
        assert_eq!((divide(1, 1, 2), divide(3, 2, 3), divide(1, 1, 65_536)), (500, 2_000, 1));
        assert_eq!(divide(1_000, 65_535, 65_535 + 65_535), 500_000);
    }
}
