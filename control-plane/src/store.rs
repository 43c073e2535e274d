//! What stands in the database: the head, the resources, and the history.

use proto::{
    resource::{Change, Hash},
    snapshot::Snapshot,
};
use time::OffsetDateTime;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

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
    /// Whether it took away more than half, and that was confirmed.
    pub confirmed_shrink: bool,
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, or does not answer in time.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// What it has cannot be.
    #[error("the database holds what cannot be: {0}")]
    Corrupt(String),
}

// === impl Store ===

impl Store {
    /// Revisions below a number (or from the newest on), newest first.
    pub async fn revisions(&self, _below: Option<u64>, _limit: u32) -> Result<Vec<Revision>, StoreError> {
        Err(StoreError::Unavailable("not built yet".into()))
    }

    /// One revision, if it is still kept.
    pub async fn revision(&self, _revision: u64) -> Result<Option<Revision>, StoreError> {
        Err(StoreError::Unavailable("not built yet".into()))
    }

    /// The configuration at a revision, if it is still kept.
    pub async fn snapshot_at(&self, _revision: u64) -> Result<Option<Snapshot>, StoreError> {
        Err(StoreError::Unavailable("not built yet".into()))
    }

    /// The changes after `from` up to and with `to`, in order, each with its revision.
    pub async fn changes(&self, _from: u64, _to: u64) -> Result<Vec<(u64, Change)>, StoreError> {
        Err(StoreError::Unavailable("not built yet".into()))
    }
}
