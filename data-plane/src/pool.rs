//! Pools: upstreams alive in a node.
//!
//! A [`Pool`] is what all workers share: the spec and an `Arc` of each endpoint's state, inherited from router to router.
//! What a worker has of it is a [`LocalPool`]: the balance, and the connections, which never cross threads. Nothing here
//! is registered: what no route of a router refers to any more is dropped, and its connections with it.

mod balance;
mod call;
mod connect;
mod connection;
mod download;
mod head;
mod health;
mod judge;
mod live;
mod local;
mod outbound;
mod resolve;
mod stream;
mod tls;

pub(crate) use call::{Attempts, Call, Outgoing, call};
pub(crate) use download::{DownloadBody, DownloadFault};
pub(crate) use health::{HealthReport, Vitals, checks::check};
pub(crate) use local::{LocalPool, Upstreams};

use health::Health;
use proto::{
    name::Name,
    upstream::{Address, Upstream},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};
use tls::{ClientTls, EndpointTls};

/// An upstream, alive.
#[derive(Debug)]
pub(crate) struct Pool {
    spec: Arc<Upstream>,
    // In the order of the spec's.
    endpoints: Vec<Arc<Endpoint>>,
    tls: Option<ClientTls>,
    vitals: Arc<Vitals>,
    id: u64,
}

/// An endpoint, alive; it outlives the pool it was made for when the next has the same address, called in the same way.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: Address,
    // As the log has it.
    text: String,
    id: u64,
    seats: Arc<Seats>,
    // `None`: cleartext.
    tls: Option<EndpointTls>,
    health: Health,
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
    /// another way, for their connections would be used as they are.
    pub(crate) fn build(upstream: &Arc<Upstream>, previous: Option<&Pool>) -> Pool {
        let previous = previous.filter(|pool| pool.spec.tls == upstream.tls);
        let tls = match previous {
            Some(pool) => pool.tls.clone(),
            None => upstream.tls.as_ref().map(ClientTls::build),
        };
        let towards = |address: &Address| {
            let server_name = upstream.tls.as_ref()?.server_name(address)?;
            Some(tls.as_ref()?.towards(server_name))
        };
        let inherit = |address: &Address| {
            previous.and_then(|pool| pool.endpoints.iter().find(|endpoint| endpoint.address == *address)).cloned()
        };
        let vitals = previous.map(|pool| pool.vitals.clone()).unwrap_or_default();
        let build = |address: &Address| Endpoint {
            address: address.clone(),
            text: address.to_string(),
            id: next_id(),
            seats: Arc::default(),
            tls: towards(address),
            health: Health::new(&vitals),
        };
        let endpoints = upstream
            .endpoints
            .iter()
            .map(|spec| inherit(&spec.address).unwrap_or_else(|| Arc::new(build(&spec.address))))
            .collect();
        Pool { spec: upstream.clone(), endpoints, tls, vitals, id: next_id() }
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &Name {
        &self.spec.name
    }

    /// What the operator said.
    pub(crate) fn spec(&self) -> &Arc<Upstream> {
        &self.spec
    }

    /// Its endpoints.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What they share of their health.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// What tells it from the pool of the same name in another router.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Its address, as the operator wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
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
}
