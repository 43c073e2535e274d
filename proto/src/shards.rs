//! A map in 1,024 shards that share what did not change, so that a configuration of a hundred thousand resources and
//! its successor differ by one shard. A shard is chosen by the top ten bits of SHA-256(kind ‖ 0 ‖ name), the buckets of
//! the hash tree.

use crate::resource::{Hash, ResourceKey};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// How many shards there are.
pub const SHARDS: usize = 1024;

/// A sharded copy-on-write map.
#[derive(Debug)]
pub struct Shards<K, V> {
    shards: Vec<Arc<BTreeMap<K, V>>>,
}

/// The shard of a resource.
pub fn shard_of(key: &ResourceKey) -> usize {
    shard_of_parts(key.kind.as_str().as_bytes(), key.name.as_str().as_bytes())
}

/// The shard of any pair of texts.
pub fn shard_of_parts(first: &[u8], second: &[u8]) -> usize {
    let mut hasher = Sha256::new();
    hasher.update(first);
    hasher.update([0]);
    hasher.update(second);
    shard_of_hash(&hasher.finalize().into())
}

/// The shard of a hash: its top ten bits.
pub fn shard_of_hash(hash: &Hash) -> usize {
    usize::from(hash[0]) << 2 | usize::from(hash[1] >> 6)
}

// === impl Shards ===

impl<K: Ord + Clone, V: Clone> Shards<K, V> {
    /// The value of a key in the shard that the caller knows.
    pub fn get<Q: Ord + ?Sized>(&self, shard: usize, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.shards[shard].get(key)
    }

    /// The shard, to be changed; copied if it is shared.
    pub fn shard_mut(&mut self, shard: usize) -> &mut BTreeMap<K, V> {
        Arc::make_mut(&mut self.shards[shard])
    }

    /// The shard.
    pub fn shard(&self, shard: usize) -> &BTreeMap<K, V> {
        &self.shards[shard]
    }

    /// All entries, shard by shard.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The numbers of the shards that the two do not share.
    pub fn differing<'a>(&'a self, other: &'a Shards<K, V>) -> impl Iterator<Item = usize> + 'a {
        (0..SHARDS).filter(|shard| !Arc::ptr_eq(&self.shards[*shard], &other.shards[*shard]))
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Shards { shards: vec![empty; SHARDS] }
    }
}

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Shards { shards: self.shards.clone() }
    }
}
