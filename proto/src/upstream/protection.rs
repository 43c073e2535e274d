//! What protects an upstream from too much, checked: the bound on requests at once, and the circuit breaker.

use super::{CountedAnswers, duration};
use crate::{invalid::Faults, pb};
use std::time::Duration;

/// How many requests a node has under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// At most.
    pub max: u32,
    /// How many may wait.
    pub queue: u32,
    /// For so long.
    pub wait: Duration,
}

/// When an upstream gets no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// So many percent of the tries failed,
    pub failure_share: u32,
    /// of so many at least,
    pub min_requests: u32,
    /// within so many seconds.
    pub window: u32,
    /// It lasts so long.
    pub open: Duration,
    /// The answers that are failures.
    pub answers: CountedAnswers,
}

// === impl Concurrency ===

impl Concurrency {
    pub(super) fn check(message: &pb::Concurrency, faults: &mut Faults) -> Concurrency {
        if !(1..=1_000_000).contains(&message.max) {
            faults.note_at("max", "1 to 1000000 requests can be under way at once");
        }
        let queue = message.queue.unwrap_or(100);
        if queue > 100_000 {
            faults.note_at("queue", "at most 100000 requests can wait");
        }
        let wait = duration("wait", &message.wait, faults).unwrap_or(Duration::from_millis(100));
        Concurrency { max: message.max, queue, wait }
    }
}

// === impl CircuitBreaker ===

impl CircuitBreaker {
    pub(super) fn check(message: &pb::CircuitBreaker, faults: &mut Faults) -> CircuitBreaker {
        let failure_share = message.failure_share.unwrap_or(50);
        if !(1..=100).contains(&failure_share) {
            faults.note_at("failure_share", "a share is 1 to 100 percent");
        }
        let min_requests = message.min_requests.unwrap_or(20);
        if !(1..=1_000_000).contains(&min_requests) {
            faults.note_at("min_requests", "1 to 1000000 requests can be asked for");
        }
        let window = duration("window", &message.window, faults).unwrap_or(Duration::from_secs(10));
        if window.subsec_millis() != 0 || window > Duration::from_secs(60) {
            faults.note_at("window", "a window is whole seconds, at most 60s");
        }
        let open = duration("open", &message.open, faults).unwrap_or(Duration::from_secs(5));
        let answers = CountedAnswers::check(message.answers.as_ref());
        CircuitBreaker { failure_share, min_requests, window: window.as_secs().min(60) as u32, open, answers }
    }

    /// Whether so many failures of so many tries are too many.
    pub fn is_too_much(&self, failures: u64, tries: u64) -> bool {
        tries >= u64::from(self.min_requests) && 100 * failures >= u64::from(self.failure_share) * tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_enough_tries_is_too_much() {
        let breaker = CircuitBreaker::check(&pb::CircuitBreaker::default(), &mut Faults::default());
        for (failures, tries, expect) in
            [(19, 19, false), (10, 20, true), (9, 20, false), (50, 101, false), (0, 20, false)]
        {
            assert_eq!(breaker.is_too_much(failures, tries), expect, "{failures} of {tries}");
        }
    }

    #[test]
    fn all_faults_of_protection_have_their_places() {
        let mut faults = Faults::default();
        let concurrency = pb::Concurrency { max: 0, queue: Some(100_001), wait: "x".into() };
        Concurrency::check(&concurrency, &mut faults);
        let breaker = pb::CircuitBreaker {
            failure_share: Some(0),
            min_requests: Some(0),
            window: "1500ms".into(),
            open: "x".into(),
            answers: None,
        };
        CircuitBreaker::check(&breaker, &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(found, ["/max", "/queue", "/wait", "/failure_share", "/min_requests", "/window", "/open"]);
    }
}
