//! Nodes that are not let in any more. They change as tokens do: under the lock on the head, which counts the changes.

use super::{Backend, Store, StoreError, Write, tokens::time_of};
use sqlx::FromRow;
use time::OffsetDateTime;

/// A node that is not let in any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The id of the node.
    pub id: String,
    /// Since when.
    pub revoked_at: OffsetDateTime,
    /// By whom.
    pub revoked_by: String,
}

/// Times are milliseconds since 1970.
#[derive(FromRow)]
pub(super) struct RevocationRow {
    id: String,
    revoked_at: i64,
    revoked_by: String,
}

// === impl Store ===

impl Store {
    /// All nodes that are not let in, by id.
    pub(crate) async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.revocations().await,
            Backend::Sqlite(sqlite) => sqlite.revocations().await,
        }
    }
}

// === impl Write ===

impl Write {
    /// All nodes that are not let in; nobody else changes them while this stands.
    pub(crate) async fn revocations(&mut self) -> Result<Vec<Revocation>, StoreError> {
        match self {
            Write::Postgres(write) => write.revocations().await,
            Write::Sqlite(write) => write.revocations().await,
        }
    }

    /// Lets a node in no more, counts the change, and notifies.
    pub(crate) async fn add_revocation(&mut self, id: &str, by: &str) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.add_revocation(id, by).await,
            Write::Sqlite(write) => write.add_revocation(id, by).await,
        }
    }

    /// Lets a node in again, counts the change, and notifies.
    pub(crate) async fn remove_revocation(&mut self, id: &str) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.remove_revocation(id).await,
            Write::Sqlite(write) => write.remove_revocation(id).await,
        }
    }
}

// === conversions ===

impl TryFrom<RevocationRow> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Revocation, StoreError> {
        Ok(Revocation { id: row.id, revoked_at: time_of(row.revoked_at)?, revoked_by: row.revoked_by })
    }
}
