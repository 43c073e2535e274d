//! The audit on Postgres.

use super::{Postgres, PostgresWrite};
use crate::store::{
    StoreError,
    audit::{
        AuditFilter, AuditLine, CHANGES_TOLD, FORGOTTEN_AT_ONCE, FilterColumns, LineChangeRow, LineRow, NewLine, lines,
        no_such_token,
    },
    error::{LOAD_LIMIT, within},
};

// === impl Postgres ===

impl Postgres {
    pub(in crate::store) async fn audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditLine>, StoreError> {
        let filter = FilterColumns::of(filter);
        let reading = async {
            let mut transaction = self.reading.begin_with("begin isolation level repeatable read, read only").await?;
            let rows: Vec<LineRow> = sqlx::query_as(
                "select id, (extract(epoch from at) * 1000)::bigint as at, actor, role, peer, request_id, method, path,
                     reason, revision, changes
                 from audit
                 where id < $1
                     and ($2::text is null or actor = $2)
                     and ($3::text is null or exists (
                         select from audit_changes
                         where audit = audit.id and kind = $3 and ($4::text is null or name = $4)
                     ))
                     and ($5::bigint is null or at >= to_timestamp($5 / 1000.0))
                     and ($6::bigint is null or at < to_timestamp($6 / 1000.0))
                     and ($7::bigint is null or revision = $7)
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
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let changes: Vec<LineChangeRow> = sqlx::query_as(
                "select audit, kind, name, what
                 from unnest($1::bigint[]) as line (id), lateral (
                     select * from audit_changes where audit = line.id order by kind, name limit $2
                 ) as told
                 order by audit, kind, name",
            )
            .bind(ids)
            .bind(i64::from(CHANGES_TOLD))
            .fetch_all(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>((rows, changes))
        };
        let (rows, changes) = within(LOAD_LIMIT, reading).await?;
        lines(rows, changes)
    }
}

// === impl PostgresWrite ===

impl PostgresWrite {
    pub(in crate::store) async fn record(&mut self, line: &NewLine<'_>) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let writing = async {
            let written: Option<(i64, i64)> = sqlx::query_as(
                "with last as (select id, changes_so_far from audit order by id desc limit 1)
                 insert into audit (id, at, actor, role, peer, request_id, method, path, reason, revision, changes,
                     changes_so_far)
                 select coalesce((select id from last), 0) + 1, date_trunc('milliseconds', clock_timestamp()),
                     $1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce((select changes_so_far from last), 0) + $9
                 where $10::bytea is null or exists (select from tokens where tokens.id = $10)
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
            sqlx::query(
                "insert into audit_changes (audit, kind, name, what)
                 select $1, * from unnest($2::text[], $3::text[], $4::text[])",
            )
            .bind(id)
            .bind(line.changes.iter().map(|change| change.kind.as_str()).collect::<Vec<_>>())
            .bind(line.changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>())
            .bind(line.changes.iter().map(|change| change.done.as_str()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
            let (kept_lines, kept_changes) = line.kept();
            let (from,): (i64,) = sqlx::query_as(
                "select least(
                     (select min(id) from audit) + $1,
                     greatest($2, coalesce((select id from audit where changes_so_far - changes >= $3 order by id limit 1), $4))
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
