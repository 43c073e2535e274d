//! A table of a fixed size from keys to what is remembered of their buckets.
//!
//! Whoever is not in it has a full bucket, and so has everybody whose time is past: nothing is ever swept. A key may stand
//! in two groups of places; a new one takes the place whose time is longest past. When all times are to come, it takes
//! the place of who would soonest have had a full bucket anyway: so the one with the largest debt stays, and to fill the
//! table with others is no way to be rid of it. That is counted.

use super::{LimiterFigures, bucket::Level};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How many shards there are, each with its lock; a power of two.
const SHARDS: usize = 64;
/// The places of a group; 256 bytes.
const GROUP: usize = 8;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Shard]>,
    // Of each shard; a power of two.
    groups: usize,
    taken: AtomicU64,
    displaced: AtomicU64,
}

/// A shard, locked.
pub(super) struct Locked<'t> {
    places: MutexGuard<'t, Vec<Place>>,
    table: &'t Table,
}

// What two workers lock should not share a line of their caches.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<Vec<Place>>);

// The key, when its bucket is full again, and by which interval: an array of numbers, for that is what can be allocated
// without touching it.
type Place = [u64; 4];

// === impl Table ===

impl Table {
    /// One for at least so many keys.
    pub(super) fn of(keys: usize) -> Table {
        Table {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            groups: keys.div_ceil(SHARDS * GROUP).next_power_of_two(),
            taken: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
        }
    }

    /// Locks the shard that has a key.
    pub(super) fn lock(&self, [first, _]: [u64; 2]) -> Locked<'_> {
        let shard = &self.shards[(first >> 32) as usize % SHARDS];
        let mut places = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            *places = vec![[0; 4]; self.groups * GROUP];
        }
        Locked { places, table: self }
    }

    /// What is in it.
    pub(super) fn figures(&self) -> LimiterFigures {
        LimiterFigures { keys: self.taken.load(Relaxed), displaced: self.displaced.load(Relaxed) }
    }
}

// === impl Locked ===

impl Locked<'_> {
    /// What is remembered of the key.
    pub(super) fn level(&self, key: [u64; 2]) -> Level {
        let place = self.groups(key).flatten().find(|place| place[..2] == key);
        place.map_or(Level::FULL, |place| Level { full_at: place[2], interval: place[3] })
    }

    /// Remembers it of the key.
    pub(super) fn set(&mut self, key: [u64; 2], level: Level, now: u64) {
        let mut best = (GROUP + 1, u64::MAX, 0);
        for begin in self.begins(key) {
            let (mut to_come, mut soonest) = (0, (u64::MAX, 0));
            for (at, place) in self.places[begin..begin + GROUP].iter_mut().enumerate() {
                if place[..2] == key {
                    (place[2], place[3]) = (level.full_at, level.interval);
                    return;
                }
                to_come += usize::from(place[2] > now);
                soonest = soonest.min((place[2], begin + at));
            }
            // The group with more room, so that both fill evenly.
            best = best.min((to_come, soonest.0, soonest.1));
        }
        let (_, was_full_at, at) = best;
        match was_full_at {
            0 => drop(self.table.taken.fetch_add(1, Relaxed)),
            past if past <= now => {}
            _ => drop(self.table.displaced.fetch_add(1, Relaxed)),
        }
        self.places[at] = [key[0], key[1], level.full_at, level.interval];
    }

    fn groups(&self, key: [u64; 2]) -> impl Iterator<Item = &[Place]> {
        self.begins(key).into_iter().map(|begin| &self.places[begin..begin + GROUP])
    }

    fn begins(&self, key: [u64; 2]) -> [usize; 2] {
        key.map(|half| (half as usize & (self.table.groups - 1)) * GROUP)
    }
}
