//! Between tries to reach the collector: how long to wait, and what to say of it, which is little: two lines an outage.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait, also where the collector asks for more.
const LONGEST: Duration = Duration::from_secs(5);

/// The waits between tries: twice as long each time, and never the same for two processes.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

/// Whether the collector takes what it is sent.
#[derive(Debug)]
pub(crate) struct Outage {
    signal: &'static str,
    lasts: bool,
}

// === impl Backoff ===

impl Backoff {
    /// The next wait; longer when the collector asks for that.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked.unwrap_or_default()).min(LONGEST)
    }
}

// === impl Outage ===

impl Outage {
    /// There is none yet, with what is called so.
    pub(crate) fn none(signal: &'static str) -> Outage {
        Outage { signal, lasts: false }
    }

    /// The collector did not take it.
    pub(crate) fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.lasts, true) {
            tracing::warn!(signal = self.signal, "the OpenTelemetry collector does not take what it is sent: {why}");
        }
    }

    /// It did.
    pub(crate) fn ended(&mut self) {
        if std::mem::replace(&mut self.lasts, false) {
            tracing::info!(signal = self.signal, "the OpenTelemetry collector takes what it is sent again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let first = backoff.next(None);
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        let last = (0..100).map(|_| backoff.next(None)).last();
        assert!(last.is_some_and(|last| last >= LONGEST / 2 && last <= LONGEST), "{last:?}");
    }

    #[test]
    fn the_collector_may_ask_for_more_up_to_the_bound() {
        assert_eq!(Backoff::default().next(Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(Backoff::default().next(Some(Duration::from_secs(3_600))), LONGEST);
    }
}
