//! What stands in the database: the head, the resources, and the history that led there.
//!
//! All SQL is here and below. Two databases, one set of statements in two spellings, one suite of tests over both. The
//! lock on the head row is the order of all commits; a transaction that is dropped closes its connection, so that no
//! connection in an unclear state is ever used again. Every step has a time limit. What holds a secret is sealed.

mod audit;
mod error;
mod guard;
mod postgres;
mod revocations;
mod rows;
mod seal;
mod sqlite;
pub mod status;
mod tokens;

pub(crate) use self::{
    audit::NewLine,
    tokens::{AccessVersion, NewToken},
};
pub use self::{
    audit::{AuditChange, AuditFilter, AuditLine, CHANGES_TOLD, DONE, Done},
    error::StoreError,
    revocations::Revocation,
    seal::Seal,
    tokens::StoredToken,
};

use self::{
    error::{LOAD_LIMIT, corrupt},
    postgres::{Postgres, PostgresHints, PostgresWrite},
    sqlite::{Sqlite, SqliteWrite},
};
use otel::TraceContext;
use proto::{
    identity::Identity,
    resource::{Change, Hash, Resource},
    snapshot::Snapshot,
};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tracing::info;
use uuid::Uuid;

/// How many idempotency keys are kept.
const MAX_IDEMPOTENCY_KEYS: i64 = 10_000;

/// How many revisions are pruned in one transaction.
const PRUNE_STEP: u64 = 500;

/// How many configurations of the past are put together at once.
const MAX_REBUILDING: usize = 4;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
    retention: u64,
    audit_retention: u64,
    // Bounds whole configurations of the past that are put together at once: each takes as much memory as the head.
    rebuilding: Arc<Semaphore>,
}

enum Backend {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// A revision of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// When it was made.
    pub at: OffsetDateTime,
    /// By whom.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
    /// The root of the hash tree.
    pub root: Hash,
    /// How many resources it has.
    pub resources: u64,
    /// Whether it took away more than half of a large configuration, and that was confirmed.
    pub confirmed_shrink: bool,
}

/// The head row: which configuration stands, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) identity: Identity,
    pub(crate) at: OffsetDateTime,
    /// The trace in which it was made, where that was asked for.
    pub(crate) trace: Option<TraceContext>,
}

/// A revision about to be written.
pub(crate) struct Draft<'a> {
    pub(crate) identity: Identity,
    pub(crate) commit_id: Uuid,
    pub(crate) at: OffsetDateTime,
    pub(crate) author: String,
    pub(crate) reason: Option<String>,
    pub(crate) resources: u64,
    pub(crate) confirmed_shrink: bool,
    /// The trace in which it is made.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) changes: &'a [Change],
}

/// What a request with an idempotency key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recalled {
    pub(crate) digest: [u8; 32],
    pub(crate) revision: u64,
}

/// The lock on the head: one writer in all processes. Dropped without [`Write::commit`], nothing of it stands.
pub(crate) enum Write {
    Postgres(PostgresWrite),
    Sqlite(SqliteWrite),
}

/// Tells that there may be something new; never to be relied on.
pub(crate) enum Hints {
    Postgres(PostgresHints),
    /// SQLite has none: other processes are noticed by the poll.
    Never,
}

// === impl Store ===

