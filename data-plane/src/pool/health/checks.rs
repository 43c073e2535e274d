//! The checks of a pool's endpoints: a prober for each, on the control thread.

use super::{Checked, probe::probe};
use crate::pool::{Endpoint, Pool};
use proto::upstream::HealthCheck;
use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// The most checks of a node at once.
const MAX_AT_ONCE: usize = 128;
/// The first checks of endpoints are spread over so long at most.
const SPREAD: Duration = Duration::from_secs(1);

static AT_ONCE: Semaphore = Semaphore::const_new(MAX_AT_ONCE);

/// Checks the endpoints for as long as it is polled.
pub(crate) async fn check(pool: Arc<Pool>) {
    let Some(check) = &pool.spec().health_check else {
        // What an earlier check said does not count any more.
        for endpoint in pool.endpoints() {
            endpoint.health.set_checked(Checked::Unknown);
        }
        return;
    };
    // By the id of the endpoint; each ends when it is dropped.
    let mut probers: HashMap<u64, JoinSet<()>> = HashMap::new();
    loop {
        // Before it looks, so that no change is missed.
        let mut changed = pin!(pool.vitals.changed());
        changed.as_mut().enable();
        let mut before = std::mem::take(&mut probers);
        for endpoint in pool.endpoints() {
            let id = endpoint.id;
            let prober = before.remove(&id).unwrap_or_else(|| {
                let mut prober = JoinSet::new();
                prober.spawn(keep_checking(pool.clone(), endpoint, check.clone()));
                prober
            });
            probers.insert(id, prober);
        }
        changed.await;
    }
}

async fn keep_checking(pool: Arc<Pool>, endpoint: Arc<Endpoint>, check: HealthCheck) {
    // In a row, and how they came out.
    let (mut passed, mut run) = (true, 0_u32);
    tokio::time::sleep(check.interval.min(SPREAD).mul_f32(fastrand::f32())).await;
    loop {
        let outcome = match AT_ONCE.acquire().await {
            Ok(_permit) => probe(&endpoint, &check, pool.spec().protocol).await,
            // Nobody closes it.
            Err(_) => return,
        };
        endpoint.health.count_check(outcome.is_ok());
        run = if outcome.is_ok() == passed { run.saturating_add(1) } else { 1 };
        passed = outcome.is_ok();
        let threshold = if passed { check.healthy_threshold } else { check.unhealthy_threshold };
        // Who was never judged is well with the first check that says so.
        let is_first = passed && endpoint.health.checked() == Checked::Unknown;
        if (run >= threshold || is_first)
            && endpoint.health.set_checked(if passed { Checked::Passed } else { Checked::Failed })
        {
            let (upstream, address) = (pool.name(), endpoint.as_str());
            match outcome {
                Ok(()) => {
                    tracing::info!(upstream.name = %upstream, endpoint = address, "an endpoint passes its checks")
                }
                Err(error) => {
                    tracing::warn!(upstream.name = %upstream, endpoint = address, %error, "an endpoint fails its checks");
                }
            }
        }
        tokio::time::sleep(check.interval.mul_f32(0.9 + 0.2 * fastrand::f32())).await;
    }
}
