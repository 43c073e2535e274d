//! Who did what: a line for each thing done, written in its transaction, so that neither stands without the other.
//!
//! Nobody writes a line, and so nobody changes anything, with a token that is not there any more: what a control plane
//! has not learnt yet, the transaction knows. Lines are numbered without gaps under the lock on the head. Each new line takes the oldest with it that are beyond
//! the limit, a few at a time, so there is nothing to clean up.

use super::{
    Backend, Store, StoreError, Write,
    error::{STEP_LIMIT, corrupt},
    tokens::{millis_of, time_of},
};
use crate::author::{Author, Role};
use sqlx::FromRow;
use std::{collections::HashMap, time::Duration};
use time::OffsetDateTime;

/// How many changes are kept for each line that is, taken together.
const CHANGES_A_LINE: i64 = 10;

/// How many lines go at most with a new one; more than one, so that a limit that was lowered is met in time.
pub(super) const FORGOTTEN_AT_ONCE: i64 = 100;

/// How many of its changes are told with a line.
pub const CHANGES_TOLD: u16 = 100;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was not there before.
    Created,
    /// It is different now.
    Replaced,
    /// It is gone.
    Deleted,
    /// It is not let in any more.
    Revoked,
    /// It is let in again.
    Readmitted,
}

/// All of them.
pub const DONE: [Done; 5] = [Done::Created, Done::Replaced, Done::Deleted, Done::Revoked, Done::Readmitted];

/// One thing that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditChange {
    /// Its kind: that of a resource, `token` or `node`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub done: Done,
}

/// A line of the audit.
#[derive(Clone, Debug)]
pub struct AuditLine {
    /// Its number.
    pub id: u64,
    /// When, by the clock of the database.
    pub at: OffsetDateTime,
    /// The name of the token.
    pub actor: String,
    /// Its role.
    pub role: Role,
    /// Where the request came from.
    pub peer: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, as the API describes it.
    pub path: String,
    /// Why.
    pub reason: Option<String>,
    /// The revision that it made.
    pub revision: Option<u64>,
    /// What was changed, by kind and name; the first of them.
    pub changes: Vec<AuditChange>,
    /// How many more there are.
    pub changes_omitted: u64,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only older ones than this.
    pub below: Option<u64>,
    /// Of that token.
    pub actor: Option<String>,
    /// That changed something of that kind.
    pub kind: Option<String>,
    /// That changed something of that name.
    pub name: Option<String>,
    /// Not before.
    pub since: Option<OffsetDateTime>,
    /// Before.
    pub until: Option<OffsetDateTime>,
    /// That made that revision.
    pub revision: Option<u64>,
}

/// A line about to be written.
pub(crate) struct NewLine<'a> {
    pub(crate) author: &'a Author,
    pub(crate) reason: Option<&'a str>,
    pub(crate) revision: Option<u64>,
    pub(crate) changes: &'a [AuditChange],
    /// How many lines are kept.
    pub(crate) retention: u64,
}

/// Why there is no line.
pub(super) fn no_such_token() -> StoreError {
    StoreError::Unavailable("the token of the request was deleted a moment ago; nothing was changed".into())
}

/// A filter as both databases take it.
pub(super) struct FilterColumns<'a> {
    pub(super) below: i64,
    pub(super) actor: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) since: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) revision: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct LineRow {
    pub(super) id: i64,
    at: i64,
    actor: String,
    role: String,
    peer: Option<String>,
    request_id: String,
    method: String,
    path: String,
    reason: Option<String>,
    revision: Option<i64>,
    changes: i64,
}

#[derive(FromRow)]
pub(super) struct LineChangeRow {
    audit: i64,
    kind: String,
    name: String,
    what: String,
}

// === impl Store ===

impl Store {
    /// Lines of the audit, newest first.
    pub async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditLine>, StoreError> {
        match self.backend.as_ref() {
            Backend::Postgres(postgres) => postgres.audit(filter, i64::from(limit)).await,
            Backend::Sqlite(sqlite) => sqlite.audit(filter, i64::from(limit)).await,
        }
    }
}

// === impl Write ===

impl Write {
    /// Writes a line about what this writes.
    pub(crate) async fn record(&mut self, line: &NewLine<'_>) -> Result<(), StoreError> {
        match self {
            Write::Postgres(write) => write.record(line).await,
            Write::Sqlite(write) => write.record(line).await,
        }
    }
}

// === impl NewLine ===

impl NewLine<'_> {
    pub(super) fn limit(&self) -> Duration {
        STEP_LIMIT + Duration::from_millis(self.changes.len() as u64)
    }

    /// How many lines, and how many changes of all lines, are kept.
    pub(super) fn kept(&self) -> (i64, i64) {
        let lines = super::signed(self.retention.max(1));
        (lines, lines.saturating_mul(CHANGES_A_LINE))
    }
}

// === impl Done ===

impl Done {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Done::Created => "created",
            Done::Replaced => "replaced",
            Done::Deleted => "deleted",
            Done::Revoked => "revoked",
            Done::Readmitted => "readmitted",
        }
    }
}

// === impl FilterColumns ===

impl<'a> FilterColumns<'a> {
    pub(super) fn of(filter: &'a AuditFilter) -> FilterColumns<'a> {
        FilterColumns {
            below: filter.below.map_or(i64::MAX, super::signed),
            actor: filter.actor.as_deref(),
            kind: filter.kind.as_deref(),
            name: filter.name.as_deref(),
            since: filter.since.map(millis_of),
            until: filter.until.map(millis_of),
            revision: filter.revision.map(super::signed),
        }
    }
}

// === conversions ===

/// Lines and what was changed, put together.
pub(super) fn lines(rows: Vec<LineRow>, changes: Vec<LineChangeRow>) -> Result<Vec<AuditLine>, StoreError> {
    let mut by_line: HashMap<i64, Vec<AuditChange>> = HashMap::new();
    for LineChangeRow { audit, kind, name, what } in changes {
        let done = DONE.into_iter().find(|done| done.as_str() == what);
        let done = done.ok_or_else(|| corrupt(format!("a line of the audit says {what:?}")))?;
        by_line.entry(audit).or_default().push(AuditChange { kind, name, done });
    }
    let line = |row: LineRow| {
        let changes = by_line.remove(&row.id).unwrap_or_default();
        Ok(AuditLine {
            id: row.id.unsigned_abs(),
            at: time_of(row.at)?,
            role: Role::parse(&row.role).ok_or_else(|| corrupt(format!("the audit has the role {:?}", row.role)))?,
            actor: row.actor,
            peer: row.peer,
            request_id: row.request_id,
            method: row.method,
            path: row.path,
            reason: row.reason,
            revision: row.revision.map(i64::unsigned_abs),
            changes_omitted: row.changes.unsigned_abs().saturating_sub(changes.len() as u64),
            changes,
        })
    };
    rows.into_iter().map(line).collect()
}
