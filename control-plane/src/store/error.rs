//! Why the database did not do what was asked, and the time limit that each step has.

use sqlx::migrate::{MigrateError, Migrator};
use std::time::Duration;

/// The longest wait for a connection.
pub(super) const ACQUIRE_LIMIT: Duration = Duration::from_millis(1_500);

/// The longest step that is not about the whole configuration.
pub(super) const STEP_LIMIT: Duration = Duration::from_millis(2_000);

/// The longest reading of a whole configuration or of much history.
pub(super) const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// The longest bringing up to date of the tables, the wait for another process that does it included.
pub(super) const MIGRATE_LIMIT: Duration = Duration::from_secs(300);

/// Why the database did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, or does not answer in time.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// It will not let us in, whatever we wait for.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// What it has cannot be.
    #[error("the database holds what cannot be: {0}")]
    Corrupt(String),
}

// === impl StoreError ===

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("55P03") => StoreError::Unavailable("another writer holds the head for too long".into()),
                // SQLite: the file cannot be opened, or is none of its own. Waiting does not help.
                Some("14" | "26") => StoreError::Refused(error.to_string()),
                // Authentication, authorisation, a database or schema that is not there.
                Some(code) if ["28", "3D", "3F", "42"].contains(&code.get(..2).unwrap_or_default()) => {
                    StoreError::Refused(error.to_string())
                }
                Some(_) | None => StoreError::Unavailable(error.to_string()),
            },
            sqlx::Error::PoolTimedOut => StoreError::Unavailable(format!("no connection within {ACQUIRE_LIMIT:?}")),
            sqlx::Error::Configuration(_) => StoreError::Refused(error.to_string()),
            sqlx::Error::RowNotFound => StoreError::Corrupt("there is no head row; restore a backup".into()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> StoreError {
        match error {
            MigrateError::Execute(error) => error.into(),
            error => StoreError::Refused(format!("its tables are not those of this version: {error}")),
        }
    }
}

/// Migrations only expand what the version before uses, so that one goes on, and may be started again, beside a newer.
pub(super) fn tolerant(mut migrations: Migrator) -> Migrator {
    migrations.set_ignore_missing(true);
    migrations
}

pub(super) fn corrupt(detail: impl Into<String>) -> StoreError {
    StoreError::Corrupt(detail.into())
}

/// Gives a step its time limit.
pub(super) async fn within<T, E: Into<StoreError>>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {limit:?}"))),
    }
}
