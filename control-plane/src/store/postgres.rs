//! The store on Postgres.
//!
//! `select … for update` on the head row is lock and counter. Lock, statement and idle limits are set for each
//! connection, so that a writer that hangs somewhere is ended by the server, and nobody waits for it for long.

mod audit;
mod revocations;
mod status;
mod tokens;

use super::{
    Draft, MAX_IDEMPOTENCY_KEYS, Recalled, Revision, Stand, StoreError,
    error::{ACQUIRE_LIMIT, LOAD_LIMIT, MIGRATE_LIMIT, STEP_LIMIT, tolerant, within},
    guard::Guard,
    rows::{ChangeColumns, ChangeRow, KeyRow, ResourceRow, RevisionRow, StandRow, open_changes, open_resources, read},
    seal::Seal,
};
use proto::{
    identity::Identity,
    resource::{Change, Resource},
    snapshot::Snapshot,
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};
use time::OffsetDateTime;
use tracing::debug;
use uuid::Uuid;

/// The channel of the notifications; their payload is the revision.
const CHANNEL: &str = "portico_revision";

/// Between tries to listen.
const RELISTEN_PAUSE: Duration = Duration::from_secs(1);

/// The keys that anything is sealed with.
const KEYS: &str = "select distinct sealed_by from changes where sealed_by is not null";

const STAND: &str = "select history, revision, root, at,
    (select traceparent from revisions where revisions.revision = head.revision) as traceparent from head";

pub(super) struct Postgres {
    seal: Seal,
    // For commits and the poll, which nothing else may starve.
    core: PgPool,
    // For the history.
    reading: PgPool,
    // For the listener.
    listening: PgPool,
    // For what nodes report.
    status: PgPool,
}

pub(crate) struct PostgresWrite {
    guard: Guard<sqlx::Postgres>,
    stand: Stand,
    seal: Seal,
}