impl Store {
    /// Opens a database, brings its tables up to date, and founds an empty configuration in an empty one. `retention`
    /// is how many revisions are kept; secrets are sealed with the first key of `seal`.
    pub async fn open(url: &str, retention: u64, seal: Seal) -> Result<Store, StoreError> {
        let backend = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Backend::Postgres(Postgres::open(url, seal).await?)
        } else if let Some(path) = url.strip_prefix("sqlite:") {
            Backend::Sqlite(Sqlite::open(path.strip_prefix("//").unwrap_or(path), seal).await?)
        } else {
            return Err(StoreError::Refused("a database is postgres://… or sqlite:PATH".into()));
        };
        let rebuilding = Arc::new(Semaphore::new(MAX_REBUILDING));
        let audit_retention = u64::MAX;
        Ok(Store { backend: Arc::new(backend), retention: retention.max(1), audit_retention, rebuilding })
    }

    /// The same with so many lines of the audit kept; all of them, when nobody says.
    pub fn with_audit_retention(self, lines: u64) -> Store {
        Store { audit_retention: lines, ..self }
    }

    /// How many lines of the audit are kept.
    pub(crate) fn audit_retention(&self) -> u64 {
        self.audit_retention
    }

    /// Revisions below a number (or from the newest on), newest first.
    pub async fn revisions(&self, below: Option<u64>, limit: u32) -> Result<Vec<Revision>, StoreError> {
        let (below, limit) = (below.map_or(i64::MAX, signed), i64::from(limit));
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.revisions(below, limit).await,
            Backend::Sqlite(sqlite) => sqlite.revisions(below, limit).await,
        }
    }

    /// One revision, if it is still kept.
    pub async fn revision(&self, revision: u64) -> Result<Option<Revision>, StoreError> {
        let below = signed(revision).saturating_add(1);
        let found = match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.revisions(below, 1).await?,
            Backend::Sqlite(sqlite) => sqlite.revisions(below, 1).await?,
        };
        Ok(found.into_iter().next().filter(|found| found.revision == revision))
    }

    /// The configuration at a revision, if it is still kept.
    pub async fn snapshot_at(&self, revision: u64) -> Result<Option<Snapshot>, StoreError> {
        let Some(expected) = self.revision(revision).await? else { return Ok(None) };
        let place = tokio::time::timeout(LOAD_LIMIT, self.rebuilding.acquire()).await;
        let _place = place.map_err(|_| StoreError::Unavailable("too many read the history; try again".into()))?;
        let resources = match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.resources_at(signed(revision)).await?,
            Backend::Sqlite(sqlite) => sqlite.resources_at(signed(revision)).await?,
        };
        match assemble(resources).await {
            Ok(snapshot) if snapshot.root() == expected.root => Ok(Some(snapshot)),
            // Pruned since it was looked up: then what is left of it is no evidence.
            Ok(_) | Err(_) if self.revision(revision).await?.is_none() => Ok(None),
            Ok(_) => Err(corrupt(format!("the changes up to revision {revision} do not add up to its root hash"))),
            Err(error) => Err(error),
        }
    }

    /// The changes after `from` up to and with `to`, in order, each with its revision.
    pub async fn changes(&self, from: u64, to: u64) -> Result<Vec<(u64, Change)>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.changes(signed(from), signed(to)).await,
            Backend::Sqlite(sqlite) => sqlite.changes(signed(from), signed(to)).await,
        }
    }

    /// Forgets revisions beyond the retention, but for what those that are kept are folded from.
    pub async fn prune(&self) -> Result<(), StoreError> {
        loop {
            let (retention, step) = (signed(self.retention), signed(PRUNE_STEP));
            let pruned = match self.backend.as_ref() {
                Backend::Postgres(postgres) => postgres.prune(retention, step).await?,
                Backend::Sqlite(sqlite) => sqlite.prune(retention, step).await?,
            };
            if pruned == 0 {
                return Ok(());
            }
            info!(revisions = pruned, "forgot old revisions");
        }
    }

    /// The head row.
    pub(crate) async fn stand(&self) -> Result<Stand, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.stand().await,
            Backend::Sqlite(sqlite) => sqlite.stand().await,
        }
    }

    /// The head row and the whole configuration, checked against each other.
    pub(crate) async fn load(&self) -> Result<(Stand, Snapshot), StoreError> {
        let (stand, resources) = match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.load().await?,
            Backend::Sqlite(sqlite) => sqlite.load().await?,
        };
        let snapshot = assemble(resources).await?;
        if snapshot.root() != stand.identity.root {
            return Err(corrupt(format!(
                "the resources do not add up to the root hash of the head ({}); restore a backup",
                stand.identity
            )));
        }
        Ok((stand, snapshot))
    }

    /// Locks the head.
    pub(crate) async fn lock(&self) -> Result<Write, StoreError> {
        Ok(match self.backend.as_ref() {
            Backend::Postgres(postgres) => Write::Postgres(postgres.lock().await?),
            Backend::Sqlite(sqlite) => Write::Sqlite(sqlite.lock().await?),
        })
    }

    /// What a request with that key did.
    pub(crate) async fn recall(&self, key: &str) -> Result<Option<Recalled>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.recall(key).await,
            Backend::Sqlite(sqlite) => sqlite.recall(key).await,
        }
    }

    /// Gives the head a new history id, unless somebody else did so since it was `seen`.
    pub(crate) async fn mint(&self, seen: &Identity) -> Result<bool, StoreError> {
        let history = Uuid::new_v4().into_bytes();
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.mint(seen, history).await,
            Backend::Sqlite(sqlite) => sqlite.mint(seen, history).await,
        }
    }

    /// Where to listen for commits of other processes.
    pub(crate) fn hints(&self) -> Hints {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => Hints::Postgres(postgres.hints()),
            Backend::Sqlite(_) => Hints::Never,
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.close().await,
            Backend::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

// === impl Write ===

impl Write {
    /// The head, which nobody else moves while this stands.
    pub(crate) fn stand(&self) -> &Stand {
        match self {
            Write::Postgres(write) => write.stand(),
            Write::Sqlite(write) => write.stand(),
        }
    }

    /// The changes after a revision up to the head.
    pub(crate) async fn changes_since(&mut self, from: u64) -> Result<Vec<Change>, StoreError> {
        match self {
            Write::Postgres(write) => write.changes_since(signed(from)).await,
            Write::Sqlite(write) => write.changes_since(signed(from)).await,
        }
    }

    /// What a request with that key did.
    pub(crate) async fn recall(&mut self, key: &str) -> Result<Option<Recalled>, StoreError> {
        match self {
            Write::Postgres(write) => write.recall(key).await,
            Write::Sqlite(write) => write.recall(key).await,
        }
    }

    /// The revision that a commit made, if it stands.
    pub(crate) async fn made_by(&mut self, commit_id: Uuid) -> Result<Option<u64>, StoreError> {
        match self {
            Write::Postgres(write) => write.made_by(commit_id).await,
            Write::Sqlite(write) => write.made_by(commit_id).await,
        }
    }

    /// Writes resources, changes and the revision, moves the head, and notifies.
    pub(crate) async fn write(&mut self, draft: &Draft<'_>) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.write(draft).await,
            Write::Sqlite(write) => write.write(draft).await,
        }
    }

    /// Remembers an idempotency key until it expires.
    pub(crate) async fn remember(
        &mut self,
        key: &str,
        what: Recalled,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.remember(key, what, expires_at).await,
            Write::Sqlite(write) => write.remember(key, what, expires_at).await,
        }
    }

    /// Makes it stand. After an error it may stand or not.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.finish("commit").await,
            Write::Sqlite(write) => write.finish("commit").await,
        }
    }

    /// Gives the lock back.
    pub(crate) async fn release(self) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.finish("rollback").await,
            Write::Sqlite(write) => write.finish("rollback").await,
        }
    }
}

// === impl Hints ===

impl Hints {
    /// Resolves when there may be something new.
    pub(crate) async fn next(&mut self) {
        match self {
            Hints::Postgres(hints) => hints.next().await,
            Hints::Never => std::future::pending().await,
        }
    }
}

/// Checks a whole configuration, off the threads that answer.
async fn assemble(resources: Vec<Resource>) -> Result<Snapshot, StoreError> {
    let check = move || Snapshot::empty().with(resources.into_iter().map(Change::Put));
    let checked = tokio::task::spawn_blocking(check).await.map_err(|error| corrupt(error.to_string()))?;
    checked.map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        corrupt(format!("this version refuses the stored configuration ({} faults; the first: {first})", faults.len()))
    })
}

// Databases count in signed numbers; no revision comes near the difference.
fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
