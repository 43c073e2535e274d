//! Figures of limits, for `examples/limiter.rs`: how long a decision takes, and how much memory many keys need.

use crate::limiter::{Bucket, Key, Limiter, Slots, Window};
use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

/// How many decisions are measured together.
const BATCH: u32 = 2_000;

/// A limiter and a limit of some windows.
pub struct Limits {
    limiter: Limiter,
    windows: Vec<Window>,
}

impl Limits {
    /// So many windows, none of which ever refuses.
    pub fn new(windows: u32) -> Limits {
        let bucket =
            |n: u32| (Duration::from_secs(n.into()), Bucket::new(1_000_000, Duration::from_secs(1), u32::MAX >> 8));
        let buckets: Vec<_> = (1..=windows).map(bucket).collect();
        Limits { limiter: Limiter::default(), windows: Slots::default().windows(&buckets) }
    }

    /// Decides so many times in each of so many threads, of addresses in turn; the time of one, with the hash of its key and
    /// the look at the clock: the median of small batches, for a machine has more to do.
    pub fn decide(&self, times: u32, threads: u32, addresses: u32) -> Duration {
        let batches = |thread: u32| -> Vec<Duration> {
            let batch = |from: u32| {
                let begun = Instant::now();
                for n in from..from + BATCH {
                    // Neither in order nor those of the other threads at the same time.
                    let address = (n.wrapping_mul(0x9e37_79b1).wrapping_add(thread)) % addresses;
                    let allowance = self.limiter.check(self.key(address), &self.windows, 1, Instant::now());
                    assert!(black_box(allowance).allowed);
                }
                begun.elapsed() / BATCH
            };
            (0..times / BATCH).map(|at| batch(at * BATCH)).collect()
        };
        let mut all: Vec<Duration> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || batches(thread))).collect();
            running.into_iter().flat_map(|batches| batches.join().unwrap_or_default()).collect()
        });
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    /// Keys that have a place, and those that lost theirs.
    pub fn keys(&self) -> (u64, u64) {
        let figures = self.limiter.figures();
        (figures.keys, figures.displaced)
    }

    fn key(&self, address: u32) -> Key {
        self.limiter.key().part(b"route/orders/per-client").part(&address.to_be_bytes()).finish()
    }
}