pub(crate) struct PostgresHints {
    pool: PgPool,
    listener: Option<PgListener>,
}

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(url: &str, seal: Seal) -> Result<Postgres, StoreError> {
        let options = PgConnectOptions::from_str(url)?.application_name("portico-control-plane");
        migrate(&options, &seal).await?;
        let limited = options.clone().options([
            ("lock_timeout", "1500ms"),
            ("statement_timeout", "2000ms"),
            ("idle_in_transaction_session_timeout", "5000ms"),
        ]);
        let patient = options.clone().options([("statement_timeout", "30s")]);
        // A status is reported again, so nobody waits until one is on the disk.
        let unhurried = limited.clone().options([("synchronous_commit", "off")]);
        let pool = |connections| PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_LIMIT);
        Ok(Postgres {
            seal,
            core: pool(4).connect_lazy_with(limited),
            reading: pool(4).connect_lazy_with(patient),
            status: pool(2).connect_lazy_with(unhurried),
            listening: pool(2).max_lifetime(None).idle_timeout(None).connect_lazy_with(options),
        })
    }

    pub(super) async fn close(&self) {
        self.listening.close().await;
        self.status.close().await;
        self.reading.close().await;
        self.core.close().await;
    }

    pub(super) async fn stand(&self) -> Result<Stand, StoreError> {
        let row: StandRow = within(STEP_LIMIT, sqlx::query_as(STAND).fetch_one(&self.core)).await?;
        row.try_into()
    }

    pub(super) async fn load(&self) -> Result<(Stand, Vec<Resource>), StoreError> {
        let reading = async {
            let mut transaction = self.reading.begin_with("begin isolation level repeatable read, read only").await?;
            let stand: StandRow = sqlx::query_as(STAND).fetch_one(&mut *transaction).await?;
            let resources: Vec<ResourceRow> =
                sqlx::query_as("select kind, name, payload, requires, sealed_by from resources order by kind, name")
                    .fetch_all(&mut *transaction)
                    .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>((stand, resources))
        };
        let (stand, resources) = within(LOAD_LIMIT, reading).await?;
        Ok((stand.try_into()?, open_resources(resources, &self.seal)?))
    }

    pub(super) async fn revisions(&self, below: i64, limit: i64) -> Result<Vec<Revision>, StoreError> {
        let query = sqlx::query_as(
            "select revision, at, author, reason, root, resources, confirmed_shrink from revisions
             where revision < $1 order by revision desc limit $2",
        );
        let rows: Vec<RevisionRow> = within(LOAD_LIMIT, query.bind(below).bind(limit).fetch_all(&self.reading)).await?;
        read(rows)
    }

    pub(super) async fn resources_at(&self, revision: i64) -> Result<Vec<Resource>, StoreError> {
        let query = sqlx::query_as(
            "select kind, name, payload, requires, sealed_by
             from (
                 select distinct on (kind, name) kind, name, payload, requires, sealed_by from changes
                 where revision <= $1 order by kind, name, revision desc
             ) as last
             where payload is not null",
        );
        let rows: Vec<ResourceRow> = within(LOAD_LIMIT, query.bind(revision).fetch_all(&self.reading)).await?;
        open_resources(rows, &self.seal)
    }

    pub(super) async fn changes(&self, from: i64, to: i64) -> Result<Vec<(u64, Change)>, StoreError> {
        let query = sqlx::query_as(
            "select revision, kind, name, payload, requires, sealed_by from changes
             where revision > $1 and revision <= $2 order by revision, kind, name",
        );
        let rows: Vec<ChangeRow> = within(LOAD_LIMIT, query.bind(from).bind(to).fetch_all(&self.reading)).await?;
        open_changes(rows, &self.seal)
    }

    pub(super) async fn recall(&self, key: &str) -> Result<Option<Recalled>, StoreError> {
        let recalling = async { recall(&mut *self.core.acquire().await?, key).await };
        within(STEP_LIMIT, recalling).await?.map(Recalled::try_from).transpose()
    }

    pub(super) async fn mint(&self, seen: &Identity, history: [u8; 16]) -> Result<bool, StoreError> {
        let query = sqlx::query("update head set history = $1 where history = $2 and revision = $3")
            .bind(&history[..])
            .bind(&seen.history[..])
            .bind(super::signed(seen.revision));
        Ok(within(STEP_LIMIT, query.execute(&self.core)).await?.rows_affected() == 1)
    }

    pub(super) async fn prune(&self, retention: i64, step: i64) -> Result<u64, StoreError> {
        let pruning = async {
            let mut transaction = self.reading.begin().await?;
            // One process at a time; the others find it done.
            let (alone,): (bool,) = sqlx::query_as("select pg_try_advisory_xact_lock(hashtext('portico prune'))")
                .fetch_one(&mut *transaction)
                .await?;
            let (oldest, newest): (i64, i64) = sqlx::query_as("select min(revision), max(revision) from revisions")
                .fetch_one(&mut *transaction)
                .await?;
            let base = (oldest + step).min(newest - retention);
            if !alone || base <= oldest {
                return Ok::<_, sqlx::Error>(0);
            }
            sqlx::query(
                "delete from changes using changes as later
                 where later.revision > $1 and later.revision <= $2 and later.kind = changes.kind
                     and later.name = changes.name and changes.revision < later.revision",
            )
            .bind(oldest)
            .bind(base)
            .execute(&mut *transaction)
            .await?;
            sqlx::query("delete from changes where payload is null and revision > $1 and revision <= $2")
                .bind(oldest)
                .bind(base)
                .execute(&mut *transaction)
                .await?;
            let query = sqlx::query("delete from revisions where revision < $1").bind(base);
            let pruned = query.execute(&mut *transaction).await?.rows_affected();
            transaction.commit().await?;
            Ok(pruned)
        };
        within(LOAD_LIMIT, pruning).await
    }

    pub(super) async fn lock(&self) -> Result<PostgresWrite, StoreError> {
        let mut guard = Guard::acquire(&self.core).await?;
        let locking = async {
            let connection = guard.connection();
            sqlx::raw_sql("begin").execute(&mut *connection).await?;
            sqlx::query_as::<_, StandRow>(
                "select history, revision, root, at, null::text as traceparent from head for update",
            )
            .fetch_one(connection)
            .await
        };
        let row = within(STEP_LIMIT, locking).await?;
        Ok(PostgresWrite { stand: row.try_into()?, guard, seal: self.seal.clone() })
    }

    pub(super) fn hints(&self) -> PostgresHints {
        PostgresHints { pool: self.listening.clone(), listener: None }
    }
}

