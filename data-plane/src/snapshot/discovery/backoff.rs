//! How long to wait before the next try: twice as long each time, and never the same for two nodes.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// The wait after an answer that will hardly change by itself.
const SLOW: Duration = Duration::from_secs(15);

/// The waits between tries.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait: between half of it and the whole.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        jittered(wait)
    }

    /// The wait after an answer that will hardly change by itself.
    pub(super) fn slow(&mut self) -> Duration {
        jittered(SLOW)
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let first = backoff.next();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        let last = (0..100).map(|_| backoff.next()).last();
        assert!(last.is_some_and(|last| last >= LONGEST / 2 && last <= LONGEST), "{last:?}");
    }
}
