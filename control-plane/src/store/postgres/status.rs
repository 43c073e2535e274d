//! What nodes report, on Postgres.

use super::Postgres;
use crate::store::{
    StoreError,
    error::{STEP_LIMIT, within},
    signed,
    status::{Columns, MAX_STATUSES, Replica, Sign, StatusRow, milliseconds},
};
use std::time::{Duration, Instant};

// === impl Postgres ===

impl Postgres {
    pub(in crate::store) async fn put_statuses(
        &self,
        by: &Replica,
        rows: &[StatusRow],
        then: Instant,
    ) -> Result<Vec<String>, StoreError> {
        // A newer stream wins; so does one that stands over one that does not and was heard of before. A row that is
        // from the future, as after a change of servers, is no evidence.
        let query = sqlx::query_scalar(
            "insert into node_status as known (
                 id, replica, control_plane, written, connected, since_at, seen_at, running_at, refused_at, summary,
                 detail
             )
             select id, $1, $2, written, connected, at - since * interval '1 ms', at - seen * interval '1 ms',
                 at - running * interval '1 ms', at - refused * interval '1 ms', summary, detail
             from (select now() - $12 * interval '1 ms' as at) as clock, unnest(
                 $3::text[], $4::bigint[], $5::boolean[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                 $10::text[], $11::text[]
             ) as input (id, written, connected, since, seen, running, refused, summary, detail)
             order by id
             on conflict (id) do update
             set replica = excluded.replica, control_plane = excluded.control_plane, written = excluded.written,
                 connected = excluded.connected, since_at = excluded.since_at, seen_at = excluded.seen_at,
                 running_at = excluded.running_at, refused_at = excluded.refused_at, summary = excluded.summary,
                 detail = excluded.detail
             where case
                 when known.replica = excluded.replica then known.written < excluded.written
                 else known.since_at < excluded.since_at or known.since_at > now() + interval '2 s'
                     or (excluded.connected and not known.connected and known.seen_at < excluded.seen_at)
             end
             returning id",
        )
        .bind(&by.id.as_bytes()[..])
        .bind(&by.name)
        .bind(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| signed(row.written)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.connected).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| milliseconds(row.since)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| milliseconds(row.seen)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.running.map(milliseconds)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.refused.map(milliseconds)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.summary.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.detail.as_str()).collect::<Vec<_>>());
        let writing = async {
            // A wait for a connection makes no stream newer.
            let mut connection = self.status.acquire().await?;
            query.bind(milliseconds(then.elapsed())).fetch_all(&mut *connection).await
        };
        within(STEP_LIMIT, writing).await
    }

    pub(in crate::store) async fn touch_statuses(
        &self,
        by: &Replica,
        signs: &[Sign],
    ) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar(
            "update node_status as known set seen_at = now() - input.seen * interval '1 ms'
             from unnest($2::text[], $3::bigint[], $4::bigint[]) as input (id, written, seen)
             where known.id = input.id and known.replica = $1 and known.written = input.written
             returning known.id",
        )
        .bind(&by.id.as_bytes()[..])
        .bind(signs.iter().map(|sign| sign.id.as_str()).collect::<Vec<_>>())
        .bind(signs.iter().map(|sign| signed(sign.written)).collect::<Vec<_>>())
        .bind(signs.iter().map(|sign| milliseconds(sign.seen)).collect::<Vec<_>>());
        within(STEP_LIMIT, query.fetch_all(&self.status)).await
    }

    pub(in crate::store) async fn statuses_of_others(&self, than: &Replica) -> Result<Vec<StatusRow>, StoreError> {
        let query = sqlx::query_as(
            "select id, control_plane, written, connected,
                 (extract(epoch from now() - since_at) * 1000)::bigint,
                 (extract(epoch from now() - seen_at) * 1000)::bigint,
                 (extract(epoch from now() - running_at) * 1000)::bigint,
                 (extract(epoch from now() - refused_at) * 1000)::bigint,
                 summary
             from node_status where replica <> $1 order by id limit $2",
        );
        let query = query.bind(&than.id.as_bytes()[..]).bind(MAX_STATUSES as i64);
        let rows: Vec<Columns> = within(STEP_LIMIT, query.fetch_all(&self.status)).await?;
        Ok(rows.into_iter().map(StatusRow::from).collect())
    }

    pub(in crate::store) async fn status_details(&self, ids: &[&str]) -> Result<Vec<(String, String)>, StoreError> {
        let query = sqlx::query_as("select id, detail from node_status where id = any($1) order by id").bind(ids);
        within(STEP_LIMIT, query.fetch_all(&self.status)).await
    }

    pub(in crate::store) async fn forget_statuses(&self, unseen_for: Duration) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "delete from node_status where seen_at < now() - $1 * interval '1 ms'
                 or id in (select id from node_status order by seen_at desc offset $2)",
        );
        let query = query.bind(milliseconds(unseen_for)).bind(MAX_STATUSES as i64);
        Ok(within(STEP_LIMIT, query.execute(&self.status)).await?.rows_affected())
    }
}
