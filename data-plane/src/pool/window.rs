//! How many there were of something in the last seconds, counted by all workers without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most seconds that can be looked back, and some.
const SLOTS: usize = 64;

/// By second, which stands above, how many.
#[derive(Debug)]
pub(super) struct Window([AtomicU64; SLOTS]);

impl Default for Window {
    fn default() -> Window {
        Window(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Window {
    /// Counts so many.
    pub(super) fn add(&self, n: u32, second: u32) {
        let add = |slot: u64| {
            let before = if second_of(slot) == second { slot as u32 } else { 0 };
            Some(u64::from(second) << 32 | u64::from(before.saturating_add(n)))
        };
        self.0[second as usize % SLOTS].fetch_update(Relaxed, Relaxed, add).ok();
    }

    /// How many there were in the so many seconds that end with this one.
    pub(super) fn sum(&self, second: u32, seconds: u32) -> u64 {
        let slots = self.0.iter().map(|slot| slot.load(Relaxed));
        let counts = slots.filter(|slot| second.checked_sub(second_of(*slot)).is_some_and(|age| age < seconds));
        counts.map(|slot| u64::from(slot as u32)).sum()
    }
}

fn second_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_counts_no_more() {
        let window = Window::default();
        (100..200).for_each(|second| window.add(1, second));
        assert_eq!([1, 10, 60].map(|seconds| window.sum(199, seconds)), [1, 10, 60]);
        assert_eq!((window.sum(204, 10), window.sum(1000, 60)), (5, 0));
    }

    #[test]
    fn what_cannot_be_counted_is_as_much_as_can() {
        let window = Window::default();
        window.add(u32::MAX, 7);
        window.add(5, 7);
        assert_eq!(window.sum(7, 1), u64::from(u32::MAX));
    }
}
