//! The circuit of an upstream: open, it gets no requests; then one after another tries it, until one goes well.
//!
//! The state is one atomic word that all workers share. What tries come to is counted by second; only a failure sums up.

use super::{health::Moment, window::Window};
use proto::upstream::CircuitBreaker;
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

// What the state is besides a moment.
const CLOSED: u64 = 0;
const TRIAL: u64 = u64::MAX;

/// The circuit.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    // `CLOSED`, `TRIAL`, or the moment until which it is open.
    state: AtomicU64,
    tries: Window,
    failures: Window,
    // When it was last closed: what was before does not count.
    closed: AtomicU32,
    openings: AtomicU64,
}

/// The one request that tries an upstream. Dropped without a verdict, another may try.
#[derive(Debug)]
pub(crate) struct CircuitTrial(Arc<Circuit>);

// === impl Circuit ===

impl Circuit {
    /// Whether a request may pass, maybe as the one that tries; if not, how long it is open.
    pub(super) fn pass(self: &Arc<Circuit>, now: Moment) -> Result<Option<CircuitTrial>, Duration> {
        match self.state.load(Relaxed) {
            CLOSED => Ok(None),
            until if until <= now.millis() && self.state.compare_exchange(until, TRIAL, SeqCst, Relaxed).is_ok() => {
                Ok(Some(CircuitTrial(self.clone())))
            }
            TRIAL => Err(Duration::ZERO),
            until => Err(Duration::from_millis(until.saturating_sub(now.millis()))),
        }
    }

    /// Whether it is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Relaxed) == CLOSED
    }

    /// How often it opened.
    pub(super) fn openings(&self) -> u64 {
        self.openings.load(Relaxed)
    }

    /// Takes note of a try; whether that opens it.
    pub(super) fn note(&self, breaker: &CircuitBreaker, failed: bool, now: Moment, jitter: f32) -> bool {
        let second = now.second();
        self.tries.add(1, second);
        if !failed {
            return false;
        }
        self.failures.add(1, second);
        let seconds = breaker.window.min(second.saturating_sub(self.closed.load(Relaxed)));
        let too_much = breaker.is_too_much(self.failures.sum(second, seconds), self.tries.sum(second, seconds));
        let until = open_until(breaker, now, jitter);
        let opens = too_much && self.state.compare_exchange(CLOSED, until, SeqCst, Relaxed).is_ok();
        if opens {
            self.openings.fetch_add(1, Relaxed);
        }
        opens
    }
}

fn open_until(breaker: &CircuitBreaker, now: Moment, jitter: f32) -> u64 {
    now.after(breaker.open.mul_f32(1.0 + 0.1 * jitter)).millis()
}

// === impl CircuitTrial ===

impl CircuitTrial {
    /// It went well: the circuit closes.
    pub(super) fn pass(self, now: Moment) {
        self.0.closed.store(now.second(), Relaxed);
        self.0.state.store(CLOSED, SeqCst);
    }

    /// It failed: the circuit is open again.
    pub(super) fn fail(self, breaker: &CircuitBreaker, now: Moment, jitter: f32) {
        self.0.openings.fetch_add(1, Relaxed);
        self.0.state.store(open_until(breaker, now, jitter), SeqCst);
    }
}

impl Drop for CircuitTrial {
    fn drop(&mut self) {
        // With a verdict it is something else already.
        self.0.state.compare_exchange(TRIAL, Moment::now().millis(), SeqCst, Relaxed).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::upstream::CountedAnswers;

    const BREAKER: CircuitBreaker = CircuitBreaker {
        failure_share: 50,
        min_requests: 4,
        window: 10,
        open: Duration::from_secs(5),
        answers: CountedAnswers::Gateway,
    };

    fn at(millis: u64) -> Moment {
        Moment::start().after(Duration::from_millis(millis))
    }

    fn note(circuit: &Circuit, outcomes: &str, millis: u64) -> bool {
        outcomes.bytes().any(|outcome| circuit.note(&BREAKER, outcome == b'x', at(millis), 0.0))
    }

    #[test]
    fn it_opens_on_a_share_of_enough_tries_and_closes_when_one_goes_well() {
        let circuit = Arc::<Circuit>::default();
        assert!(!note(&circuit, "xxx", 20_000), "too few");
        // They are over.
        assert!(!note(&circuit, "..x.x", 31_000), "too small a share");
        assert!(note(&circuit, "x", 32_000));
        assert!(!note(&circuit, "xxx", 32_000), "it is already");
        assert_eq!((circuit.pass(at(33_000)).unwrap_err().as_secs(), circuit.openings()), (4, 1));
        let trial = circuit.pass(at(37_000)).unwrap().unwrap();
        assert_eq!(circuit.pass(at(37_000)).unwrap_err(), Duration::ZERO);
        trial.fail(&BREAKER, at(38_000), 1.0);
        assert_eq!(circuit.pass(at(38_000)).unwrap_err(), Duration::from_millis(5_500));
        circuit.pass(at(43_500)).unwrap().unwrap().pass(at(43_500));
        assert!(circuit.pass(at(43_500)).unwrap().is_none() && circuit.is_closed());
        // What was before it closed does not count.
        assert!(!note(&circuit, "xxx", 44_000));
        assert!(note(&circuit, "x", 44_000));
    }

    #[test]
    fn a_trial_that_comes_to_nothing_is_anothers() {
        let circuit = Arc::<Circuit>::default();
        assert!(note(&circuit, "xxxx", 20_000));
        drop(circuit.pass(at(25_000)).unwrap().unwrap());
        // It counts by the clock, which is not this one.
        circuit.state.store(at(25_000).millis(), SeqCst);
        assert!(circuit.pass(at(25_000)).unwrap().is_some());
    }
}
