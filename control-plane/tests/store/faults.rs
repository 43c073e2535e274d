//! What goes wrong with databases and processes, and what is left standing.

use crate::{
    commits::{assert_history_adds_up, retrying},
    harness::{Database, Hand, key, on_both, proposal, route, seal, until},
};
use control_plane::commit::CommitError;
use proto::resource::Change;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

on_both!(
    a_writer_that_stalls_with_the_lock_is_not_waited_for,
    who_goes_away_leaves_no_half_commit,
    a_process_that_ends_amid_commits_loses_nothing_acknowledged,
    another_instance_learns_without_notifications,
    a_database_restored_to_an_older_revision_gets_a_new_history,
    tables_that_contradict_their_root_are_not_taken_over,
);

async fn a_writer_that_stalls_with_the_lock_is_not_waited_for(database: Database) {
    let instance = database.instance().await;
    instance.put([route("a", "1")]).await.unwrap();
    let mut hand = database.hand().await;
    match &hand {
        Hand::Sqlite(_) => hand.run("begin immediate").await,
        Hand::Postgres(_) => hand.run("begin; select * from head for update").await,
    }
    let started = Instant::now();
    let error = instance.put([route("a", "2")]).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!instance.publisher.stale(), "reads go on");
    hand.run("rollback").await;
    let committed = instance.put([route("a", "2")]).await.unwrap();
    assert_eq!(committed.identity.revision, 2);
}

async fn who_goes_away_leaves_no_half_commit(database: Database) {
    let instance = Arc::new(database.instance().await);
    let mut made = 0;
    for step in 0..40_u64 {
        let task = {
            let instance = instance.clone();
            tokio::spawn(
                async move { instance.put([route("a", &step.to_string()), route("b", &step.to_string())]).await },
            )
        };
        // From before the lock to after the commit.
        tokio::time::sleep(Duration::from_micros(step * 100)).await;
        task.abort();
        made += u64::from(task.await.is_ok());
    }
    // It waits for what is still under way, and stands behind it.
    let last = instance.put([route("last", "1")]).await.unwrap();
    assert!(last.identity.revision > made);
    for revision in 1..last.identity.revision {
        let changes = instance.store.changes(revision - 1, revision).await.unwrap();
        assert_eq!(changes.len(), 2, "revision {revision} has both of its changes");
    }
    assert_history_adds_up(&database, &instance, last.identity.revision).await;
}

async fn a_process_that_ends_amid_commits_loses_nothing_acknowledged(database: Database) {
    let database = Arc::new(database);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..4 {
        let (database, acknowledged) = (database.clone(), acknowledged.clone());
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let instance = Arc::new(runtime.block_on(database.instance()));
            let reached = acknowledged.lock().unwrap().len() + 6;
            for writer in 0..8 {
                let (instance, acknowledged) = (instance.clone(), acknowledged.clone());
                runtime.spawn(async move {
                    for step in 0.. {
                        let name = format!("r-{round}-{writer}-{step}");
                        if instance.put([route(&name, "1")]).await.is_ok() {
                            acknowledged.lock().unwrap().push(name);
                        }
                    }
                });
            }
            runtime.block_on(until("some commits", || acknowledged.lock().unwrap().len() >= reached));
            // Everything ends where it is.
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
    }
    let instance = database.instance().await;
    // It waits for the lock of whatever was left open.
    let last = retrying(&instance, || proposal(Box::new(|_| Ok(vec![Change::Put(route("last", "1"))])))).await;
    for name in acknowledged.lock().unwrap().iter() {
        assert!(last.snapshot.get(&key(name)).is_some(), "{name} was acknowledged");
    }
    assert_history_adds_up(&database, &instance, last.identity.revision).await;
}

async fn another_instance_learns_without_notifications(database: Database) {
    if database.is_postgres() {
        // Ours is found before the one of the system, and tells nobody.
        let mut hand = database.hand().await;
        hand.run("create function public.pg_notify(text, text) returns void language sql as 'select null::void'").await;
        hand.run(
            "do $$ begin execute format(
                 'alter database %I set search_path = public, pg_catalog', current_database()
             ); end $$",
        )
        .await;
    }
    let (one, two) = (database.instance().await, database.instance().await);
    for step in 0..3 {
        let committed = one.put([route("a", &step.to_string())]).await.unwrap();
        let started = Instant::now();
        let head = two.head_when(|head| head.identity == committed.identity).await;
        assert!(started.elapsed() <= Duration::from_millis(1_500), "{:?}", started.elapsed());
        assert_eq!(head.at, committed.at);
    }
}

async fn a_database_restored_to_an_older_revision_gets_a_new_history(database: Database) {
    let (one, two) = (database.instance().await, database.instance().await);
    for step in 0..4 {
        one.put([route("a", &step.to_string()), route(&format!("r-{step}"), "1")]).await.unwrap();
    }
    let before = one.publisher.head();
    two.head_when(|head| head.identity == before.identity).await;
    restore(&database, 2).await;
    let (first, second) = (
        one.head_when(|head| head.identity.revision == 2).await,
        two.head_when(|head| head.identity.revision == 2 && head.identity.history != before.identity.history).await,
    );
    let first = if first.identity.history == second.identity.history {
        first
    } else {
        one.head_when(|head| head.identity == second.identity).await
    };
    assert_ne!(first.identity.history, before.identity.history);
    assert_eq!(first.snapshot.len(), 3);
    assert_eq!(first.snapshot.root(), second.snapshot.root());
    let committed = two.put([route("new", "1")]).await.unwrap();
    assert_eq!((committed.identity.revision, committed.identity.history), (3, first.identity.history));
    one.head_when(|head| head.identity == committed.identity).await;
}

async fn tables_that_contradict_their_root_are_not_taken_over(database: Database) {
    let instance = database.instance().await;
    instance.put([route("a", "1"), route("b", "1")]).await.unwrap();
    let head = instance.publisher.head();
    let mut hand = database.hand().await;
    hand.run("delete from resources where name = 'a'").await;
    let error = control_plane::store::Store::open(&database.url, 10, seal(&["k"])).await.unwrap();
    let telemetry = Arc::new(control_plane::telemetry::Telemetry::default());
    let opened = control_plane::publisher::Publisher::open(error, telemetry).await;
    assert!(opened.is_err_and(|error| error.to_string().contains("root hash")));
    assert_eq!(instance.publisher.head().identity, head.identity);
}

/// Makes the tables those of an earlier revision, as a restored backup would.
async fn restore(database: &Database, revision: u64) {
    let mut hand = database.hand().await;
    hand.run(format!(
        "begin;
         delete from changes where revision > {revision};
         delete from revisions where revision > {revision};
         update head set revision = {revision},
             root = (select root from revisions where revision = {revision}),
             at = (select at from revisions where revision = {revision});
         delete from resources;
         insert into resources (kind, name, payload, requires, spec, revision)
             select kind, name, payload, requires, '{{}}', revision from changes
             where payload is not null and not exists (
                 select 1 from changes as later
                 where later.kind = changes.kind and later.name = changes.name and later.revision > changes.revision
             );
         commit"
    ))
    .await;
}
