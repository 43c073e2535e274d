//! What the pools of the newest router need besides requests, on the control thread: that names are resolved, that
//! endpoints are checked, and that the control plane learns how they are.
//!
//! A pool's upkeep ends with the pool: what a new router does not have any more is let go of as soon as it is there.

use crate::{
    pool::{HealthReport, Resolver, check, resolve},
    router::{LiveRouter, Router},
    snapshot::state::Status,
};
use proto::name::Name;
use std::{collections::HashMap, time::Duration};
use tokio::{
    task::JoinSet,
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
