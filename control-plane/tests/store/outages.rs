//! Postgres away, silent, or gone amid a commit.

use crate::{
    commits::{assert_history_adds_up, retrying},
    harness::{Database, Hand, PATIENCE, key, proposal, route, until},
    meddler::{Meddler, Meddling},
};
use control_plane::commit::CommitError;
use proto::resource::Change;
use sqlx::Connection;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_tells_its_revision_to_who_listens() {
    let Some(database) = Database::postgres().await else { return };
    let instance = database.instance().await;
    let mut listener = sqlx::postgres::PgListener::connect(&database.url).await.unwrap();
    listener.listen("portico_revision").await.unwrap();
    instance.put([route("a", "1")]).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, listener.recv()).await.unwrap().unwrap();
    assert_eq!(told.payload(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_cost_no_acknowledged_write() {
    let Some(database) = Database::postgres().await else { return };
    let instance = Arc::new(database.instance().await);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (instance, acknowledged) = (instance.clone(), acknowledged.clone());
        writers.spawn(async move {
            for step in 0.. {
                let name = format!("r-{writer}-{step}");
                if instance.put([route(&name, "1")]).await.is_ok() {
                    acknowledged.lock().unwrap().push(name);
                }
            }
        });
    }
    let mut hand = database.hand().await;
    for round in 1..=15 {
        until("some commits", || acknowledged.lock().unwrap().len() >= round * 5).await;
        hand.run(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    }
    writers.shutdown().await;
    let last = retrying(&instance, || proposal(Box::new(|_| Ok(vec![Change::Put(route("last", "1"))])))).await;
    for name in acknowledged.lock().unwrap().iter() {
        assert!(last.snapshot.get(&key(name)).is_some(), "{name} was acknowledged");
    }
    assert_history_adds_up(&database, &instance, last.identity.revision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_cut_off_from_the_server_is_stale_and_refuses_writes_in_time() {
    let Some(database) = Database::postgres().await else { return };
    let instance = Arc::new(database.instance().await);
    let committed = instance.put([route("a", "1")]).await.unwrap();
    let admin = std::env::var("PORTICO_TEST_POSTGRES").unwrap();
    let mut hand = Hand::Postgres(sqlx::PgConnection::connect(&admin).await.unwrap());
    let name = database.name();
    hand.run(format!("alter database {name} with allow_connections false")).await;
    hand.run(format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await;
    let started = Instant::now();
    let error = instance.put([route("a", "2")]).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    until("stale", || instance.publisher.stale()).await;
    assert_eq!(instance.publisher.head().identity, committed.identity, "reads go on from memory");
    hand.run(format!("alter database {name} with allow_connections true")).await;
    until("fresh again", || !instance.publisher.stale()).await;
    assert!(instance.put([route("a", "2")]).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_not_waited_for() {
    let Some(database) = Database::postgres().await else { return };
    let meddler = Meddler::before(&database).await;
    let instance = Arc::new(database.instance_at(&meddler.url).await);
    let committed = instance.put([route("a", "1")]).await.unwrap();
    meddler.set(Meddling::Silence);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let instance = instance.clone();
        writers.spawn(async move {
            let started = Instant::now();
            let error = instance.put([route("a", &format!("other {writer}"))]).await.unwrap_err();
            assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
            started.elapsed()
        });
    }
    let slowest = writers.join_all().await.into_iter().max().unwrap();
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    until("stale", || instance.publisher.stale()).await;
    assert_eq!(instance.publisher.head().identity, committed.identity, "reads go on from memory");
    meddler.set(Meddling::Off);
    until("fresh again", || !instance.publisher.stale()).await;
    let propose = || proposal(Box::new(|_| Ok(vec![Change::Put(route("a", "after"))])));
    assert_eq!(retrying(&instance, propose).await.identity.history, committed.identity.history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_lost_on_the_way_is_not_acknowledged() {
    let Some(database) = Database::postgres().await else { return };
    let meddler = Meddler::before(&database).await;
    let instance = database.instance_at(&meddler.url).await;
    meddler.set(Meddling::LoseCommit);
    let error = instance.put([route("a", "1")]).await.unwrap_err();
    assert!(meddler.is(Meddling::Off), "it was lost");
    assert!(error.to_string().contains("was not made"), "{error}");
    assert_eq!(database.hand().await.count("select count(*) from revisions").await, 1);
    assert_eq!(instance.put([route("a", "1")]).await.unwrap().identity.revision, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_to_stand() {
    let Some(database) = Database::postgres().await else { return };
    let meddler = Meddler::before(&database).await;
    let instance = database.instance_at(&meddler.url).await;
    meddler.set(Meddling::LoseAnswer);
    let committed = instance.put([route("a", "1")]).await.unwrap();
    assert!(meddler.is(Meddling::Off), "the answer was lost");
    assert!(committed.changed);
    assert_eq!(instance.publisher.head().identity, committed.identity);
    assert_history_adds_up(&database, &instance, 1).await;
}
