//! The store on SQLite.
//!
//! One connection writes, in transactions that are `immediate` from their first statement; others read beside it in
//! WAL. `synchronous = full`: what was acknowledged is on the disk.

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
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, time::Duration};
use time::OffsetDateTime;
use uuid::Uuid;

/// The keys that anything is sealed with.
const KEYS: &str = "select distinct sealed_by from changes where sealed_by is not null";

const STAND: &str = "select history, revision, root, at,
    (select traceparent from revisions where revisions.revision = head.revision) as traceparent from head";

pub(super) struct Sqlite {
    seal: Seal,
    writing: SqlitePool,
    reading: SqlitePool,
}

pub(crate) struct SqliteWrite {
    guard: Guard<sqlx::Sqlite>,
    stand: Stand,
    seal: Seal,
}

// === impl Sqlite ===

impl Sqlite {
    pub(super) async fn open(path: &str, seal: Seal) -> Result<Sqlite, StoreError> {
        make_private(path);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_millis(1_500));
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_LIMIT);
        let writing = pool(1).connect_with(options.clone()).await?;
        within(MIGRATE_LIMIT, tolerant(sqlx::migrate!("../migrations/sqlite")).run(&writing)).await?;
        found(&writing).await?;
        seal.check(&within(STEP_LIMIT, sqlx::query_scalar(KEYS).fetch_all(&writing)).await?)?;
        // Not `read_only`: in WAL a reader has to write to the shared memory beside the file.
        Ok(Sqlite { seal, writing, reading: pool(4).connect_lazy_with(options.pragma("query_only", "on")) })
    }

    pub(super) async fn close(&self) {
        self.reading.close().await;
        self.writing.close().await;
    }

    pub(super) async fn stand(&self) -> Result<Stand, StoreError> {
        let row: StandRow = within(STEP_LIMIT, sqlx::query_as(STAND).fetch_one(&self.reading)).await?;
        row.try_into()
    }

    pub(super) async fn load(&self) -> Result<(Stand, Vec<Resource>), StoreError> {
        let reading = async {
            let mut transaction = self.reading.begin().await?;
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
                 select kind, name, payload, requires, sealed_by,
                     row_number() over (partition by kind, name order by revision desc) as place
                 from changes where revision <= $1
             )
             where place = 1 and payload is not null",
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
        let recalling = async { recall(&mut *self.reading.acquire().await?, key).await };
        within(STEP_LIMIT, recalling).await?.map(Recalled::try_from).transpose()
    }

    pub(super) async fn mint(&self, seen: &Identity, history: [u8; 16]) -> Result<bool, StoreError> {
        let query = sqlx::query("update head set history = $1 where history = $2 and revision = $3")
            .bind(&history[..])
            .bind(&seen.history[..])
            .bind(super::signed(seen.revision));
        Ok(within(STEP_LIMIT, query.execute(&self.writing)).await?.rows_affected() == 1)
    }

    pub(super) async fn prune(&self, retention: i64, step: i64) -> Result<u64, StoreError> {
        let pruning = async {
            let mut transaction = self.writing.begin_with("begin immediate").await?;
            let (oldest, newest): (i64, i64) = sqlx::query_as("select min(revision), max(revision) from revisions")
                .fetch_one(&mut *transaction)
                .await?;
            let base = (oldest + step).min(newest - retention);
            if base <= oldest {
                return Ok::<_, sqlx::Error>(0);
            }
            sqlx::query(
                "delete from changes where rowid in (
                     select older.rowid from changes as later join changes as older
                         on older.kind = later.kind and older.name = later.name and older.revision < later.revision
                     where later.revision > $1 and later.revision <= $2
                 )",
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

    pub(super) async fn lock(&self) -> Result<SqliteWrite, StoreError> {
        let mut guard = Guard::acquire(&self.writing).await?;
        let locking = async {
            let connection = guard.connection();
            sqlx::raw_sql("begin immediate").execute(&mut *connection).await?;
            sqlx::query_as::<_, StandRow>(STAND).fetch_one(connection).await
        };
        let row = within(STEP_LIMIT, locking).await?;
        Ok(SqliteWrite { stand: row.try_into()?, guard, seal: self.seal.clone() })
    }
}

// === impl SqliteWrite ===

impl SqliteWrite {
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
            for change in draft.changes {
                write_change(connection, draft, &ChangeColumns::of(change, &self.seal)).await?;
            }
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
                "delete from idempotency_keys where expires_at <= unixepoch() or expires_at <= (
                     select expires_at from idempotency_keys order by expires_at desc limit 1 offset $1
                 )",
            )
            .bind(MAX_IDEMPOTENCY_KEYS - 1)
            .execute(&mut *connection)
            .await?;
            sqlx::query("insert into idempotency_keys (key, digest, revision, expires_at) values ($1, $2, $3, $4)")
                .bind(key)
                .bind(&what.digest[..])
                .bind(super::signed(what.revision))
                .bind(expires_at.unix_timestamp())
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