// === impl PostgresWrite ===

impl PostgresWrite {
    pub(super) fn stand(&self) -> &Stand {
        &self.stand
    }

    pub(super) async fn changes_since(&mut self, from: i64) -> Result<Vec<Change>, StoreError> {
        let query = sqlx::query_as(
            "select revision, kind, name, payload, requires, sealed_by from changes
             where revision > $1 order by revision, kind, name",
        );
        let rows: Vec<ChangeRow> = within(STEP_LIMIT, query.bind(from).fetch_all(self.guard.connection())).await?;
        Ok(open_changes(rows, &self.seal)?.into_iter().map(|(_, change)| change).collect())
    }

    pub(super) async fn recall(&mut self, key: &str) -> Result<Option<Recalled>, StoreError> {
        within(STEP_LIMIT, recall(self.guard.connection(), key)).await?.map(Recalled::try_from).transpose()
    }

    pub(super) async fn made_by(&mut self, commit_id: Uuid) -> Result<Option<u64>, StoreError> {
        let query =
            sqlx::query_as("select revision from revisions where commit_id = $1").bind(&commit_id.as_bytes()[..]);
        let found: Option<(i64,)> = within(STEP_LIMIT, query.fetch_optional(self.guard.connection())).await?;
        Ok(found.map(|(revision,)| revision.unsigned_abs()))
    }

    pub(super) async fn write(&mut self, draft: &Draft<'_>) -> Result<(), StoreError> {
        let limit = STEP_LIMIT + Duration::from_millis(draft.changes.len() as u64);
        let connection = self.guard.connection();
        let writing = async {
            if limit > 2 * STEP_LIMIT {
                let milliseconds = limit.as_millis().to_string();
                let query = sqlx::query("select set_config('statement_timeout', $1, true)").bind(milliseconds);
                query.execute(&mut *connection).await?;
            }
            write_changes(connection, draft, &self.seal).await?;
            write_revision(connection, draft).await
        };
        within(limit, writing).await
    }

    pub(super) async fn remember(
        &mut self,
        key: &str,
        what: Recalled,
        expires_at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let connection = self.guard.connection();
        let remembering = async {
            sqlx::query(
                "delete from idempotency_keys where expires_at <= now() or expires_at <= (
                     select expires_at from idempotency_keys order by expires_at desc offset $1 limit 1
                 )",
            )
            .bind(MAX_IDEMPOTENCY_KEYS - 1)
            .execute(&mut *connection)
            .await?;
            sqlx::query("insert into idempotency_keys (key, digest, revision, expires_at) values ($1, $2, $3, $4)")
                .bind(key)
                .bind(&what.digest[..])
                .bind(super::signed(what.revision))
                .bind(expires_at)
                .execute(&mut *connection)
                .await
        };
        within(STEP_LIMIT, remembering).await.map(drop)
    }

    pub(super) async fn finish(mut self, statement: &'static str) -> Result<(), StoreError> {
        within(STEP_LIMIT, sqlx::raw_sql(statement).execute(self.guard.connection())).await?;
        self.guard.release();
        Ok(())
    }
}

// === impl PostgresHints ===

impl PostgresHints {
    pub(super) async fn next(&mut self) {
        loop {
            let Some(listener) = &mut self.listener else {
                match self.listen().await {
                    // Whatever was told before it listened is lost, so there may be something.
                    Ok(()) => return,
                    Err(error) => {
                        debug!(%error, "cannot listen for commits of other control planes; the poll goes on");
                        tokio::time::sleep(RELISTEN_PAUSE).await;
                        continue;
                    }
                }
            };
            // `None`: the connection was lost and stands again. An error: it does not, and not every kind of it is
            // mended by the listener itself.
            if listener.try_recv().await.is_err() {
                self.listener = None;
            }
            return;
        }
    }

    async fn listen(&mut self) -> Result<(), StoreError> {
        let listening = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        self.listener = Some(within(2 * STEP_LIMIT, listening).await?);
        Ok(())
    }
}

