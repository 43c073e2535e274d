//! How configuration reaches nodes, through the ports of a whole control plane.

use crate::{
    front::{Admin, JOIN_TOKEN, NoNode, Node, Running, Told},
    harness::{Database, Hand, PATIENCE, on_both},
};
use http::StatusCode;
use proto::{
    identity::{Identity, hex},
    pb::node_message,
};
use sqlx::Connection;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::Code;

on_both!(
    a_write_reaches_a_node_and_the_answer_waits_for_it,
    a_node_with_a_revision_above_the_head_renews_the_history,
    a_restart_finds_nodes_in_sync,
);

async fn a_write_reaches_a_node_and_the_answer_waits_for_it(database: Database) {
    let running = Running::ready(&database).await;
    let mut node = running.node("node-1", None).await;
    let (empty, snapshot) = node.whole().await;
    assert_eq!((empty.revision, snapshot.len()), (0, 0));
    node.runs(&empty).await;
    let obedient = tokio::spawn(async move {
        let (identity, snapshot) = node.whole().await;
        node.runs(&identity).await;
        (identity, snapshot, node)
    });
    let answer = running.admin().await.put("a", "1", "?wait=all").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.headers["portico-revision"], "1");
    let (identity, snapshot, _node) = obedient.await.unwrap();
    assert_eq!((identity.revision, snapshot.len()), (1, 1));
    let status = running.admin().await.get("/v1/nodes/node-1").await.body;
    assert_eq!(status["running"]["root"], hex(&identity.root));
    assert_eq!((&status["live"], &status["running"]["persisted"]), (&true.into(), &true.into()));
    running.stop().await;
}

async fn a_node_with_a_revision_above_the_head_renews_the_history(database: Database) {
    let running = Running::ready(&database).await;
    running.admin().await.put("a", "1", "").await;
    let mut bystander = running.node("bystander", None).await;
    let (before, _) = bystander.whole().await;
    bystander.runs(&before).await;
    // What it has was lost when the database was restored.
    let mut ahead = running.node("ahead", Some(Identity { revision: 7, ..before })).await;
    let (after, snapshot) = ahead.whole().await;
    assert_ne!(after.history, before.history);
    assert_eq!((after.revision, after.root, snapshot.len()), (before.revision, before.root, 1));
    let (anew, _) = bystander.whole().await;
    assert_eq!(anew, after, "every node takes it anew");
    // The same revision with another root is no different, but not again at once.
    let mut other = running.node("other", Some(Identity { root: [9; 32], ..before })).await;
    assert_eq!(other.whole().await.0, after, "of a history that is over nothing is proven");
}

async fn a_restart_finds_nodes_in_sync(database: Database) {
    let running = Running::ready(&database).await;
    running.admin().await.put("a", "1", "").await;
    let mut node = running.node("node", None).await;
    let (identity, _) = node.whole().await;
    node.runs(&identity).await;
    running.stop().await;
    assert!(node.told().await.is_err(), "the stream ends with the control plane");
    let running = Running::ready(&database).await;
    let mut node = running.node("node", Some(identity)).await;
    assert!(matches!(node.told().await.unwrap(), Told::InSync(head) if head == identity));
}

