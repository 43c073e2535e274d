//! What nodes report, on SQLite.
//!
//! There is one connection that writes. A commit must not wait until a status is safe on the disk, so these writes do
//! not: what is lost with the machine is reported again.

use super::Sqlite;
use crate::store::{
    StoreError,
    error::{STEP_LIMIT, within},
    guard::Guard,
    status::{Columns, MAX_STATUSES, Replica, Sign, StatusRow, milliseconds},
};
use serde_json::{Value, json};
use sqlx::{query::QueryScalar, sqlite::SqliteArguments};
use std::time::{Duration, Instant};

// === impl Sqlite ===

impl Sqlite {
    pub(in crate::store) async fn put_statuses(
        &self,
        by: &Replica,
        rows: &[StatusRow],
        then: Instant,
    ) -> Result<Vec<String>, StoreError> {
        // Which of two control planes is believed is told beside the statement on Postgres.
        let query = sqlx::query_scalar(
            "with input as (
                 select value ->> 'id' as id, value ->> 'written' as written, value ->> 'connected' as connected,
                     cast(unixepoch('subsec') * 1000 as integer) - $4 as at, value ->> 'since' as since,
                     value ->> 'seen' as seen, value ->> 'running' as running, value ->> 'refused' as refused,
                     value ->> 'summary' as summary, value ->> 'detail' as detail
                 from json_each($3)
             )
             insert into node_status as known (
                 id, replica, control_plane, written, connected, since_at, seen_at, running_at, refused_at, summary,
                 detail
             )
             select id, $1, $2, written, connected, at - since, at - seen, at - running, at - refused, summary, detail
             from input where true
             on conflict (id) do update
             set replica = excluded.replica, control_plane = excluded.control_plane, written = excluded.written,
                 connected = excluded.connected, since_at = excluded.since_at, seen_at = excluded.seen_at,
                 running_at = excluded.running_at, refused_at = excluded.refused_at, summary = excluded.summary,
                 detail = excluded.detail
             where case
                 when known.replica = excluded.replica then known.written < excluded.written
                 else known.since_at < excluded.since_at or known.since_at > unixepoch('subsec') * 1000 + 2000
                     or (excluded.connected and not known.connected and known.seen_at < excluded.seen_at)
             end
             returning id",
        );
        let input = Value::from_iter(rows.iter().map(input)).to_string();
        let query = query.bind(by.id.as_bytes().to_vec()).bind(by.name.clone()).bind(input);
        // A wait for the one connection makes no stream newer.
        self.write_status(|| query.bind(milliseconds(then.elapsed()))).await
    }

    pub(in crate::store) async fn touch_statuses(
        &self,
        by: &Replica,
        signs: &[Sign],
    ) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar(
            "update node_status as known
             set seen_at = cast(unixepoch('subsec') * 1000 as integer) - (input.value ->> 'seen')
             from json_each($2) as input
             where known.id = input.value ->> 'id' and known.replica = $1 and known.written = input.value ->> 'written'
             returning id",
        );
        let sign = |sign: &Sign| json!({"id": sign.id, "written": sign.written, "seen": milliseconds(sign.seen)});
        let input = Value::from_iter(signs.iter().map(sign)).to_string();
        self.write_status(|| query.bind(by.id.as_bytes().to_vec()).bind(input)).await
    }

    pub(in crate::store) async fn statuses_of_others(&self, than: &Replica) -> Result<Vec<StatusRow>, StoreError> {
        let query = sqlx::query_as(
            "select id, control_plane, written, connected, at - since_at, at - seen_at, at - running_at,
                 at - refused_at, summary
             from (select *, cast(unixepoch('subsec') * 1000 as integer) as at from node_status)
             where replica <> $1 order by id limit $2",
        );
        let query = query.bind(&than.id.as_bytes()[..]).bind(MAX_STATUSES as i64);
        let rows: Vec<Columns> = within(STEP_LIMIT, query.fetch_all(&self.reading)).await?;
        Ok(rows.into_iter().map(StatusRow::from).collect())
    }

    pub(in crate::store) async fn status_details(&self, ids: &[&str]) -> Result<Vec<(String, String)>, StoreError> {
        let query = sqlx::query_as(
            "select id, detail from node_status where id in (select value from json_each($1)) order by id",
        );
        within(STEP_LIMIT, query.bind(Value::from(ids).to_string()).fetch_all(&self.reading)).await
    }

    pub(in crate::store) async fn forget_statuses(&self, unseen_for: Duration) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar(
            "delete from node_status
             where seen_at < cast(unixepoch('subsec') * 1000 as integer) - $1
                 or id in (select id from node_status order by seen_at desc limit -1 offset $2)
             returning id",
        );
        let mut guard = Guard::acquire(&self.writing).await?;
        let query = query.bind(milliseconds(unseen_for)).bind(MAX_STATUSES as i64);
        let forgotten: Vec<String> = within(STEP_LIMIT, query.fetch_all(guard.connection())).await?;
        guard.release();
        Ok(forgotten.len() as u64)
    }

    // Dropped amid it, the connection is closed, so that no commit is ever made less safe.
    async fn write_status<'q>(
        &self,
        query: impl FnOnce() -> QueryScalar<'q, sqlx::Sqlite, String, SqliteArguments>,
    ) -> Result<Vec<String>, StoreError> {
        let mut guard = Guard::acquire(&self.writing).await?;
        let writing = async {
            let connection = guard.connection();
            sqlx::raw_sql("pragma synchronous = normal").execute(&mut *connection).await?;
            let ids = query().fetch_all(&mut *connection).await?;
            sqlx::raw_sql("pragma synchronous = full").execute(connection).await?;
            Ok::<_, sqlx::Error>(ids)
        };
        let ids = within(STEP_LIMIT, writing).await?;
        guard.release();
        Ok(ids)
    }
}

fn input(row: &StatusRow) -> Value {
    json!({
        "id": row.id,
        "written": row.written,
        "connected": row.connected,
        "since": milliseconds(row.since),
        "seen": milliseconds(row.seen),
        "running": row.running.map(milliseconds),
        "refused": row.refused.map(milliseconds),
        "summary": row.summary,
        "detail": row.detail,
    })
}
