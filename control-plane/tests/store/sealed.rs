//! What is secret is sealed wherever it stands in the database.

use crate::harness::{Database, DatabaseKind, on_both, route, seal};
use control_plane::store::{Store, StoreError};
use proto::{
    example::example,
    json,
    resource::{Kind, Resource},
};

on_both!(
    secrets_are_sealed_and_nothing_else_is,
    a_wrong_key_is_refused_at_the_start,
    one_key_follows_another,
    what_was_moved_or_changed_is_not_opened,
);

fn certificate(team: &str) -> Resource {
    let mut value = example(Kind::Certificate);
    value["labels"]["team"] = team.into();
    json::read(Kind::Certificate, &value).unwrap()
}

// How many rows show the key, whether in bytes or in text.
async fn shown(database: &Database) -> i64 {
    let mut hand = database.hand().await;
    let queries = match database.kind() {
        DatabaseKind::Sqlite(_) => [
            "select count(*) from resources where instr(payload, cast('PRIVATE' as blob)) > 0",
            "select count(*) from changes where instr(payload, cast('PRIVATE' as blob)) > 0",
            "select count(*) from resources where instr(spec, 'PRIVATE') > 0 or spec not like '%example%'",
        ],
        DatabaseKind::Postgres { .. } => [
            "select count(*) from resources where position('PRIVATE'::bytea in payload) > 0",
            "select count(*) from changes where position('PRIVATE'::bytea in payload) > 0",
            "select count(*) from resources where spec::text like '%PRIVATE%' or spec::text not like '%example%'",
        ],
    };
    let mut shown = 0;
    for query in queries {
        shown += hand.count(query).await;
    }
    shown
}

async fn secrets_are_sealed_and_nothing_else_is(database: Database) {
    let instance = database.instance().await;
    let committed = instance.put([certificate("a"), route("example", "1")]).await.unwrap();
    instance.put([certificate("b")]).await.unwrap();
    assert_eq!(shown(&database).await, 0);
    let mut hand = database.hand().await;
    assert_eq!(hand.count("select count(*) from changes where sealed_by is not null").await, 2);
    assert_eq!(hand.count("select count(*) from resources where sealed_by is not null").await, 1);
    // What is read is what was written, now and then, by this process and by others.
    let (past, other) = (instance.store.snapshot_at(1).await.unwrap().unwrap(), database.instance().await);
    assert_eq!(past.root(), committed.identity.root);
    let (ours, theirs) = (instance.publisher.head(), other.publisher.head());
    assert_eq!(ours.identity, theirs.identity);
    let kept = theirs.snapshot.get(&certificate("b").key).unwrap();
    assert_eq!(kept.resource.payload, certificate("b").payload);
    other.put([certificate("c")]).await.unwrap();
    instance.put([certificate("d")]).await.unwrap();
}

async fn a_wrong_key_is_refused_at_the_start(database: Database) {
    let instance = database.instance().await;
    // While nothing is sealed, every key is right.
    Store::open(&database.url, 10, seal(&["x"])).await.unwrap();
    instance.put([certificate("a")]).await.unwrap();
    let refused = Store::open(&database.url, 10, seal(&["x"])).await.err().unwrap();
    let StoreError::Refused(reason) = refused else { panic!("{refused}") };
    assert!(reason.contains("which is not here") && reason.contains("--secret-key-file"), "{reason}");
}

async fn one_key_follows_another(database: Database) {
    let instance = database.instance().await;
    let old = instance.put([certificate("a")]).await.unwrap();
    instance.end().await;
    let instance = database.instance_with(&["n", "k"]).await;
    assert_eq!(instance.publisher.head().identity, old.identity);
    instance.put([certificate("b")]).await.unwrap();
    assert!(instance.store.snapshot_at(1).await.unwrap().is_some());
    let mut hand = database.hand().await;
    assert_eq!(hand.count("select count(distinct sealed_by) from changes").await, 2);
    // The history still has what the old one sealed.
    assert!(Store::open(&database.url, 10, seal(&["n"])).await.is_err());
    hand.run("delete from changes where revision = 1").await;
    Store::open(&database.url, 10, seal(&["n"])).await.unwrap();
}

async fn what_was_moved_or_changed_is_not_opened(database: Database) {
    let instance = database.instance().await;
    instance.put([certificate("a")]).await.unwrap();
    let mut hand = database.hand().await;
    hand.run("update changes set name = 'other'").await;
    let error = instance.store.snapshot_at(1).await.err().unwrap();
    assert!(error.to_string().contains("stands in another's place"), "{error}");
}
