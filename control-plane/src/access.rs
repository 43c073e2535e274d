//! Who is let in: the admin tokens and the nodes that are not, in memory with the configuration.
//!
//! Tokens are kept as digests only. They are learnt like revisions, by a count on the head row that the poll and the
//! notifications lead to, so that one that is taken away opens nothing on any replica about a second later. While the
//! database is away what is known goes on, and that is reads only: no write is made without the database. The end of a
//! token needs no database.

mod revocation;
pub(crate) mod token;

pub use self::revocation::MAX_REVOCATIONS;
pub(crate) use self::revocation::Watch;

use crate::{
    author::{Author, BOOTSTRAP, Role},
    settings::Token,
    store::{AccessVersion, AuditChange, Done, NewLine, NewToken, Revocation, Store, StoreError, StoredToken, Write},
    telemetry::Telemetry,
};
use proto::{name::Name, resource::Hash};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use tokio::{
    sync::{MutexGuard, watch},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tracing::{info, warn};
use uuid::Uuid;

/// How many tokens there may be.
pub const MAX_TOKENS: usize = 1_000;

/// How often it is noted when tokens were last used.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// A use so soon after one that was noted is not.
const SAME_USE: i64 = 5 * 60;

/// The longest wait for a turn.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// What a token is called in the audit.
const KIND: &str = "token";

/// Who is let in.
pub struct Access {
    store: Store,
    telemetry: Arc<Telemetry>,
    // The token of the settings: it lets in whoever starts the process, also when all others are gone.
    bootstrap: Token,
    known: watch::Sender<Arc<Known>>,
    // One change at a time in this process: those that wait for the lock would take the connections of the poll.
    turn: tokio::sync::Mutex<()>,
    // One reads at a time, so that nothing older takes the place of something newer.
    learning: tokio::sync::Mutex<()>,
}

/// Who has shown a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// Which one of that name; `None`: that of the settings.
    pub token: Option<Uuid>,
    /// What it may do.
    pub role: Role,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The token was good until some time ago.
    Expired,
    /// It was not copied whole.
    Damaged,
    /// There is no such token.
    NoSuchToken,
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// Its name.
    pub name: Name,
    /// What it may do.
    pub role: Role,
    /// Until when it is good; `None`: for ever.
    pub expires_at: Option<OffsetDateTime>,
}

/// Why tokens were not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is one of that name.
    #[error("there is one named {0:?}")]
    NameTaken(Name),
    /// There is none.
    #[error("there is none named {0:?}")]
    NotFound(String),
    /// There are too many.
    #[error("there are {0} already")]
    TooMany(usize),
    /// The database does not answer, or not in time.
    #[error("{0}")]
    Unavailable(String),
}

#[derive(Default)]
struct Known {
    version: AccessVersion,
    by_digest: HashMap<Hash, Arc<Kept>>,
    by_name: BTreeMap<String, Arc<Kept>>,
    // Nodes, by id.
    revoked: BTreeMap<String, Revocation>,
}

struct Kept {
    token: StoredToken,
    // In seconds since 1970; 0: never.
    used: AtomicI64,
}

// === impl Access ===

impl Access {
    /// Reads the tokens.
    pub async fn open(store: Store, bootstrap: Token, telemetry: Arc<Telemetry>) -> Result<Access, StoreError> {
        let (known, turn, learning) = (watch::Sender::default(), Default::default(), Default::default());
        let access = Access { store, telemetry, bootstrap, known, turn, learning };
        access.load().await?;
        Ok(access)
    }

    /// Learns of changes whenever the database was `asked`, and notes now and then what was used, until it is dropped.
    pub async fn run(&self, mut asked: watch::Receiver<u64>) {
        let mut note = interval_at(Instant::now() + NOTE_EVERY, NOTE_EVERY);
        note.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        loop {
            let learnt = tokio::select! {
                changed = asked.changed() => match changed {
                    Ok(()) => self.learn().await,
                    Err(_) => return,
                },
                _ = note.tick() => self.note_uses().await,
            };
            if let Err(error) = &learnt
                && !away
            {
                warn!(%error, "cannot learn who is let in; what is known goes on");
            }
            away = learnt.is_err();
        }
    }

