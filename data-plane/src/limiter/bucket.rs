//! The arithmetic of a bucket, without a clock: times are nanoseconds since some beginning.
//!
//! What is remembered of a bucket is when it is full again. Beside it stands the interval that this was reckoned with, so
//! that after a change of the limit as much is missing as was taken out.

use std::time::Duration;

/// So much at once, and one more each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    // Not 0.
    interval: u64,
    burst: u32,
}

/// What is remembered of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// When it is full again.
    pub(super) full_at: u64,
    /// What this was reckoned with; 0 while nothing was ever taken out.
    pub(super) interval: u64,
}

/// Whether a request may pass, and what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Whether.
    pub(crate) allowed: bool,
    /// Of which of several windows this is told.
    pub(crate) window: usize,
    /// How much may be had at once when the bucket is full.
    pub(crate) limit: u32,
    /// How much may still be had at once.
    pub(crate) remaining: u32,
    /// How long until the bucket is full.
    pub(crate) reset: Duration,
    /// How long until what was refused may be had; nothing if it was allowed.
    pub(crate) retry_after: Duration,
}

// === impl Bucket ===

impl Bucket {
    /// So much in each window, and at once `burst`.
    pub(crate) fn new(limit: u32, window: Duration, burst: u32) -> Bucket {
        // Rounded up, for it must not be more.
        let interval = window.as_nanos().div_ceil(u128::from(limit.max(1)));
        Bucket { interval: u64::try_from(interval).unwrap_or(u64::MAX).max(1), burst }
    }

    /// What there is when so much is asked, which is taken out if it is allowed.
    pub(super) fn ask(self, level: Level, cost: u32, now: u64) -> Allowance {
        let full_in = self.full_in(level, now);
        let asked = self.times(cost);
        let room = self.depth() - full_in;
        let allowed = asked <= room;
        let (full_in, room) = if allowed { (full_in + asked, room - asked) } else { (full_in, room) };
        let retry_after = if allowed { 0 } else { asked - room };
        Allowance {
            allowed,
            window: 0,
            limit: self.burst,
            remaining: u32::try_from(room / self.interval).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(full_in),
            retry_after: Duration::from_nanos(retry_after),
        }
    }

    /// What is left once so much was taken out, which was allowed.
    pub(super) fn charge(self, level: Level, cost: u32, now: u64) -> Level {
        let full_at = now.saturating_add(self.full_in(level, now)).saturating_add(self.times(cost));
        Level { full_at, interval: self.interval }
    }

    // A bucket that was deeper before the limit was changed is now empty, and not more than that.
    fn full_in(self, level: Level, now: u64) -> u64 {
        let full_in = level.full_at.saturating_sub(now);
        let full_in = match level.interval {
            0 => full_in,
            interval if interval == self.interval => full_in,
            interval => {
                let taken = u128::from(full_in) * u128::from(self.interval);
                u64::try_from(taken.div_ceil(u128::from(interval))).unwrap_or(u64::MAX)
            }
        };
        full_in.min(self.depth())
    }

    fn depth(self) -> u64 {
        self.times(self.burst)
    }

    fn times(self, cost: u32) -> u64 {
        self.interval.saturating_mul(u64::from(cost))
    }
}

// === impl Level ===

impl Level {
    /// Of a bucket out of which nothing was taken.
    pub(super) const FULL: Level = Level { full_at: 0, interval: 0 };
}

// === impl Allowance ===

impl Allowance {
    /// Where there is no limit.
    pub(super) const UNLIMITED: Allowance = Allowance {
        allowed: true,
        window: 0,
        limit: u32::MAX,
        remaining: u32::MAX,
        reset: Duration::ZERO,
        retry_after: Duration::ZERO,
    };

    /// Of two that both have to allow, the one that a client has to heed.
    #[must_use]
    pub(crate) fn tighter(self, other: Allowance) -> Allowance {
        // The longest wait; where there is none, the least that is left.
        let rank = |it: &Allowance| (it.allowed, std::cmp::Reverse(it.retry_after), it.remaining);
        if rank(&other) < rank(&self) { other } else { self }
    }
}
