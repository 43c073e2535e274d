//! Requests that are refused: counted, and told in the log. They are no lines of the audit, for anybody who reaches the
//! port could fill it; nor does anybody fill the log.

use crate::telemetry::Telemetry;
use http::StatusCode;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many are told within each second.
const TOLD: u32 = 10;

/// Counts and tells.
pub struct Refusals {
    telemetry: Arc<Telemetry>,
    window: Mutex<Window>,
}

/// What is known of a request that is refused.
pub(crate) struct Refused<'a> {
    pub(crate) status: StatusCode,
    /// The name of the token, if there is one.
    pub(crate) actor: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    /// As the API describes it, so that nobody writes into the log by it.
    pub(crate) path: &'a str,
}

struct Window {
    since: Instant,
    told: u32,
    untold: u64,
}

// === impl Refusals ===

impl Refusals {
    /// None yet.
    pub fn new(telemetry: Arc<Telemetry>) -> Refusals {
        Refusals { telemetry, window: Mutex::new(Window { since: Instant::now(), told: 0, untold: 0 }) }
    }

    /// Takes note of one.
    pub(crate) fn note(&self, refused: &Refused<'_>) {
        self.telemetry.refused(refused.status.as_u16());
        let Some(untold) = self.window.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let Refused { status, actor, peer, request_id, method, path } = refused;
        let (status, actor, peer) = (status.as_u16(), actor.unwrap_or("-"), peer.map(tracing::field::display));
        tracing::warn!(status, actor, peer, request.id = request_id, method, path, untold, "refused a request");
    }
}

// === impl Window ===

impl Window {
    // A place in the log, and how many had none since the last.
    fn take(&mut self) -> Option<u64> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.since, self.told) = (Instant::now(), 0);
        }
        if self.told >= TOLD {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_has_no_place_for_is_counted() {
        let mut window = Window { since: Instant::now() + Duration::from_secs(60), told: 0, untold: 0 };
        let told = (0..25).filter(|_| window.take().is_some()).count();
        assert_eq!((told, window.untold), (10, 15));
        window.since = Instant::now() - Duration::from_secs(1);
        assert_eq!((window.take(), window.take()), (Some(15), Some(0)));
    }
}