    /// Who shows this token.
    ///
    /// The digest is what is looked up: how long that takes tells nothing of a token, for nobody can choose the digest
    /// of a guess. The comparisons take the same time however much is alike.
    pub fn identify(&self, presented: &[u8]) -> Result<Holder, Unknown> {
        if self.bootstrap.matches(presented) {
            return Ok(Holder { name: BOOTSTRAP.into(), token: None, role: Role::Admin });
        }
        let digest: Hash = Sha256::digest(presented).into();
        let known = self.known();
        let kept = known.by_digest.get(&digest).filter(|kept| kept.token.digest.ct_eq(&digest).into());
        let Some(kept) = kept else {
            return Err(if token::is_damaged(presented) { Unknown::Damaged } else { Unknown::NoSuchToken });
        };
        let now = OffsetDateTime::now_utc();
        if kept.token.expires_at.is_some_and(|end| end <= now) {
            return Err(Unknown::Expired);
        }
        kept.used.fetch_max(now.unix_timestamp(), Ordering::Relaxed);
        let StoredToken { name, id, role, .. } = &kept.token;
        Ok(Holder { name: name.clone(), token: Some(*id), role: *role })
    }

    /// All tokens, by name.
    pub fn list(&self) -> Vec<StoredToken> {
        self.known().by_name.values().map(|kept| kept.token()).collect()
    }

    /// One token.
    pub fn get(&self, name: &str) -> Option<StoredToken> {
        self.known().by_name.get(name).map(|kept| kept.token())
    }

    /// Makes a token; it is told here and never again.
    pub async fn create(&self, author: &Author, spec: TokenSpec) -> Result<(StoredToken, String), AccessError> {
        let text = token::make(token::ADMIN)
            .map_err(|_| AccessError::Unavailable("the system gives no random numbers".into()))?;
        let id = Uuid::now_v7();
        let name = spec.name.as_str();
        let _turn = self.turn().await?;
        let mut write = self.store.lock().await?;
        let there = write.tokens().await?;
        let refused = match there.iter().any(|token| token.name == name) {
            true => Some(AccessError::NameTaken(spec.name.clone())),
            false => (there.len() >= MAX_TOKENS).then_some(AccessError::TooMany(MAX_TOKENS)),
        };
        if let Some(refused) = refused {
            write.release().await?;
            return Err(refused);
        }
        let digest = Sha256::digest(&text).into();
        let TokenSpec { role, expires_at, .. } = spec;
        self.record(&mut write, author, of_token(name, Done::Created)).await?;
        write.add_token(&NewToken { name, id, digest, role, created_by: &author.name, expires_at }).await?;
        self.finish(write).await?;
        let made = self.get(name).filter(|token| token.id == id);
        // No answer to a commit says nothing about whether it stands; what is read after it does.
        let made = made.ok_or_else(|| AccessError::Unavailable("the token was not made; try again".into()))?;
        info!(token.name = name, role = %made.role, author = %author.name, "a token was made");
        Ok((made, text))
    }

    /// Takes a token away.
    pub async fn delete(&self, author: &Author, name: &str) -> Result<(), AccessError> {
        let _turn = self.turn().await?;
        let mut write = self.store.lock().await?;
        let Some(token) = write.tokens().await?.into_iter().find(|token| token.name == name) else {
            write.release().await?;
            return Err(AccessError::NotFound(name.into()));
        };
        self.record(&mut write, author, of_token(name, Done::Deleted)).await?;
        write.remove_token(token.id).await?;
        self.finish(write).await?;
        if self.get(name).is_some_and(|still| still.id == token.id) {
            return Err(AccessError::Unavailable("the token was not deleted; try again".into()));
        }
        info!(token.name = name, author = %author.name, "a token was deleted");
        Ok(())
    }