// The migrator takes an advisory lock, so replicas may start together; waiting for it has to take longer than any step.
async fn migrate(options: &PgConnectOptions, seal: &Seal) -> Result<(), StoreError> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_LIMIT);
    let pool = pool.connect_lazy_with(options.clone());
    within(MIGRATE_LIMIT, tolerant(sqlx::migrate!("../migrations/postgres")).run(&pool)).await?;
    within(STEP_LIMIT, found(&pool)).await?;
    seal.check(&within(STEP_LIMIT, sqlx::query_scalar(KEYS).fetch_all(&pool)).await?)?;
    pool.close().await;
    Ok(())
}

// Revision 0, empty, is a configuration. Replicas that start together agree on one.
async fn found(pool: &PgPool) -> Result<(), sqlx::Error> {
    let root = Snapshot::empty().root();
    sqlx::query(
        "with founded as (
             insert into head (history, revision, root, at) values ($1, 0, $2, now())
             on conflict do nothing returning root, at
         )
         insert into revisions (revision, commit_id, at, author, root, resources, confirmed_shrink)
         select 0, $1, at, 'portico', root, 0, false from founded",
    )
    .bind(&Uuid::new_v4().as_bytes()[..])
    .bind(&root[..])
    .execute(pool)
    .await?;
    Ok(())
}

async fn recall(connection: &mut PgConnection, key: &str) -> Result<Option<KeyRow>, sqlx::Error> {
    let query = sqlx::query_as("select digest, revision from idempotency_keys where key = $1 and expires_at > now()");
    query.bind(key).fetch_optional(connection).await
}

async fn write_changes(connection: &mut PgConnection, draft: &Draft<'_>, seal: &Seal) -> Result<(), sqlx::Error> {
    let columns: Vec<ChangeColumns<'_>> = draft.changes.iter().map(|change| ChangeColumns::of(change, seal)).collect();
    sqlx::query(
        "with input as (
             select * from unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[])
                 as input (kind, name, payload, requires, spec, sealed_by)
         ), history as (
             insert into changes (revision, kind, name, payload, requires, sealed_by)
             select $1, kind, name, payload, requires, sealed_by from input
         ), gone as (
             delete from resources using input
             where resources.kind = input.kind and resources.name = input.name and input.payload is null
         )
         insert into resources (kind, name, payload, requires, spec, revision, sealed_by)
         select kind, name, payload, requires, spec::jsonb, $1, sealed_by from input where payload is not null
         on conflict (kind, name) do update
         set payload = excluded.payload, requires = excluded.requires, spec = excluded.spec,
             revision = excluded.revision, sealed_by = excluded.sealed_by",
    )
    .bind(super::signed(draft.identity.revision))
    .bind(columns.iter().map(|columns| columns.kind).collect::<Vec<_>>())
    .bind(columns.iter().map(|columns| columns.name).collect::<Vec<_>>())
    .bind(columns.iter().map(|columns| columns.payload.as_deref()).collect::<Vec<_>>())
    .bind(columns.iter().map(|columns| columns.requires.as_str()).collect::<Vec<_>>())
    .bind(columns.iter().map(|columns| columns.spec.as_str()).collect::<Vec<_>>())
    .bind(columns.iter().map(|columns| columns.sealed_by).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_revision(connection: &mut PgConnection, draft: &Draft<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with revision as (
             insert into revisions
                 (revision, commit_id, at, author, reason, root, resources, confirmed_shrink, traceparent)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $10)
         ), moved as (
             update head set revision = $1, root = $6, at = $3
         )
         select pg_notify($9, $1::text)",
    )
    .bind(super::signed(draft.identity.revision))
    .bind(&draft.commit_id.as_bytes()[..])
    .bind(draft.at)
    .bind(&draft.author)
    .bind(&draft.reason)
    .bind(&draft.identity.root[..])
    .bind(super::signed(draft.resources))
    .bind(draft.confirmed_shrink)
    .bind(CHANNEL)
    .bind(draft.trace.map(|trace| trace.to_string()))
    .execute(connection)
    .await?;
    Ok(())
}
