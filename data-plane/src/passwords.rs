//! Checks of passwords. One costs as much as ten thousand requests, on purpose: so few run at once, beside the workers and
//! not on them, few wait, and what was right is remembered for a short while, by a keyed digest.
//!
//! What was wrong is not: whoever guesses fills no memory, and learns nothing by the time an answer takes.

use crate::{states::States, telemetry::counters::CacheCounts};
use argon2::{Argon2, PasswordVerifier, password_hash::phc::PasswordHash};
use aws_lc_rs::{hmac, rand::SystemRandom};
use foldhash::HashMap;
use std::{
    fmt,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// The most requests that wait for a check.
const MAX_WAITING: usize = 256;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How much of it.
const MAX_REMEMBERED: usize = 4096;

/// What these are, among the states of a node.
const KIND: &str = "passwords";

/// What a node's checks of passwords share.
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    right: Mutex<Right>,
    // None: there is no randomness, and so nothing is remembered.
    key: Option<hmac::Key>,
}

/// What was right.
#[derive(Default)]
struct Right {
    // By digest, until when.
    until: HashMap<Digest, Instant>,
    hits: u64,
    misses: u64,
}

/// A user with a password and the hash that it was checked by, such that nobody can tell them from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Right,
    Wrong,
    /// There are too many.
    Busy,
}

/// The right to wait.
struct Place<'p>(&'p Passwords);

// === impl Passwords ===

impl Passwords {
    /// Those of the node.
    pub(crate) fn inherit(states: &States) -> Arc<Passwords> {
        states.inherit(KIND, String::new(), || {
            let cores = available_parallelism().map_or(1, NonZero::get);
            Passwords::new((cores / 2).max(1))
        })
    }

    /// Those of the node, if a policy has any.
    pub(crate) fn find(states: &States) -> Option<Arc<Passwords>> {
        states.of_kind(KIND).pop()
    }

    fn new(at_once: usize) -> Passwords {
        Passwords {
            running: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            right: Mutex::default(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
        }
    }

    /// The digest of a user with that password, by that hash.
    pub(crate) fn digest(&self, user: &str, password: &[u8], hash: &PasswordHash) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        let (salt, hash) = (hash.salt.as_deref().unwrap_or_default(), hash.hash.as_ref()?);
        for part in [user.as_bytes(), password, salt, hash.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok().map(Digest)
    }

    /// Whether it was right a moment ago.
    pub(crate) fn remembers(&self, digest: &Digest, now: Instant) -> bool {
        let mut right = self.right();
        let remembers = right.holds(digest, now);
        right.hits += u64::from(remembers);
        remembers
    }

    /// How many were remembered, how many had to be checked, and how many are remembered now.
    pub(crate) fn counts(&self) -> CacheCounts {
        let right = self.right();
        CacheCounts { hits: right.hits, misses: right.misses, known: right.until.len() as u64 }
    }

    /// Checks a password, in its turn. What was right is remembered, where there is a digest.
    pub(crate) async fn check(&self, password: Vec<u8>, hash: PasswordHash, digest: Option<Digest>) -> Checked {
        self.right().misses += 1;
        let Some(_place) = Place::take(self) else { return Checked::Busy };
        let Ok(Ok(turn)) = timeout(PATIENCE, self.running.clone().acquire_owned()).await else { return Checked::Busy };
        // Others that sent the same may have been before.
        if digest.is_some_and(|digest| self.right().holds(&digest, Instant::now())) {
            return Checked::Right;
        }
        // It is not called off when the client leaves, and so it keeps its turn.
        let check = move || {
            let _turn = turn;
            Argon2::default().verify_password(&password, &hash).is_ok()
        };
        match spawn_blocking(check).await {
            Ok(true) => {
                digest.into_iter().for_each(|digest| self.remember(digest, Instant::now()));
                Checked::Right
            }
            Ok(false) => Checked::Wrong,
            Err(_) => Checked::Busy,
        }
    }

    fn remember(&self, digest: Digest, now: Instant) {
        let until = &mut self.right().until;
        if until.len() >= MAX_REMEMBERED {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MAX_REMEMBERED {
            until.insert(digest, now + REMEMBERED);
        }
    }

    fn right(&self) -> MutexGuard<'_, Right> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

// === impl Right ===

impl Right {
    fn holds(&self, digest: &Digest, now: Instant) -> bool {
        self.until.get(digest).is_some_and(|until| *until > now)
    }
}

// === impl Place ===

impl Place<'_> {
    fn take(passwords: &Passwords) -> Option<Place<'_>> {
        let place = Place(passwords);
        // The drop gives it back in either case.
        (passwords.waiting.fetch_add(1, Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of "open-sesame".
    const HASH: &str = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$Vg8IUp++4R3ekSx7Q7QX/9vk3iNDxxuVSd+1k1HRhjE";

    fn hash() -> PasswordHash {
        PasswordHash::new(HASH).unwrap()
    }

    #[tokio::test]
    async fn what_was_right_is_remembered_for_a_while_and_nothing_else() {
        let passwords = Passwords::new(1);
        for (password, expect) in [("open-sesame", Checked::Right), ("Open-sesame", Checked::Wrong)] {
            let digest = passwords.digest("ada", password.as_bytes(), &hash()).unwrap();
            assert_eq!(passwords.check(password.into(), hash(), Some(digest)).await, expect);
            assert_eq!(passwords.remembers(&digest, Instant::now()), expect == Checked::Right);
            assert!(!passwords.remembers(&digest, Instant::now() + REMEMBERED));
        }
        let digest = |user: &str, password: &str, hash: &PasswordHash| {
            passwords.digest(user, password.as_bytes(), hash).unwrap()
        };
        let other = PasswordHash::new(&HASH.replace("Vg8", "Vg9")).unwrap();
        let right = digest("ada", "open-sesame", &hash());
        assert!(passwords.remembers(&right, Instant::now()));
        for digest in [
            digest("bob", "open-sesame", &hash()),
            digest("adao", "pen-sesame", &hash()),
            digest("ada", "open-sesame", &other),
            Passwords::new(1).digest("ada", b"open-sesame", &hash()).unwrap(),
        ] {
            assert!(!passwords.remembers(&digest, Instant::now()));
        }
    }

    #[tokio::test]
    async fn memory_is_bounded_and_so_are_those_who_wait() {
        let passwords = Passwords::new(1);
        let now = Instant::now();
        for n in 0..MAX_REMEMBERED + 10 {
            passwords.remember(passwords.digest(&n.to_string(), b"", &hash()).unwrap(), now);
        }
        assert_eq!(passwords.counts().known, MAX_REMEMBERED as u64);
        passwords.remember(passwords.digest("late", b"", &hash()).unwrap(), now + REMEMBERED);
        assert_eq!(passwords.counts().known, 1);

        let places: Vec<Place<'_>> = (0..MAX_WAITING).map_while(|_| Place::take(&passwords)).collect();
        assert_eq!(places.len(), MAX_WAITING);
        assert_eq!(passwords.check("open-sesame".into(), hash(), None).await, Checked::Busy);
        drop(places);
        assert_eq!(passwords.check("open-sesame".into(), hash(), None).await, Checked::Right);
    }
}