    async fn turn(&self) -> Result<MutexGuard<'_, ()>, AccessError> {
        let turn = tokio::time::timeout(TURN_LIMIT, self.turn.lock()).await;
        turn.map_err(|_| AccessError::Unavailable("other changes take too long; try again".into()))
    }

    // Records what is to be done, before it is: a token may take itself away.
    async fn record(&self, write: &mut Write, author: &Author, change: AuditChange) -> Result<(), AccessError> {
        let (changes, retention) = ([change], self.store.audit_retention());
        let line = NewLine { author, reason: None, revision: None, changes: &changes, retention };
        Ok(write.record(&line).await?)
    }

    // Commits, and learns what stands now.
    async fn finish(&self, write: Write) -> Result<(), AccessError> {
        let committed = write.commit().await;
        if let Err(error) = &committed {
            warn!(%error, "a change of who is let in had no answer; finding out whether it stands");
            // The lock waits for whatever is still under way, so what is read after it is final.
            self.store.lock().await.map_err(unknown_end)?.release().await.map_err(unknown_end)?;
        }
        self.load().await.map_err(unknown_end)
    }

    async fn learn(&self) -> Result<(), StoreError> {
        match self.store.access_version().await? == self.known().version {
            true => Ok(()),
            false => self.load().await,
        }
    }

    async fn load(&self) -> Result<(), StoreError> {
        let _turn = self.learning.lock().await;
        // First: what comes after it is read again, not missed.
        let version = self.store.access_version().await?;
        let tokens = self.store.tokens().await?;
        let revoked = self.store.revocations().await?;
        let revoked = revoked.into_iter().map(|revocation| (revocation.id.clone(), revocation)).collect();
        let before = self.known();
        let kept = tokens.into_iter().map(|token| {
            let used = before.by_digest.get(&token.digest).map_or(0, |kept| kept.used.load(Ordering::Relaxed));
            let noted = token.last_used_at.map_or(0, OffsetDateTime::unix_timestamp);
            Arc::new(Kept { token, used: used.max(noted).into() })
        });
        let mut known = Known { version, revoked, ..Known::default() };
        for kept in kept {
            known.by_digest.insert(kept.token.digest, kept.clone());
            known.by_name.insert(kept.token.name.clone(), kept);
        }
        self.telemetry.tokens(known.by_name.len());
        self.known.send_replace(Arc::new(known));
        Ok(())
    }

    /// Notes when tokens were last used, and reads all again, for that was noted elsewhere too.
    pub async fn note_uses(&self) -> Result<(), StoreError> {
        let uses: Vec<(Uuid, OffsetDateTime)> = self.known().by_name.values().filter_map(|kept| kept.news()).collect();
        if !uses.is_empty() {
            self.store.note_uses(&uses).await?;
        }
        self.load().await
    }

    fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }
}

// === impl Kept ===

impl Kept {
    // As it is known here, which may be newer than what was noted.
    fn token(&self) -> StoredToken {
        let used = self.used.load(Ordering::Relaxed);
        let used = OffsetDateTime::from_unix_timestamp(used).ok().filter(|_| used > 0);
        StoredToken { last_used_at: used, ..self.token.clone() }
    }

    // When it was last used, if that is worth noting.
    fn news(&self) -> Option<(Uuid, OffsetDateTime)> {
        let used = self.used.load(Ordering::Relaxed);
        let noted = self.token.last_used_at.map_or(0, OffsetDateTime::unix_timestamp);
        let news = OffsetDateTime::from_unix_timestamp(used).ok().filter(|_| used - noted > SAME_USE)?;
        Some((self.token.id, news))
    }
}

// === conversions ===

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> AccessError {
        AccessError::Unavailable(error.to_string())
    }
}

fn of_token(name: &str, done: Done) -> AuditChange {
    AuditChange { kind: KIND.into(), name: name.into(), done }
}

fn unknown_end(error: StoreError) -> AccessError {
    AccessError::Unavailable(format!("{error}; whether the change was made is not known, look before you try again"))
}
