//! What nodes report, as it stands in the database for all control planes.
//!
//! Nothing here is told to anybody, and nothing of it is configuration. Times go in and come out as ages, so that only
//! the database's clock counts. Of two control planes that tell of one node, the one with its newer stream is believed.

use super::{Backend, Store, StoreError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many rows one statement writes, and how many a reading of details is for.
pub const STATUS_BATCH: usize = 500;

/// How many nodes of other control planes are read; the oldest beyond that are forgotten.
pub const MAX_STATUSES: usize = 20_000;

/// The process that writes: an id of its own for each start, and what it calls itself.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Made at the start.
    pub id: Uuid,
    /// For people.
    pub name: String,
}

/// A node, as the control plane that its newest stream is at tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRow {
    /// The node's id.
    pub id: String,
    /// What the control plane that wrote it calls itself. Not written: it is the writer's.
    pub control_plane: String,
    /// Which of that control plane's writes it was.
    pub written: u64,
    /// Whether its stream stands.
    pub connected: bool,
    /// The age of its last stream.
    pub since: Duration,
    /// How long ago it last said anything.
    pub seen: Duration,
    /// For how long it runs what it runs.
    pub running: Option<Duration>,
    /// How long ago it refused what it last refused.
    pub refused: Option<Duration>,
    /// Who it is, what it runs and what it refused.
    pub summary: String,
    /// Why it refused, and the health of its upstreams. Not read with the others.
    pub detail: String,
}

/// That a node said something, and nothing else about it has changed since that write.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The node's id.
    pub id: String,
    /// The write.
    pub written: u64,
    /// How long ago.
    pub seen: Duration,
}

/// A row as both databases give it, without its details; ages are in milliseconds.
pub(super) type Columns = (String, String, i64, bool, i64, i64, Option<i64>, Option<i64>, String);

// === impl Store ===

impl Store {
    /// Writes what nodes report, at most [`STATUS_BATCH`] of them, with the ages that they had `then`, and returns the
    /// ids of those that now stand so. The others have a newer stream at another control plane.
    pub async fn put_statuses(
        &self,
        by: &Replica,
        rows: &[StatusRow],
        then: Instant,
    ) -> Result<Vec<String>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.put_statuses(by, rows, then).await,
            Backend::Sqlite(sqlite) => sqlite.put_statuses(by, rows, then).await,
        }
    }

    /// Writes that nodes were seen, at most [`STATUS_BATCH`] of them, and returns the ids of those whose row is still
    /// that of the write.
    pub async fn touch_statuses(&self, by: &Replica, signs: &[Sign]) -> Result<Vec<String>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.touch_statuses(by, signs).await,
            Backend::Sqlite(sqlite) => sqlite.touch_statuses(by, signs).await,
        }
    }

    /// The nodes of all other control planes, without their details, by id.
    pub async fn statuses_of_others(&self, than: &Replica) -> Result<Vec<StatusRow>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.statuses_of_others(than).await,
            Backend::Sqlite(sqlite) => sqlite.statuses_of_others(than).await,
        }
    }

    /// The details of nodes by their ids; those that are not there are left out.
    pub async fn status_details(&self, ids: &[&str]) -> Result<Vec<(String, String)>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.status_details(ids).await,
            Backend::Sqlite(sqlite) => sqlite.status_details(ids).await,
        }
    }

    /// Forgets nodes that were not seen for so long, and the oldest of too many; returns how many.
    pub async fn forget_statuses(&self, unseen_for: Duration) -> Result<u64, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.forget_statuses(unseen_for).await,
            Backend::Sqlite(sqlite) => sqlite.forget_statuses(unseen_for).await,
        }
    }
}

// === impl StatusRow ===

impl From<Columns> for StatusRow {
    fn from((id, control_plane, written, connected, since, seen, running, refused, summary): Columns) -> StatusRow {
        StatusRow {
            id,
            control_plane,
            written: written.unsigned_abs(),
            connected,
            since: age(since),
            seen: age(seen),
            running: running.map(age),
            refused: refused.map(age),
            summary,
            detail: String::new(),
        }
    }
}

/// An age as both databases take it.
pub(super) fn milliseconds(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

// What lies ahead is now.
fn age(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
