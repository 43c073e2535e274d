//! Tokens that this worker has checked: what came of it, until they expire or the keys change.
//!
//! They are known by their SHA-256, and no token is kept. Two tables take turns: when the younger is full, the elder is
//! forgotten and the younger takes its place; so what is used stays, and there are never more than twice so many.

use crate::{principal::Principal, telemetry::counters::CacheCounts};
use aws_lc_rs::digest::{SHA256, digest};
use foldhash::{HashMap, HashMapExt};
use proto::policy::Jwt;
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// How many tokens fill a table, and how many bytes they have had: what is known of them takes room by that.
const MAX_TOKENS: usize = 4096;
const MAX_BYTES: usize = 4 << 20;

/// A token that holds.
pub(super) struct Seen {
    /// By which policy; held, so that no other can come to its address.
    pub(super) policy: Arc<Jwt>,
    /// By which of its issuers.
    pub(super) issuer: usize,
    /// By which keys of it.
    pub(super) generation: u64,
    /// Until when, in seconds since 1970.
    pub(super) until: u64,
    /// Whose it is.
    pub(super) principal: Rc<Principal>,
}

// The policy's address, and the digest of the token.
type Key = (usize, [u8; 32]);

#[derive(Default)]
struct Table {
    young: HashMap<Key, Seen>,
    // How many bytes its tokens had.
    bytes: usize,
    old: HashMap<Key, Seen>,
    counts: CacheCounts,
}

thread_local! {
    // A worker is a thread.
    static TABLE: RefCell<Table> = RefCell::default();
}

/// Whose the token is, if it has been seen and holds on.
pub(super) fn find(
    policy: &Arc<Jwt>,
    token: &[u8],
    generation: impl Fn(usize) -> u64,
    now: u64,
) -> Option<Rc<Principal>> {
    let key = key(policy, token);
    let holds = |seen: &Seen| seen.until > now && seen.generation == generation(seen.issuer);
    TABLE.with_borrow_mut(|table| {
        let found = match table.young.get(&key) {
            Some(seen) => holds(seen).then(|| seen.principal.clone()),
            None => table.old.remove(&key).filter(holds).map(|seen| {
                let principal = seen.principal.clone();
                table.insert(key, seen, token.len());
                principal
            }),
        };
        match found {
            Some(_) => table.counts.hits += 1,
            None => table.counts.misses += 1,
        }
        found
    })
}

/// Remembers a token that holds.
pub(super) fn keep(token: &[u8], seen: Seen) {
    let key = key(&seen.policy, token);
    TABLE.with_borrow_mut(|table| table.insert(key, seen, token.len()));
}

/// What this thread has counted.
pub(crate) fn token_counts() -> CacheCounts {
    TABLE.with_borrow(|table| CacheCounts { known: (table.young.len() + table.old.len()) as u64, ..table.counts })
}

fn key(policy: &Arc<Jwt>, token: &[u8]) -> Key {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    (Arc::as_ptr(policy).addr(), hash)
}

// === impl Table ===

impl Table {
    fn insert(&mut self, key: Key, seen: Seen, len: usize) {
        if self.young.len() >= MAX_TOKENS || self.bytes >= MAX_BYTES {
            let room = HashMap::with_capacity(self.young.len());
            self.old = std::mem::replace(&mut self.young, room);
            self.bytes = 0;
        }
        self.bytes += len;
        self.young.insert(key, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::name::Name;

    fn policy() -> Arc<Jwt> {
        Arc::new(Jwt {
            issuers: Vec::new(),
            from: Vec::new(),
            required_claims: Vec::new(),
            clock_skew: std::time::Duration::ZERO,
            max_token: 0,
            strip: false,
            optional: false,
            consumer: None,
        })
    }

    fn remember(policy: &Arc<Jwt>, token: &str, until: u64) {
        let principal = Rc::new(Principal::new("jwt", Name::parse("p").unwrap(), token.into()));
        keep(token.as_bytes(), Seen { policy: policy.clone(), issuer: 0, generation: 1, until, principal });
    }

    #[test]
    fn a_token_is_known_until_it_expires_or_the_keys_change_and_by_its_policy_only() {
        let (one, other) = (policy(), policy());
        remember(&one, "a", 10);
        let knows = |policy, token: &str, generation, now| {
            find(policy, token.as_bytes(), |_| generation, now).is_some_and(|seen| *seen.subject == *token)
        };
        assert!(knows(&one, "a", 1, 9));
        assert!(!knows(&one, "a", 1, 10), "it has expired");
        assert!(!knows(&one, "a", 2, 9), "the keys have changed");
        assert!(!knows(&one, "b", 1, 9), "another token");
        assert!(!knows(&other, "a", 1, 9), "another policy");
        assert_eq!(token_counts(), CacheCounts { hits: 1, misses: 4, known: 1 });
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let policy = policy();
        remember(&policy, "used", 10);
        for n in 0..5 * MAX_TOKENS {
            remember(&policy, &n.to_string(), 10);
            if n % 1000 == 0 {
                assert!(find(&policy, b"used", |_| 1, 0).is_some(), "{n}");
            }
        }
        assert!(find(&policy, b"0", |_| 1, 0).is_none());
        assert!(token_counts().known <= 2 * MAX_TOKENS as u64);
        let large = "t".repeat(8 * 1024);
        for n in 0..2000 {
            remember(&policy, &format!("{large}{n}"), 10);
        }
        assert!(token_counts().known <= 2 * (MAX_BYTES / large.len()) as u64);
    }
}
