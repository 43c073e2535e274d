//! What an issuer said of tokens, kept for a while and shared by all workers; of one token it is asked once at a time.
//!
//! Tokens themselves are not kept, only digests of them. What was said of tokens that are good and of others is kept
//! apart: whoever sends invented ones pushes out no good one.

use crate::{states::States, telemetry::counters::CacheCounts};
use foldhash::HashMap;
use proto::{claims::Claims, name::Name};
use sha2::{Digest as _, Sha256};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// The most answers of either kind that are kept.
const MAX_KEPT: usize = 16 * 1024;

/// What these are, among the states of a node.
const KIND: &str = "introspection";

/// What an issuer said of a token.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It is good, and this is what it says.
    Active(Arc<Claims>),
    /// It is not.
    Inactive,
    /// Nothing: it did not answer.
    Nothing,
}

/// A token, such that nobody can tell it from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

/// What was said to a policy.
#[derive(Debug)]
pub(crate) struct Introspected {
    policy: Name,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    active: HashMap<Digest, (Arc<Claims>, Instant)>,
    inactive: HashMap<Digest, Instant>,
    hits: u64,
    misses: u64,
    // Of those that are being asked about.
    asked: HashMap<Digest, watch::Receiver<Option<Said>>>,
}

/// Whoever asks. Dropped without an answer, as when its client leaves, another asks.
struct Lead<'i> {
    introspected: &'i Introspected,
    digest: Digest,
    tell: watch::Sender<Option<Said>>,
}

enum Role<'i> {
    Known(Said),
    Lead(Lead<'i>),
    Follow(watch::Receiver<Option<Said>>),
}

// === impl Digest ===

impl Digest {
    pub(crate) fn of(token: &[u8]) -> Digest {
        Digest(Sha256::digest(token).into())
    }
}

// === impl Introspected ===

impl Introspected {
    /// What was said to the policy, asking as it does.
    pub(crate) fn inherit(states: &States, policy: &Name, asking: &str) -> Arc<Introspected> {
        states.inherit(KIND, format!("{policy} {asking}"), || Introspected::new(policy.clone()))
    }

    /// What was said to all policies.
    pub(crate) fn all(states: &States) -> Vec<Arc<Introspected>> {
        states.of_kind(KIND)
    }

    fn new(policy: Name) -> Introspected {
        Introspected { policy, held: Mutex::default() }
    }

    /// The policy.
    pub(crate) fn policy(&self) -> &Name {
        &self.policy
    }

    /// What is known of the token of a request.
    pub(crate) fn find(&self, digest: &Digest, now: Instant) -> Option<Said> {
        let mut held = self.held();
        let found = held.find(digest, now);
        match found {
            Some(_) => held.hits += 1,
            None => held.misses += 1,
        }
        found
    }

    /// How many tokens were known, how many not, and of how many something is remembered.
    pub(crate) fn counts(&self) -> CacheCounts {
        let held = self.held();
        let known = (held.active.len() + held.inactive.len()) as u64;
        CacheCounts { hits: held.hits, misses: held.misses, known }
    }

    /// What is said of a token; asked is who has to, and says also how long the answer counts.
    pub(crate) async fn learn<F>(&self, digest: Digest, patience: Duration, ask: impl Fn() -> F) -> Said
    where
        F: Future<Output = (Said, Duration)>,
    {
        loop {
            match self.role(digest) {
                Role::Known(said) => return said,
                Role::Lead(lead) => {
                    let (said, counts) = ask().await;
                    lead.tell(said.clone(), Instant::now() + counts);
                    return said;
                }
                Role::Follow(mut told) => match timeout(patience, told.wait_for(Option::is_some)).await {
                    Ok(Ok(said)) => return said.clone().unwrap_or(Said::Nothing),
                    // Whoever asked has left.
                    Ok(Err(_)) => {}
                    Err(_) => return Said::Nothing,
                },
            }
        }
    }