#[tokio::test]
async fn a_node_without_the_token_is_turned_away() {
    let running = Running::ready(&Database::sqlite()).await;
    for token in ["", "wrong", "join-token-of-a-cas", "join-token-of-a-case2"] {
        let status = Node::join(running.discovery, token, "node", None).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{token:?}");
    }
    let nodes = running.admin().await.get("/v1/nodes").await.body;
    assert_eq!(nodes["nodes"], serde_json::json!([]));
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_proper_hello_ends() {
    let running = Running::ready(&Database::sqlite()).await;
    let heartbeat = node_message::Message::Heartbeat(Default::default());
    let mut node = Node::begin(running.discovery, JOIN_TOKEN, heartbeat).await.unwrap();
    assert_eq!(node.told().await.unwrap_err().code(), Code::InvalidArgument);
    let long = "x".repeat(65);
    for id in ["", "two words", "line\nfeed", &long] {
        let mut node = running.node(id, None).await;
        assert_eq!(node.told().await.unwrap_err().code(), Code::InvalidArgument, "{id:?}");
    }
}

#[tokio::test]
async fn a_node_that_lags_gets_the_newest_and_nothing_between() {
    let running = Running::ready(&Database::sqlite()).await;
    let mut admin = running.admin().await;
    let mut node = running.node("node", None).await;
    let (empty, _) = node.whole().await;
    node.runs(&empty).await;
    admin.put("a", "1", "").await;
    let (first, _) = node.whole().await;
    assert_eq!(first.revision, 1);
    for step in 2..=20 {
        admin.put("a", &step.to_string(), "").await;
    }
    node.runs(&first).await;
    let (next, _) = node.whole().await;
    assert_eq!(next.revision, 20, "one configuration is under way at a time, then the newest");
}

#[tokio::test]
async fn a_refused_configuration_is_told_of_and_not_sent_again() {
    let running = Running::ready(&Database::sqlite()).await;
    let mut admin = running.admin().await;
    let mut node = running.node("node", None).await;
    let (empty, _) = node.whole().await;
    node.runs(&empty).await;
    let refusing = tokio::spawn(async move {
        let (first, _) = node.whole().await;
        node.refuses(&first, "route/a", "does not suit").await;
        node
    });
    let started = Instant::now();
    let answer = admin.put("a", "1", "?wait=all").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "nobody waits for what was refused");
    let lagging = &answer.body["wait"]["lagging"][0]["refused"];
    assert_eq!(lagging["errors"][0]["resource"], "route/a");
    assert_eq!(lagging["errors"][0]["detail"], "does not suit");
    let mut node = refusing.await.unwrap();
    admin.put("a", "2", "").await;
    let (second, _) = node.whole().await;
    assert_eq!(second.revision, 2);
    node.runs(&second).await;
    let answer = admin.put("a", "2", "?wait=all").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(admin.get("/v1/nodes/node").await.body["refused"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_newer_stream_of_a_node_ends_the_older() {
    let running = Running::ready(&Database::sqlite()).await;
    let mut older = running.node("node", None).await;
    older.whole().await;
    let mut newer = running.node("node", None).await;
    assert_eq!(older.told().await.unwrap_err().code(), Code::Aborted);
    let (identity, _) = newer.whole().await;
    newer.runs(&identity).await;
    let answer = running.admin().await.put("a", "1", "?wait=all&timeout=1ms").await;
    assert_eq!(answer.body["wait"]["live"], 1, "{answer:?}");
}

#[tokio::test]
async fn without_nodes_there_is_nothing_to_wait_for() {
    let running = Running::ready(&Database::sqlite()).await;
    let started = Instant::now();
    let answer = running.admin().await.put("a", "1", "?wait=all").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_second_control_plane_on_one_data_directory_is_refused() {
    use clap::Parser;
    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        settings: control_plane::settings::Settings,
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let parse = |more: &[&str]| {
        let listen = ["x", "--data-dir", path, "--admin-listen", "127.0.0.1:0", "--discovery-listen"];
        CommandLine::parse_from(listen.iter().chain(more)).settings
    };
    let first = control_plane::app::build(parse(&["127.0.0.1:0"]), Arc::new(NoNode), Arc::new(NoNode)).await.unwrap();
    let error =
        control_plane::app::build(parse(&["127.0.0.1:0"]), Arc::new(NoNode), Arc::new(NoNode)).await.err().unwrap();
    assert!(error.to_string().contains("another control plane runs on"), "{error}");
    drop(first);
    let again = control_plane::app::build(parse(&["127.0.0.1:0"]), Arc::new(NoNode), Arc::new(NoNode)).await.unwrap();
    assert!(again.admin_token_source().contains("admin.token"));
    drop(again);
    let error =
        control_plane::app::build(parse(&["0.0.0.0:0"]), Arc::new(NoNode), Arc::new(NoNode)).await.err().unwrap();
    assert!(error.to_string().contains("--insecure-cleartext"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_late_is_waited_for() {
    let Some(database) = Database::postgres().await else { return };
    let admin = std::env::var("PORTICO_TEST_POSTGRES").unwrap();
    let mut hand = Hand::Postgres(sqlx::PgConnection::connect(&admin).await.unwrap());
    let name = database.name();
    hand.run(format!("alter database {name} with allow_connections false")).await;
    let running = Running::start(&database).await;
    let mut client = Admin::connect(running.admin).await;
    assert_eq!(client.get("/livez").await.status, StatusCode::OK);
    let answer = client.get("/v1/routes").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    hand.run(format!("alter database {name} with allow_connections true")).await;
    tokio::time::timeout(PATIENCE, running.until_ready()).await.unwrap();
    running.stop().await;
}
