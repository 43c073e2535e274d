//! Who has which API key, and whom others call so: found without looking at anybody else. And which policies consumers have.
//!
//! Kept with the configuration, for two consumers must not have the same, and nodes look into the same index. Two that
//! follow each other share what did not change. A million keys take 16 bytes each here.

use super::{Consumer, Credential, OwnPolicies, PoliciesKey};
use crate::{
    keyring::{Digest, Keyring},
    name::Name,
    shards::{SHARDS, Shards, shard_of_hash},
};
use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

/// Who has which key and which id.
#[derive(Clone, Default)]
pub struct Directory {
    keyring: Option<Arc<Keyring>>,
    // By the top ten bits of the digest; empty while there is no key. In a shard by the tag.
    keys: Vec<Arc<Vec<Slot>>>,
    len: usize,
    ids: Shards<Box<str>, Arc<Consumer>>,
    // And how many consumers have each.
    policies: Shards<PoliciesKey, (usize, Arc<OwnPolicies>)>,
}

/// One key. The digest stands with the consumer.
#[derive(Clone)]
struct Slot {
    // Bits of the digest below those that choose the shard; digests are evenly spread, so few keys have the same.
    tag: u32,
    at: u32,
    consumer: Arc<Consumer>,
}

/// A credential and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Found<'d> {
    /// Whose it is.
    pub consumer: &'d Arc<Consumer>,
    /// The credential.
    pub credential: &'d Credential,
    /// Which of the consumer's it is.
    pub at: usize,
}

/// What another consumer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The key of the credential at that place, and whose credential has it.
    Key(usize, Name, String),
    /// The id at that place, and whose it is.
    Id(usize, Name),
}

// === impl Directory ===

impl Directory {
    /// The credential of that key, good or not.
    pub fn find(&self, key: &[u8]) -> Option<Found<'_>> {
        // Without a pepper there is no key.
        self.find_digest(&self.keyring.as_ref()?.digest(key))
    }

    /// Whom others call so.
    pub fn find_id(&self, id: &str) -> Option<&Arc<Consumer>> {
        self.ids.get(shard_of_id(id), id)
    }

    /// The policies of that key, if a consumer has them.
    pub fn find_policies(&self, key: &PoliciesKey) -> Option<&Arc<OwnPolicies>> {
        self.policies.get(shard_of_policies(key), key).map(|(_, policies)| policies)
    }

    /// All policies of consumers, each list once.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<OwnPolicies>> {
        self.policies.iter().map(|(_, (_, policies))| policies)
    }

    /// The keys of the lists of policies that only one of the two may have.
    pub fn differing_policies<'d>(&'d self, other: &'d Directory) -> impl Iterator<Item = &'d PoliciesKey> {
        self.policies.differing(&other.policies).flat_map(|shard| {
            let (ours, theirs) = (self.policies.shard(shard), other.policies.shard(shard));
            let only = |a: &'d BTreeMap<_, _>, b: &'d BTreeMap<_, _>| a.keys().filter(|key| !b.contains_key(*key));
            only(ours, theirs).chain(only(theirs, ours))
        })
    }

    /// How many API keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// With what keys are digested.
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    pub(crate) fn set_keyring(&mut self, keyring: Option<Arc<Keyring>>) {
        self.keyring = keyring;
    }

    /// Takes a consumer in; what it has and another has too, stays the other's and is told.
    pub(crate) fn put(&mut self, consumer: &Arc<Consumer>) -> Vec<Taken> {
        let mut taken = Vec::new();
        for (at, credential) in consumer.credentials.iter().enumerate() {
            let digest = credential.digest();
            if let Some(found) = self.find_digest(digest) {
                let id = found.consumer.credential_id(found.at).to_owned();
                taken.push(Taken::Key(at, found.consumer.name.clone(), id));
                continue;
            }
            let shard = self.shard_mut(digest);
            let slot =
                Slot { tag: tag_of(digest), at: u32::try_from(at).unwrap_or(u32::MAX), consumer: consumer.clone() };
            let place = first_of(shard, slot.tag);
            shard.insert(place, slot);
            self.len += 1;
        }
        for (at, id) in consumer.ids.iter().enumerate() {
            let shard = shard_of_id(id);
            match self.ids.get(shard, &**id) {
                Some(other) => taken.push(Taken::Id(at, other.name.clone())),
                None => drop(self.ids.shard_mut(shard).insert(id.clone(), consumer.clone())),
            }
        }
        if let Some(policies) = &consumer.policies {
            let shard = self.policies.shard_mut(shard_of_policies(&policies.key));
            shard.entry(policies.key).or_insert_with(|| (0, policies.clone())).0 += 1;
        }
        taken
    }

    /// Lets go of what a consumer has.
    pub(crate) fn take(&mut self, consumer: &Arc<Consumer>) {
        for credential in &consumer.credentials {
            let digest = credential.digest();
            let tag = tag_of(digest);
            let shard = self.shard_mut(digest);
            let first = first_of(shard, tag);
            let of_it =
                |slot: &Slot| slot.tag == tag && Arc::ptr_eq(&slot.consumer, consumer) && slot.digest() == Some(digest);
            if let Some(place) = shard[first..].iter().take_while(|slot| slot.tag == tag).position(of_it) {
                shard.remove(first + place);
                self.len -= 1;
            }
        }
        for id in &consumer.ids {
            let shard = shard_of_id(id);
            if self.ids.get(shard, &**id).is_some_and(|owner| Arc::ptr_eq(owner, consumer)) {
                self.ids.shard_mut(shard).remove(&**id);
            }
        }
        if let Some(policies) = &consumer.policies
            && let shard = self.policies.shard_mut(shard_of_policies(&policies.key))
            && let Some((consumers, _)) = shard.get_mut(&policies.key)
        {
            *consumers -= 1;
            if *consumers == 0 {
                shard.remove(&policies.key);
            }
        }
    }

    fn find_digest(&self, digest: &Digest) -> Option<Found<'_>> {
        let shard = self.keys.get(shard_of_hash(digest))?;
        let tag = tag_of(digest);
        let first = first_of(shard, tag);
        let same = shard[first..].iter().take_while(|slot| slot.tag == tag);
        let slot = same.into_iter().find(|slot| slot.digest() == Some(digest))?;
        let (consumer, at) = (&slot.consumer, slot.at as usize);
        Some(Found { consumer, credential: consumer.credentials.get(at)?, at })
    }

    fn shard_mut(&mut self, digest: &Digest) -> &mut Vec<Slot> {
        if self.keys.is_empty() {
            self.keys = vec![Arc::default(); SHARDS];
        }
        Arc::make_mut(&mut self.keys[shard_of_hash(digest)])
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} keys)", self.len)
    }
}

