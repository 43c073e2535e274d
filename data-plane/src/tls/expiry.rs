//! Tells, once a day, which certificates have expired or will soon. They are served and shown all the same: a node does
//! what the configuration says, and a client that warns is better than a door that is shut.

use crate::router::LiveRouter;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before the end it is told.
const NOTICE: i64 = 14 * 24 * 60 * 60;

/// Tells it until it is dropped.
pub(crate) async fn watch(live: LiveRouter) {
    let mut days = tokio::time::interval(DAY);
    loop {
        days.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        tell(&live, i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

fn tell(live: &LiveRouter, now: i64) {
    for certificate in live.load_full().snapshot().certificates().into_values() {
        let left = certificate.validity().not_after.saturating_sub(now);
        let (name, days) = (&certificate.name, left / (24 * 60 * 60));
        if left < 0 {
            tracing::error!(certificate.name = %name, days = -days, "a certificate has expired; it is used all the same");
        } else if left < NOTICE {
            tracing::warn!(certificate.name = %name, days, "a certificate expires soon");
        }
    }
}
