//! Databases, one a case, and control planes without their ports.

use crate::front::NoNode;
use control_plane::{
    author::Author,
    commit::{CommitError, Committed, Committer, Plan, Proposal},
    publisher::{Head, Publisher},
    store::{Seal, Store},
    telemetry::Telemetry,
};
use prost::Message;
use proto::{
    name::Name,
    pb,
    resource::{Change, Kind, Resource, ResourceKey},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};

/// How long anything may take before a case fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server has so many connections, and each control plane takes a few.
static PLACES: Semaphore = Semaphore::const_new(6);

/// A database of its own.
pub(crate) struct Database {
    pub(crate) url: String,
    kind: DatabaseKind,
}

pub(crate) enum DatabaseKind {
    Sqlite(#[expect(dead_code, reason = "its drop removes the file")] TempDir),
    Postgres { server: String, name: String, _place: SemaphorePermit<'static> },
}

/// A connection beside those of the control plane, for what goes wrong with a database.
pub(crate) enum Hand {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A control plane without its ports.
pub(crate) struct Instance {
    pub(crate) store: Store,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) committer: Committer,
    learning: JoinHandle<()>,
}

/// Makes of each case a test on SQLite and one on Postgres.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::harness::Database::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(database) = $crate::harness::Database::postgres().await {
                        super::$case(database).await;
                    }
                }
            )*
        }
    };
}

pub(crate) use on_both;

// === impl Database ===

impl Database {
    pub(crate) fn sqlite() -> Database {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("portico.db").display());
        Database { url, kind: DatabaseKind::Sqlite(directory) }
    }

    pub(crate) async fn postgres() -> Option<Database> {
        let Ok(server) = std::env::var("PORTICO_TEST_POSTGRES") else {
            let required = std::env::var("PORTICO_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "PORTICO_TEST_REQUIRE_POSTGRES=1, and PORTICO_TEST_POSTGRES names no server");
            eprintln!("left out: PORTICO_TEST_POSTGRES names no server");
            return None;
        };
        let place = PLACES.acquire().await.unwrap();
        let name = format!("portico_{}", uuid::Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&server).await.expect("PORTICO_TEST_POSTGRES has to answer");
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let (base, parameters) = server.split_once('?').unwrap_or((&server, ""));
        let (base, _) = base.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}?{parameters}");
        Some(Database { url, kind: DatabaseKind::Postgres { server, name, _place: place } })
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.kind, DatabaseKind::Postgres { .. })
    }

    /// Its name on the server.
    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            DatabaseKind::Sqlite(_) => panic!("a file has none"),
            DatabaseKind::Postgres { name, .. } => name,
        }
    }

    pub(crate) async fn hand(&self) -> Hand {
        match self.kind {
            DatabaseKind::Sqlite(_) => Hand::Sqlite(SqliteConnection::connect(&self.url).await.unwrap()),
            DatabaseKind::Postgres { .. } => Hand::Postgres(PgConnection::connect(&self.url).await.unwrap()),
        }
    }

    pub(crate) fn kind(&self) -> &DatabaseKind {
        &self.kind
    }

    /// A control plane with other keys than the usual one.
    pub(crate) async fn instance_with(&self, keys: &[&str]) -> Instance {
        open(&self.url, 10_000, keys).await
    }

    pub(crate) async fn instance(&self) -> Instance {
        self.instance_keeping(10_000).await
    }

    pub(crate) async fn instance_keeping(&self, retention: u64) -> Instance {
        open(&self.url, retention, &["k"]).await
    }

    /// One that reaches the database by another way.
    pub(crate) async fn instance_at(&self, url: &str) -> Instance {
        open(url, 10_000, &["k"]).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let DatabaseKind::Postgres { server, name, .. } = &self.kind else { return };
        let (server, name) = (server.clone(), name.clone());
        let dropping = async move {
            let mut connection = PgConnection::connect(&server).await?;
            connection.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await
        };
        // Not on this thread: it is in a runtime already.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(dropping)
        });
        let _ = thread.join();
    }
}

// === impl Hand ===