// Revision 0, empty, is a configuration.
async fn found(pool: &SqlitePool) -> Result<(), StoreError> {
    let root = Snapshot::empty().root();
    let (id, at) = (Uuid::new_v4(), OffsetDateTime::now_utc());
    let founding = async {
        let mut transaction = pool.begin_with("begin immediate").await?;
        let query = sqlx::query(
            "insert into head (single, history, revision, root, at) values (1, $1, 0, $2, $3) on conflict do nothing",
        );
        let query = query.bind(&id.as_bytes()[..]).bind(&root[..]).bind(at);
        if query.execute(&mut *transaction).await?.rows_affected() == 1 {
            sqlx::query(
                "insert into revisions (revision, commit_id, at, author, root, resources, confirmed_shrink)
                 values (0, $1, $2, 'portico', $3, 0, 0)",
            )
            .bind(&id.as_bytes()[..])
            .bind(at)
            .bind(&root[..])
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    };
    within(STEP_LIMIT, founding).await
}

async fn recall(connection: &mut SqliteConnection, key: &str) -> Result<Option<KeyRow>, sqlx::Error> {
    let query =
        sqlx::query_as("select digest, revision from idempotency_keys where key = $1 and expires_at > unixepoch()");
    query.bind(key).fetch_optional(connection).await
}

async fn write_change(
    connection: &mut SqliteConnection,
    draft: &Draft<'_>,
    columns: &ChangeColumns<'_>,
) -> Result<(), sqlx::Error> {
    let revision = super::signed(draft.identity.revision);
    sqlx::query(
        "insert into changes (revision, kind, name, payload, requires, sealed_by) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(revision)
    .bind(columns.kind)
    .bind(columns.name)
    .bind(&columns.payload)
    .bind(&columns.requires)
    .bind(columns.sealed_by)
    .execute(&mut *connection)
    .await?;
    let query = match &columns.payload {
        None => {
            sqlx::query("delete from resources where kind = $1 and name = $2").bind(columns.kind).bind(columns.name)
        }
        Some(payload) => sqlx::query(
            "insert into resources (kind, name, payload, requires, spec, revision, sealed_by)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (kind, name) do update
             set payload = excluded.payload, requires = excluded.requires, spec = excluded.spec,
                 revision = excluded.revision, sealed_by = excluded.sealed_by",
        )
        .bind(columns.kind)
        .bind(columns.name)
        .bind(payload)
        .bind(&columns.requires)
        .bind(&columns.spec)
        .bind(revision)
        .bind(columns.sealed_by),
    };
    query.execute(connection).await.map(drop)
}

async fn write_revision(connection: &mut SqliteConnection, draft: &Draft<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into revisions (revision, commit_id, at, author, reason, root, resources, confirmed_shrink, traceparent)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(super::signed(draft.identity.revision))
    .bind(&draft.commit_id.as_bytes()[..])
    .bind(draft.at)
    .bind(&draft.author)
    .bind(&draft.reason)
    .bind(&draft.identity.root[..])
    .bind(super::signed(draft.resources))
    .bind(draft.confirmed_shrink)
    .bind(draft.trace.map(|trace| trace.to_string()))
    .execute(&mut *connection)
    .await?;
    sqlx::query("update head set revision = $1, root = $2, at = $3")
        .bind(super::signed(draft.identity.revision))
        .bind(&draft.identity.root[..])
        .bind(draft.at)
        .execute(connection)
        .await?;
    Ok(())
}

// The configuration is for its owner alone, and what SQLite keeps beside the file takes over its mode. Whatever is wrong
// with the path is told when it is opened.
fn make_private(path: &str) {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).ok();
}
