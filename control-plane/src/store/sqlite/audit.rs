//! The audit on SQLite.

use super::{Sqlite, SqliteWrite};
use crate::store::{
    StoreError,
    audit::{
        AuditFilter, AuditLine, CHANGES_TOLD, FORGOTTEN_AT_ONCE, FilterColumns, LineChangeRow, LineRow, NewLine, lines,
        no_such_token,
    },
    error::{LOAD_LIMIT, within},
};

// === impl Sqlite ===

impl Sqlite {
    pub(in crate::store) async fn audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditLine>, StoreError> {
        let filter = FilterColumns::of(filter);
        let reading = async {
            let mut transaction = self.reading.begin().await?;
            let rows: Vec<LineRow> = sqlx::query_as(
                "select id, at, actor, role, peer, request_id, method, path, reason, revision, changes
                 from audit
                 where id < $1
                     and ($2 is null or actor = $2)
                     and ($3 is null or exists (
                         select 1 from audit_changes
                         where audit = audit.id and kind = $3 and ($4 is null or name = $4)
                     ))
                     and ($5 is null or at >= $5)
                     and ($6 is null or at < $6)
                     and ($7 is null or revision = $7)
                 order by id desc limit $8",
            )
            .bind(filter.below)
            .bind(filter.actor)
            .bind(filter.kind)
            .bind(filter.name)
            .bind(filter.since)
            .bind(filter.until)
            .bind(filter.revision)
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
            let mut changes: Vec<LineChangeRow> = Vec::new();
            for row in &rows {
                let query = sqlx::query_as(
                    "select audit, kind, name, what from audit_changes where audit = $1 order by kind, name limit $2",
                );
                let query = query.bind(row.id).bind(i64::from(CHANGES_TOLD));
                changes.append(&mut query.fetch_all(&mut *transaction).await?);
            }
            transaction.commit().await?;
            Ok::<_, sqlx::Error>((rows, changes))
        };
        let (rows, changes) = within(LOAD_LIMIT, reading).await?;
        lines(rows, changes)
    }
}

// === impl SqliteWrite ===

impl SqliteWrite {
    pub(in crate::store) async fn record(&mut self, line: &NewLine<'_>) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let writing = async {
            let written: Option<(i64, i64)> = sqlx::query_as(
                "insert into audit (id, at, actor, role, peer, request_id, method, path, reason, revision, changes,
                     changes_so_far)
                 select coalesce((select max(id) from audit), 0) + 1, cast(unixepoch('subsec') * 1000 as integer),
                     $1, $2, $3, $4, $5, $6, $7, $8, $9,
                     coalesce((select changes_so_far from audit order by id desc limit 1), 0) + $9
                 where $10 is null or exists (select 1 from tokens where tokens.id = $10)
                 returning id, changes_so_far",
            )
            .bind(&line.author.name)
            .bind(line.author.role.as_str())
            .bind(line.author.peer.map(|peer| peer.to_string()))
            .bind(&line.author.request_id)
            .bind(&line.author.method)
            .bind(&line.author.path)
            .bind(line.reason)
            .bind(line.revision.map(crate::store::signed))
            .bind(i64::try_from(line.changes.len()).unwrap_or(i64::MAX))
            .bind(line.author.token.map(|token| token.as_bytes().to_vec()))
            .fetch_optional(&mut *connection)
            .await?;
            let Some((id, so_far)) = written else { return Ok(false) };
            for change in line.changes {
                sqlx::query("insert into audit_changes (audit, kind, name, what) values ($1, $2, $3, $4)")
                    .bind(id)
                    .bind(&change.kind)
                    .bind(&change.name)
                    .bind(change.done.as_str())
                    .execute(&mut *connection)
                    .await?;
            }
            let (kept_lines, kept_changes) = line.kept();
            let (from,): (i64,) = sqlx::query_as(
                "select min(
                     (select min(id) from audit) + $1,
                     max($2, coalesce((select id from audit where changes_so_far - changes >= $3 order by id limit 1), $4))
                 )",
            )
            .bind(FORGOTTEN_AT_ONCE)
            .bind(id - kept_lines + 1)
            .bind(so_far - kept_changes)
            .bind(id)
            .fetch_one(&mut *connection)
            .await?;
            for statement in ["delete from audit_changes where audit < $1", "delete from audit where id < $1"] {
                // The line itself stays, however much it changed.
                sqlx::query(statement).bind(from.min(id)).execute(&mut *connection).await?;
            }
            Ok::<_, sqlx::Error>(true)
        };
        if within(line.limit(), writing).await? { Ok(()) } else { Err(no_such_token()) }
    }
}
