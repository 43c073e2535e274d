//! The checks of a pool's endpoints: a prober for each, on the control thread.

use super::{Checked, probe::probe};
use crate::pool::{Endpoint, Pool};
use proto::upstream::HealthCheck;
use std::{sync::Arc, time::Duration};
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
    let mut probers = JoinSet::new();
    for endpoint in pool.endpoints() {
        probers.spawn(keep_checking(pool.clone(), endpoint.clone(), check.clone()));
    }
    // They end with this.
    while probers.join_next().await.is_some() {}
}

async fn keep_checking(pool: Arc<Pool>, endpoint: Arc<Endpoint>, check: HealthCheck) {
    // In a row, and how they came out.
    let (mut passed, mut run) = (true, 0_u32);
    tokio::time::sleep(check.interval.min(SPREAD).mul_f32(fastrand::f32())).await;
    loop {
        let outcome = match AT_ONCE.acquire().await {
            Ok(_permit) => probe(&endpoint, &check).await,
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
