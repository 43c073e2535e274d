//! API keys in the database: their digests, and the pepper sealed.

use crate::{
    front::{Admin, Running},
    harness::{Database, DatabaseKind, on_both},
};
use http::Method;
use serde_json::{Value, json};
use std::io::Write;
use tempfile::NamedTempFile;

on_both!(a_key_is_nowhere_in_the_database_and_opens_after_a_restart, racing_exchanges_all_stand);

// With the key that instances have.
fn key_file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all("k".repeat(32).as_bytes()).unwrap();
    file
}

async fn start(database: &Database, key_file: &NamedTempFile) -> Running {
    let path = key_file.path().to_str().unwrap();
    let running = Running::listening(database, "127.0.0.1:0", &["--secret-key-file", path]).await;
    running.until_ready().await;
    running
}

async fn make(admin: &mut Admin, path: &str, body: Value) -> String {
    let answer = admin.call(Method::POST, path, Some(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["key"].as_str().unwrap().to_owned()
}

// How many rows show a key, whether in bytes or in text.
async fn shown(database: &Database) -> i64 {
    let mut hand = database.hand().await;
    let queries = match database.kind() {
        DatabaseKind::Sqlite(_) => [
            "select count(*) from resources where instr(payload, cast('ptk_' as blob)) > 0",
            "select count(*) from changes where instr(payload, cast('ptk_' as blob)) > 0",
            "select count(*) from resources where instr(spec, 'ptk_') > 0",
        ],
        DatabaseKind::Postgres { .. } => [
            "select count(*) from resources where position('ptk_'::bytea in payload) > 0",
            "select count(*) from changes where position('ptk_'::bytea in payload) > 0",
            "select count(*) from resources where position('ptk_' in spec::text) > 0",
        ],
    };
    let mut shown = 0;
    for query in queries {
        shown += hand.count(query).await;
    }
    shown
}

async fn a_key_is_nowhere_in_the_database_and_opens_after_a_restart(database: Database) {
    let key_file = key_file();
    let first = start(&database, &key_file).await;
    let mut admin = first.admin().await;
    assert_eq!(admin.call(Method::PUT, "/v1/consumers/acme", Some(json!({}))).await.status, 201);
    let key = make(&mut admin, "/v1/consumers/acme/credentials", json!({"id": "one"})).await;
    assert!(key.starts_with("ptk_"));
    assert_eq!(shown(&database).await, 0);
    let mut hand = database.hand().await;
    let sealed = "select count(*) from resources where kind = 'keyring' and sealed_by is not null";
    assert_eq!(hand.count(sealed).await, 1);
    first.stop().await;

    let instance = database.instance().await;
    let head = instance.publisher.head();
    let found = head.snapshot.directory().find(key.as_bytes()).expect("the key is known");
    assert_eq!((found.consumer.name.as_str(), found.consumer.credential_id(found.at)), ("acme", "one"));
    assert!(head.snapshot.directory().find(b"ptk_another").is_none());
}

async fn racing_exchanges_all_stand(database: Database) {
    let key_file = key_file();
    let (one, other) = (start(&database, &key_file).await, start(&database, &key_file).await);
    let mut admin = one.admin().await;
    assert_eq!(admin.call(Method::PUT, "/v1/consumers/acme", Some(json!({}))).await.status, 201);
    let mut racing = tokio::task::JoinSet::new();
    for at in 0..8 {
        let mut admin = if at % 2 == 0 { one.admin().await } else { other.admin().await };
        racing.spawn(async move { make(&mut admin, "/v1/consumers/acme/credentials", json!({})).await });
    }
    let keys = racing.join_all().await;
    let instance = database.instance().await;
    let head = instance.publisher.head();
    assert_eq!(head.snapshot.directory().len(), 8);
    assert!(keys.iter().all(|key| head.snapshot.directory().find(key.as_bytes()).is_some()), "one pepper for all");
}
