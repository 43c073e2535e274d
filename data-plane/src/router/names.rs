//! A map from texts to what is shared: two maps that follow each other share all shards but those that changed.

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use std::{hash::BuildHasher, sync::Arc};

/// How many shards there are; a power of two.
const SHARDS: usize = 256;

/// A map from texts. Cheap to clone.
pub(super) struct Names<V> {
    // Random, so that nobody can choose texts that collide.
    state: RandomState,
    shards: Arc<[Arc<Shard<V>>]>,
    len: usize,
}

type Shard<V> = HashTable<Slot<V>>;

struct Slot<V> {
    name: Arc<str>,
    value: Arc<V>,
}

// === impl Names ===

impl<V> Names<V> {
    /// What has that name.
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&Arc<V>> {
        if self.len == 0 {
            return None;
        }
        let hash = self.state.hash_one(name.as_bytes());
        self.shards[shard(hash)].find(hash, |slot| *slot.name == *name).map(|slot| &slot.value)
    }

    /// Puts a value in the place of what has the name, or takes that away.
    pub(super) fn set(&mut self, name: &str, value: Option<Arc<V>>) {
        let state = &self.state;
        let hash = state.hash_one(name.as_bytes());
        let table = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard(hash)]);
        let entry = table.entry(hash, |slot| *slot.name == *name, |slot| state.hash_one(slot.name.as_bytes()));
        match (entry, value) {
            (Entry::Occupied(mut slot), Some(value)) => slot.get_mut().value = value,
            (Entry::Occupied(slot), None) => {
                slot.remove();
                self.len -= 1;
            }
            (Entry::Vacant(slot), Some(value)) => {
                slot.insert(Slot { name: name.into(), value });
                self.len += 1;
            }
            (Entry::Vacant(_), None) => {}
        }
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|slot| &slot.value)
    }
}

impl<V> Clone for Names<V> {
    fn clone(&self) -> Names<V> {
        Names { state: self.state.clone(), shards: self.shards.clone(), len: self.len }
    }
}

impl<V> Default for Names<V> {
    fn default() -> Names<V> {
        let empty = Arc::new(HashTable::new());
        Names { state: RandomState::default(), shards: vec![empty; SHARDS].into(), len: 0 }
    }
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Slot<V> {
        Slot { name: self.name.clone(), value: self.value.clone() }
    }
}

// The table itself uses the lowest and the highest bits.
fn shard(hash: u64) -> usize {
    (hash >> 32) as usize & (SHARDS - 1)
}