// === impl Slot ===

impl Slot {
    // All of it is compared, not the tag alone.
    fn digest(&self) -> Option<&Digest> {
        self.consumer.credentials.get(self.at as usize).map(Credential::digest)
    }
}

// === impl Taken ===

impl Taken {
    /// Where the fault is, and what it is.
    pub(crate) fn fault(&self) -> (String, String) {
        match self {
            Taken::Key(at, other, id) => (
                format!("/credentials/{at}/api_key"),
                format!(
                    "credential {id:?} of consumer {:?} is the same key; each needs one of its own",
                    other.as_str()
                ),
            ),
            Taken::Id(at, other) => {
                (format!("/ids/{at}"), format!("consumer {:?} has this id; only one can have it", other.as_str()))
            }
        }
    }
}

/// How far from where it should be a tag is looked for step by step: much farther than chance brings it in a shard of a
/// thousand.
const STEPS: usize = 96;

// Where the first slot of that tag is, or would be. Tags are evenly spread, so that is near where the tag itself says,
// however many there are; digests that somebody made up are found by halving.
fn first_of(shard: &[Slot], tag: u32) -> usize {
    let mut at = ((u64::from(tag) * shard.len() as u64) >> 32) as usize;
    for _ in 0..STEPS {
        if at > 0 && shard[at - 1].tag >= tag {
            at -= 1;
        } else if shard.get(at).is_some_and(|slot| slot.tag < tag) {
            at += 1;
        } else {
            return at;
        }
    }
    shard.partition_point(|slot| slot.tag < tag)
}

fn tag_of(digest: &Digest) -> u32 {
    let [_, _, a, b, c, d, ..] = *digest;
    u32::from_be_bytes([a, b, c, d])
}

// The key is a hash.
fn shard_of_policies(key: &PoliciesKey) -> usize {
    usize::from(key[0]) << 2 | usize::from(key[1] >> 6)
}

// Requests wait for it, and SHA-256 takes several times as long. Nobody is harmed by ids that were made to meet in one shard,
// for it is a tree.
fn shard_of_id(id: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    (hasher.finish() >> (u64::BITS - SHARDS.ilog2())) as usize
}
