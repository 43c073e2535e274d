//! How much of something there may be: rates, and requests at once. What a node counts, it counts here.
//!
//! A rate is a bucket that leaks, told by one number a key: when the bucket is full again (the theoretical arrival time of
//! GCRA). Limit, remaining, reset and when to come again all follow from it. All windows of a key are decided under one
//! short lock, all or nothing: none is charged when another refuses.
//!
//! What tells clients apart is hashed to 128 bits with a seed that nobody outside knows. If two had the same they would
//! share a bucket, which lets neither have more; among a million keys the chance is below 10⁻²⁶.

mod bucket;
mod seats;
mod table;
mod windows;

pub(crate) use bucket::{Allowance, Bucket};
pub(crate) use seats::{Seats, Taken};
pub(crate) use windows::{Slots, Window};

use std::{
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
    time::Instant,
};
use table::Table;

/// The most keys of a node whose buckets are not full: 32 bytes each, of which only those in use are resident.
pub(crate) const MAX_KEYS: usize = 1 << 20;

/// What a node counts, of all policies that limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    table: Table,
    seeds: [RandomState; 2],
    // Times are nanoseconds since then.
    begun: Instant,
}

/// Whom a limit is counted for, and which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

/// Makes a key of its parts.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher([DefaultHasher; 2]);

/// What a limiter remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimiterFigures {
    /// Keys that have a place.
    pub(crate) keys: u64,
    /// Keys whose place another took before their bucket was full.
    pub(crate) displaced: u64,
}

// === impl Limiter ===

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter::of(MAX_KEYS)
    }
}

impl Limiter {
    /// What the state is called that a node has one of.
    pub(crate) const STATE: &str = "limiter";

    /// One with room for so many keys.
    pub(crate) fn of(keys: usize) -> Limiter {
        Limiter { table: Table::of(keys), seeds: [RandomState::new(), RandomState::new()], begun: Instant::now() }
    }

    /// Begins a key.
    pub(crate) fn key(&self) -> KeyHasher {
        KeyHasher(self.seeds.each_ref().map(RandomState::build_hasher))
    }

    /// Whether so much may be had now, of all of the windows; if so it is.
    pub(crate) fn check(&self, key: Key, windows: &[Window], cost: u32, now: Instant) -> Allowance {
        let now = u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX);
        let mut shard = self.table.lock(key.0);
        let ask = |(at, window): (usize, &Window)| Allowance {
            window: at,
            ..window.bucket.ask(shard.level(window.id(key)), cost, now)
        };
        let allowance = windows.iter().enumerate().map(ask).fold(Allowance::UNLIMITED, Allowance::tighter);
        if allowance.allowed && cost > 0 {
            for window in windows {
                let id = window.id(key);
                let level = window.bucket.charge(shard.level(id), cost, now);
                shard.set(id, level, now);
            }
        }
        allowance
    }

    /// What is remembered.
    pub(crate) fn figures(&self) -> LimiterFigures {
        self.table.figures()
    }
}

// === impl KeyHasher ===

impl KeyHasher {
    /// Adds a part, told apart from what stands beside it.
    #[must_use]
    pub(crate) fn part(mut self, bytes: &[u8]) -> KeyHasher {
        for hasher in &mut self.0 {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        self
    }

    /// The key.
    pub(crate) fn finish(self) -> Key {
        Key(self.0.map(|hasher| hasher.finish()))
    }
}

#[cfg(test)]
mod tests;
