//! The arithmetic of a bucket, without a clock: times are nanoseconds since some beginning.

use std::time::Duration;

/// So much at once, and one more each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    // Not 0.
    interval: u64,
    burst: u32,
}

/// Whether a request may pass, and what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether.
    pub(crate) allowed: bool,
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

    /// What there would be if so much were asked of a bucket that is full again at `full_at`.
    pub(super) fn ask(self, full_at: u64, cost: u32, now: u64) -> Decision {
        let full_in = self.full_in(full_at, now);
        let asked = self.times(cost);
        let room = self.depth() - full_in;
        let allowed = asked <= room;
        let (full_in, room) = if allowed { (full_in + asked, room - asked) } else { (full_in, room) };
        let retry_after = if allowed { 0 } else { asked - room };
        Decision {
            allowed,
            limit: self.burst,
            remaining: u32::try_from(room / self.interval).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(full_in),
            retry_after: Duration::from_nanos(retry_after),
        }
    }

    /// When the bucket is full again once so much was had, which was allowed.
    pub(super) fn charge(self, full_at: u64, cost: u32, now: u64) -> u64 {
        now.saturating_add(self.full_in(full_at, now)).saturating_add(self.times(cost))
    }

    // A bucket that was deeper before the limit was changed is now empty, and not more than that.
    fn full_in(self, full_at: u64, now: u64) -> u64 {
        full_at.saturating_sub(now).min(self.depth())
    }

    fn depth(self) -> u64 {
        self.times(self.burst)
    }

    fn times(self, cost: u32) -> u64 {
        self.interval.saturating_mul(u64::from(cost))
    }
}

// === impl Decision ===

impl Decision {
    /// Where there is no limit.
    pub(super) const UNLIMITED: Decision = Decision {
        allowed: true,
        limit: u32::MAX,
        remaining: u32::MAX,
        reset: Duration::ZERO,
        retry_after: Duration::ZERO,
    };

    /// Of two that both have to allow, the one that a client has to heed.
    #[must_use]
    pub(crate) fn tighter(self, other: Decision) -> Decision {
        // The longest wait; where there is none, the least that is left.
        let rank = |it: &Decision| (it.allowed, std::cmp::Reverse(it.retry_after), it.remaining);
        if rank(&other) < rank(&self) { other } else { self }
    }
}
