//! The budget of further tries: a share of the requests of the last ten seconds, of all workers.
//!
//! A worker counts its requests by itself and tells how many there were when it sweeps, or when it has to know; so a
//! request costs an addition in a cell, and only a further try touches what is shared.

use super::health::Moment;
use proto::upstream::RetryBudget;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many seconds count.
const SECONDS: u32 = 10;
/// More than those, so that what is added now is not what is summed up.
const SLOTS: usize = 16;

/// What was spent, and of how much.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Window,
    retries: Window,
    // How many tries there were not, for it was spent.
    refused: AtomicU64,
}

// By second, which stands above, how many.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

// === impl Budget ===

impl Budget {
    /// So many requests there were since a worker last said so.
    pub(super) fn add_requests(&self, n: u32, now: Moment) {
        self.requests.add(n, now.second());
    }

    /// Takes one further try out of the budget, if it is in it. Workers that do so at once may take one more each.
    pub(super) fn spend(&self, budget: RetryBudget, now: Moment) -> bool {
        let second = now.second();
        let has_room = self.retries.sum(second) < budget.most(self.requests.sum(second));
        if has_room {
            self.retries.add(1, second);
        } else {
            self.refused.fetch_add(1, Relaxed);
        }
        has_room
    }

    /// How many tries there were not, for it was spent.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

// === impl Window ===

impl Window {
    fn add(&self, n: u32, second: u32) {
        let add = |slot: u64| {
            let before = if second_of(slot) == second { slot as u32 } else { 0 };
            Some(u64::from(second) << 32 | u64::from(before.saturating_add(n)))
        };
        self.0[second as usize % SLOTS].fetch_update(Relaxed, Relaxed, add).ok();
    }

    fn sum(&self, second: u32) -> u64 {
        let slots = self.0.iter().map(|slot| slot.load(Relaxed));
        let counts = slots.filter(|slot| second.checked_sub(second_of(*slot)).is_some_and(|age| age < SECONDS));
        counts.map(|slot| u64::from(slot as u32)).sum()
    }
}

fn second_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment::start().after(Duration::from_millis(millis))
    }

    #[test]
    fn tries_are_a_share_of_the_requests_of_ten_seconds() {
        let (budget, share) = (Budget::default(), RetryBudget { share: 20, min_per_second: 0 });
        assert!(!budget.spend(share, at(0)));
        budget.add_requests(50, at(100));
        budget.add_requests(50, at(5_100));
        let spent = |now| (0..1000).take_while(|_| budget.spend(share, at(now))).count();
        assert_eq!((spent(5_200), spent(9_000)), (20, 0));
        // The first fifty are over, and what was spent is not.
        assert_eq!(spent(10_500), 0);
        budget.add_requests(100, at(11_000));
        assert_eq!(spent(11_000), 10);
        // All is over, long afterwards too.
        budget.add_requests(5, at(1_000_000));
        assert_eq!(spent(1_000_000), 1);
        assert_eq!(budget.refused(), 6);
    }

    #[test]
    fn few_requests_have_a_minimum() {
        let (budget, share) = (Budget::default(), RetryBudget { share: 20, min_per_second: 3 });
        assert_eq!((0..1000).take_while(|_| budget.spend(share, at(0))).count(), 30);
        assert!(budget.spend(share, at(10_000)));
    }

    #[test]
    fn what_cannot_be_counted_is_as_much_as_can() {
        let window = Window::default();
        window.add(u32::MAX, 7);
        window.add(5, 7);
        assert_eq!(window.sum(7), u64::from(u32::MAX));
    }
}
