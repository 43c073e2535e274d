//! The admin tokens, as digests. They change under the lock on the head, which counts the changes; when one was last
//! used is noted beside it, for that changes nothing.

use super::{Backend, Store, StoreError, Write, error::corrupt, rows::fixed};
use crate::author::Role;
use proto::resource::Hash;
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

/// Which changes of who is let in are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessVersion {
    history: [u8; 16],
    changes: i64,
}

/// An admin token, but for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its name.
    pub name: String,
    /// Tells it from others of that name.
    pub id: Uuid,
    /// SHA-256 of it.
    pub digest: Hash,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// By whom.
    pub created_by: String,
    /// Until when it is good; `None`: for ever.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was last used, to a few minutes.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A token about to be written; the database says when.
pub(crate) struct NewToken<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: Uuid,
    pub(crate) digest: Hash,
    pub(crate) role: Role,
    pub(crate) created_by: &'a str,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
pub(super) struct VersionRow {
    history: Vec<u8>,
    access: i64,
}

/// Times are milliseconds since 1970.
#[derive(FromRow)]
pub(super) struct TokenRow {
    name: String,
    id: Vec<u8>,
    digest: Vec<u8>,
    role: String,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

// === impl Store ===

impl Store {
    /// Which changes of who is let in there have been.
    pub(crate) async fn access_version(&self) -> Result<AccessVersion, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.access_version().await,
            Backend::Sqlite(sqlite) => sqlite.access_version().await,
        }
    }

    /// All tokens, by name.
    pub(crate) async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.tokens().await,
            Backend::Sqlite(sqlite) => sqlite.tokens().await,
        }
    }

    /// Notes when tokens were last used.
    pub(crate) async fn note_uses(&self, uses: &[(Uuid, OffsetDateTime)]) -> Result<(), StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.note_uses(uses).await,
            Backend::Sqlite(sqlite) => sqlite.note_uses(uses).await,
        }
    }
}

// === impl Write ===

impl Write {
    /// All tokens, which nobody else changes while this stands.
    pub(crate) async fn tokens(&mut self) -> Result<Vec<StoredToken>, StoreError> {
        match self {
            Write::Postgres(write) => write.tokens().await,
            Write::Sqlite(write) => write.tokens().await,
        }
    }

    /// Adds a token, counts the change, and notifies.
    pub(crate) async fn add_token(&mut self, token: &NewToken<'_>) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.add_token(token).await,
            Write::Sqlite(write) => write.add_token(token).await,
        }
    }

    /// Takes a token away, counts the change, and notifies.
    pub(crate) async fn remove_token(&mut self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.remove_token(id).await,
            Write::Sqlite(write) => write.remove_token(id).await,
        }
    }
}

// === conversions ===

impl TryFrom<VersionRow> for AccessVersion {
    type Error = StoreError;

    fn try_from(row: VersionRow) -> Result<AccessVersion, StoreError> {
        Ok(AccessVersion { history: fixed(&row.history)?, changes: row.access })
    }
}

impl TryFrom<TokenRow> for StoredToken {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<StoredToken, StoreError> {
        let role = Role::parse(&row.role).ok_or_else(|| corrupt(format!("a token has the role {:?}", row.role)))?;
        Ok(StoredToken {
            id: Uuid::from_bytes(fixed(&row.id)?),
            digest: fixed(&row.digest)?,
            role,
            created_at: time_of(row.created_at)?,
            created_by: row.created_by,
            expires_at: row.expires_at.map(time_of).transpose()?,
            last_used_at: row.last_used_at.map(time_of).transpose()?,
            name: row.name,
        })
    }
}

/// The time of milliseconds since 1970.
pub(super) fn time_of(millis: i64) -> Result<OffsetDateTime, StoreError> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    time.map_err(|error| corrupt(error.to_string()))
}

/// Milliseconds since 1970.
pub(super) fn millis_of(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
