//! Pools: upstreams alive in a node.
//!
//! A [`Pool`] is what all workers share: the spec and an `Arc` of each endpoint's state, inherited from router to router.
//! The connections themselves belong to one worker and never cross threads.

use proto::{
    name::Name,
    upstream::{Address, Upstream},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// An upstream, alive.
#[derive(Debug)]
pub(crate) struct Pool {
    spec: Arc<Upstream>,
    endpoints: Vec<Arc<Endpoint>>,
    // A new pool is a new balance.
    id: u64,
}

/// An endpoint, alive; it outlives the pool it was made for when the next has the same address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    // Connections that stand, of all workers; each connection holds this too.
    open: Arc<AtomicU32>,
    id: u64,
}

// === impl Pool ===

impl Pool {
    /// Builds the pool, taking over the endpoints that the previous pool of the name had.
    pub(crate) fn build(upstream: &Arc<Upstream>, previous: Option<&Pool>) -> Pool {
        let inherit = |address: &Address| {
            previous.and_then(|pool| pool.endpoints.iter().find(|endpoint| endpoint.address == *address)).cloned()
        };
        let endpoints = upstream.endpoints.iter().map(|spec| {
            inherit(&spec.address).unwrap_or_else(|| {
                Arc::new(Endpoint { address: spec.address.clone(), open: Arc::default(), id: next_id() })
            })
        });
        Pool { spec: upstream.clone(), endpoints: endpoints.collect(), id: next_id() }
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &Name {
        &self.spec.name
    }

    /// What the operator said.
    pub(crate) fn spec(&self) -> &Arc<Upstream> {
        &self.spec
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}