    fn role(&self, digest: Digest) -> Role<'_> {
        let mut held = self.held();
        if let Some(said) = held.find(&digest, Instant::now()) {
            return Role::Known(said);
        }
        if let Some(told) = held.asked.get(&digest) {
            return Role::Follow(told.clone());
        }
        let (tell, told) = watch::channel(None);
        held.asked.insert(digest, told);
        Role::Lead(Lead { introspected: self, digest, tell })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held {
    fn find(&self, digest: &Digest, now: Instant) -> Option<Said> {
        if let Some((claims, until)) = self.active.get(digest) {
            return (*until > now).then(|| Said::Active(claims.clone()));
        }
        self.inactive.get(digest).filter(|until| **until > now).map(|_| Said::Inactive)
    }

    // What does not fit is asked about again.
    fn keep(&mut self, digest: Digest, said: &Said, until: Instant, now: Instant) {
        match said {
            Said::Active(claims) => {
                if self.active.len() >= MAX_KEPT {
                    self.active.retain(|_, (_, until)| *until > now);
                }
                self.active.remove(&digest);
                if self.active.len() < MAX_KEPT && until > now {
                    self.active.insert(digest, (claims.clone(), until));
                }
            }
            Said::Inactive => {
                self.active.remove(&digest);
                if self.inactive.len() >= MAX_KEPT {
                    self.inactive.retain(|_, until| *until > now);
                }
                if self.inactive.len() < MAX_KEPT && until > now {
                    self.inactive.insert(digest, until);
                }
            }
            Said::Nothing => {}
        }
    }
}

// === impl Lead ===

impl Lead<'_> {
    fn tell(self, said: Said, until: Instant) {
        self.introspected.held().keep(self.digest, &said, until, Instant::now());
        // Maybe nobody else wants to know.
        self.tell.send_replace(Some(said));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.introspected.held().asked.remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join_all};
    use std::{cell::Cell, future::pending};

    const LONG: Duration = Duration::from_secs(60);

    fn introspected() -> Introspected {
        Introspected::new(Name::parse("tokens").unwrap())
    }

    fn good() -> Said {
        Said::Active(Arc::default())
    }

    #[tokio::test]
    async fn many_ask_once_and_whoever_leaves_is_replaced() {
        let introspected = introspected();
        let (digest, asked) = (Digest::of(b"a"), Cell::new(0));
        let ask = || {
            asked.set(asked.get() + 1);
            async {
                tokio::task::yield_now().await;
                (good(), LONG)
            }
        };
        // The first one leaves while it asks.
        assert!(introspected.learn(digest, LONG, pending).now_or_never().is_none());
        let learned = join_all((0..10).map(|_| introspected.learn(digest, LONG, ask))).await;
        assert!(learned.iter().all(|said| matches!(said, Said::Active(_))));
        assert_eq!(asked.get(), 1);
        assert!(introspected.held().asked.is_empty());
        assert!(introspected.find(&digest, Instant::now() + LONG).is_none());
        assert!(introspected.find(&Digest::of(b"b"), Instant::now()).is_none());
    }

    #[tokio::test]
    async fn no_answer_is_not_kept() {
        let introspected = introspected();
        for _ in 0..2 {
            let said = introspected.learn(Digest::of(b"a"), LONG, async || (Said::Nothing, LONG)).await;
            assert!(matches!(said, Said::Nothing));
        }
        let said = introspected.learn(Digest::of(b"a"), LONG, async || (Said::Inactive, LONG)).await;
        assert!(matches!(said, Said::Inactive));
        let said = introspected.learn(Digest::of(b"a"), LONG, async || unreachable!("it is known")).await;
        assert!(matches!(said, Said::Inactive));
    }

    #[test]
    fn invented_tokens_push_out_no_good_one() {
        let introspected = introspected();
        let now = Instant::now();
        let mut held = introspected.held();
        held.keep(Digest::of(b"good"), &good(), now + LONG, now);
        for n in 0..MAX_KEPT + 10 {
            held.keep(Digest::of(&n.to_be_bytes()), &Said::Inactive, now + LONG / 2, now);
        }
        assert_eq!(held.inactive.len(), MAX_KEPT);
        assert!(matches!(held.find(&Digest::of(b"good"), now), Some(Said::Active(_))));
        held.keep(Digest::of(b"late"), &Said::Inactive, now + LONG, now + LONG / 2);
        assert_eq!(held.inactive.len(), 1);
        // It was revoked.
        held.keep(Digest::of(b"good"), &Said::Inactive, now + LONG, now);
        assert!(matches!(held.find(&Digest::of(b"good"), now), Some(Said::Inactive)));
    }
}
