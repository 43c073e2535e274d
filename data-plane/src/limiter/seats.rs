//! How many requests there are at once: each sits on a seat until its answer's body ended, or nobody wants it any more.

use super::Key;
use foldhash::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many shards there are, each with its lock.
const SHARDS: usize = 64;
/// The most keys whose memory a shard without any keeps.
const SPARE: usize = 64;

/// The requests of a node that are counted, by key. A key has at least one of them: there are never more keys than
/// requests.
#[derive(Debug)]
pub(crate) struct Seats {
    shards: Box<[Mutex<HashMap<Key, u32>>]>,
}

/// A seat; it is free again when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    key: Key,
}

/// The seats that a request sits on. A copy of the request sits nowhere: it is another one.
#[derive(Debug, Default)]
pub(crate) struct Taken(Vec<Seat>);

// === impl Seats ===

impl Default for Seats {
    fn default() -> Seats {
        Seats { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Seats {
    /// A seat, if fewer than so many are taken.
    pub(crate) fn take(self: &Arc<Seats>, key: Key, limit: u32) -> Option<Seat> {
        self.change(key, |taken| {
            let free = *taken < limit;
            *taken += u32::from(free);
            free
        })
        .then(|| Seat { seats: self.clone(), key })
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn change<T>(&self, key: Key, change: impl FnOnce(&mut u32) -> T) -> T {
        let shard = &self.shards[(key.0[0] >> 32) as usize % SHARDS];
        let mut taken = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        let changed = change(count);
        if *count == 0 {
            taken.remove(&key);
            if taken.is_empty() {
                taken.shrink_to(SPARE);
            }
        }
        changed
    }
}

// === impl Taken ===

impl Taken {
    /// One more.
    pub(crate) fn push(&mut self, seat: Seat) {
        self.0.push(seat);
    }
}

impl Clone for Taken {
    fn clone(&self) -> Taken {
        Taken::default()
    }
}

// === impl Seat ===

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.change(self.key, |taken| *taken = taken.saturating_sub(1));
    }
}
