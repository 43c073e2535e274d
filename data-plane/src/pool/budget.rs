//! The budget of further tries: a share of the requests of the last ten seconds, of all workers.
//!
//! A worker counts its requests by itself and tells how many there were when it sweeps, or when it has to know; so a
//! request costs an addition in a cell, and only a further try touches what is shared.

use super::{health::Moment, window::Window};
use proto::upstream::RetryBudget;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many seconds count.
const SECONDS: u32 = 10;

/// What was spent, and of how much.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Window,
    retries: Window,
    // How many tries there were not, for it was spent.
    refused: AtomicU64,
}

// === impl Budget ===

impl Budget {
    /// So many requests there were since a worker last said so.
    pub(super) fn add_requests(&self, n: u32, now: Moment) {
        self.requests.add(n, now.second());
    }

    /// Takes one further try out of the budget, if it is in it. Workers that do so at once may take one more each.
    pub(super) fn spend(&self, budget: RetryBudget, now: Moment) -> bool {
        let second = now.second();
        let has_room = self.retries.sum(second, SECONDS) < budget.most(self.requests.sum(second, SECONDS));
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
}