impl Hand {
    pub(crate) async fn run(&mut self, statements: impl Into<String>) {
        let statements = AssertSqlSafe(statements.into());
        match self {
            Hand::Sqlite(connection) => drop(sqlx::raw_sql(statements).execute(connection).await.unwrap()),
            Hand::Postgres(connection) => drop(sqlx::raw_sql(statements).execute(connection).await.unwrap()),
        }
    }

    pub(crate) async fn count(&mut self, query: &'static str) -> i64 {
        match self {
            Hand::Sqlite(connection) => sqlx::query_scalar(query).fetch_one(connection).await.unwrap(),
            Hand::Postgres(connection) => sqlx::query_scalar(query).fetch_one(connection).await.unwrap(),
        }
    }
}

// === impl Instance ===

impl Instance {
    /// Commits changes that depend on nothing.
    pub(crate) async fn put(&self, resources: impl IntoIterator<Item = Resource>) -> Result<Committed, CommitError> {
        let changes: Vec<Change> = resources.into_iter().map(Change::Put).collect();
        self.commit(Box::new(move |_| Ok(changes.clone()))).await
    }

    pub(crate) async fn delete(&self, key: ResourceKey) -> Result<Committed, CommitError> {
        self.commit(Box::new(move |_| Ok(vec![Change::Delete(key.clone())]))).await
    }

    pub(crate) async fn commit(&self, plan: Plan) -> Result<Committed, CommitError> {
        self.committer.commit(proposal(plan)).await
    }

    /// The head, as soon as it is as wanted.
    pub(crate) async fn head_when(&self, wanted: impl Fn(&Head) -> bool) -> Arc<Head> {
        let mut heads = self.publisher.subscribe();
        let waiting = heads.wait_for(|head| wanted(head));
        let head = tokio::time::timeout(PATIENCE, waiting).await.expect("the head did not come").unwrap();
        head.clone()
    }

    pub(crate) async fn end(self) {
        self.learning.abort();
        self.store.close().await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.learning.abort();
    }
}

/// The keys of these texts; each is made as long as a key has to be.
pub(crate) fn seal(texts: &[&str]) -> Seal {
    let texts: Vec<String> = texts.iter().map(|text| text.repeat(32)).collect();
    Seal::new(texts.iter().map(String::as_str)).unwrap()
}

async fn open(url: &str, retention: u64, keys: &[&str]) -> Instance {
    let store = Store::open(url, retention, seal(keys)).await.unwrap();
    let telemetry = Arc::new(Telemetry::default());
    let publisher = Arc::new(Publisher::open(store.clone(), telemetry.clone()).await.unwrap());
    let committer = Committer::new(store.clone(), publisher.clone(), telemetry, Arc::new(NoNode));
    let learner = publisher.clone();
    let learning = tokio::spawn(async move { learner.run().await });
    Instance { store, publisher, committer, learning }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn proposal(plan: Plan) -> Proposal {
    Proposal { author: Author::inside("test"), reason: None, confirm_shrink: false, idempotency: None, plan }
}

/// A route that answers itself with a body.
pub(crate) fn route(name: &str, body: &str) -> Resource {
    let respond = pb::Respond { body: body.into(), ..Default::default() };
    let path = pb::PathMatch { kind: Some(pb::path_match::Kind::Exact(format!("/{name}"))) };
    let message = pb::Route {
        name: name.into(),
        r#match: Some(pb::Match { path: Some(path), ..Default::default() }),
        action: Some(pb::route::Action::Respond(respond)),
        ..Default::default()
    };
    Resource { key: key(name), payload: message.encode_to_vec().into(), requires: Vec::new() }
}

pub(crate) fn key(name: &str) -> ResourceKey {
    ResourceKey::new(Kind::Route, Name::parse(name).unwrap())
}

/// The body of a route that [`route`] made.
pub(crate) fn body_of(payload: &[u8]) -> String {
    match pb::Route::decode(payload).unwrap().action.unwrap() {
        pb::route::Action::Respond(respond) => respond.body,
        other => panic!("not of `route`: {other:?}"),
    }
}
