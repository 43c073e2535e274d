//! What the newest router needs besides requests, on the control thread: that names of endpoints are resolved, that endpoints
//! are checked, that the control plane learns how they are, and that the keys of issuers are there.
//!
//! A pool's upkeep ends with the pool: what a new router does not have any more is let go of as soon as it is there. Keys are
//! kept until nobody holds them.

use crate::{
    fetch::Fetcher,
    issuer_keys::IssuerKeys,
    pool::{HealthReport, Resolver, check, resolve},
    router::{LiveRouter, Router},
    snapshot::state::Status,
};
use proto::name::Name;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

/// How often health is looked at for the report.
const REPORT: Duration = Duration::from_secs(1);

/// The upkeep of one pool; its drop ends it.
struct Kept {
    pool: u64,
    _tasks: JoinSet<()>,
}

/// Keeps the pools of the newest router up until it is dropped.
pub(crate) async fn upkeep(router: LiveRouter, status: Status, resolver: Resolver) {
    let mut changes = router.changes();
    let mut kept = HashMap::new();
    let mut seen = None;
    let mut ticks = interval(REPORT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep(&mut kept, &router.load_full(), &resolver);
    loop {
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => keep(&mut kept, &router.load_full(), &resolver),
                // Nobody is left to store a router.
                Err(_) => return std::future::pending().await,
            },
            _ = ticks.tick() => report(&router.load_full(), &status, &mut seen),
        }
    }
}

fn keep(kept: &mut HashMap<Name, Kept>, router: &Router, resolver: &Resolver) {
    let mut before = std::mem::take(kept);
    for pool in router.pools() {
        let same = before.remove(pool.name()).filter(|kept| kept.pool == pool.id());
        let keep = || {
            let mut tasks = JoinSet::new();
            tasks.spawn(resolve(pool.clone(), resolver.clone()));
            tasks.spawn(check(pool.clone()));
            Kept { pool: pool.id(), _tasks: tasks }
        };
        kept.insert(pool.name().clone(), same.unwrap_or_else(keep));
    }
}

// Health is read endpoint by endpoint only when something changed.
fn report(router: &Router, status: &Status, seen: &mut Option<(u64, u64)>) {
    let changes =
        router.pools().fold(0_u64, |sum, pool| sum.wrapping_add(pool.vitals().changes()).wrapping_add(pool.id()));
    let now = Some((router.revision(), changes));
    if *seen != now {
        *seen = now;
        status.health(HealthReport::of(router.pools()));
    }
}

/// Keeps the keys of the issuers that policies name, until it is dropped.
pub(crate) async fn keep_keys(router: LiveRouter, fetcher: Fetcher) {
    let mut changes = router.changes();
    let mut keepers = JoinSet::new();
    // Each is held for as long as it is kept, and so no other can come to its address.
    let mut kept: Vec<(Weak<IssuerKeys>, AbortHandle)> = Vec::new();
    loop {
        kept.retain(|(keys, keeper)| {
            let is_held = keys.strong_count() > 0;
            if !is_held {
                keeper.abort();
            }
            is_held && !keeper.is_finished()
        });
        for keys in IssuerKeys::all(router.load_full().states()) {
            let keys = Arc::downgrade(&keys);
            if !kept.iter().any(|(known, _)| known.ptr_eq(&keys)) {
                let keeper = keepers.spawn(IssuerKeys::keep(keys.clone(), fetcher.clone()));
                kept.push((keys, keeper));
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                // Nobody is left to store a router.
                return std::future::pending().await;
            },
            // Those that ended make room; one that panicked is begun again.
            Some(_) = keepers.join_next() => {}
        }
    }
}
