//! Two control planes on one database tell one truth of their nodes.

use crate::{
    front::{Admin, Answer, JOIN_TOKEN, Node, Running},
    harness::{Database, Hand, PATIENCE, on_both},
};
use http::StatusCode;
use proto::{
    identity::Identity,
    pb::{self, node_message},
};
use serde_json::Value;
use sqlx::Connection;
use std::time::{Duration, Instant};

on_both!(
    a_wait_is_for_the_nodes_of_all_control_planes,
    a_refusal_at_another_control_plane_ends_a_wait_and_is_told_in_full,
    a_node_that_moves_is_told_of_once_and_as_its_newest_stream_has_it,
    nodes_of_a_control_plane_that_ended_are_told_of_by_the_other,
    that_a_node_was_seen_is_told_to_the_other,
    whatever_a_node_says_of_itself_is_told_by_the_other,
);

struct Pair {
    a: Running,
    b: Running,
}

impl Pair {
    async fn start(database: &Database) -> Pair {
        Pair { a: Running::ready(database).await, b: Running::ready(database).await }
    }

    async fn admins(&self) -> [Admin; 2] {
        [self.a.admin().await, self.b.admin().await]
    }
}

/// A node that has taken what there is.
async fn settled(plane: &Running, id: &str) -> (Node, Identity) {
    let mut node = plane.node(id, None).await;
    let (identity, _) = node.whole().await;
    node.runs(&identity).await;
    (node, identity)
}

/// Asks until the answer is as wanted.
async fn until(admin: &mut Admin, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let started = Instant::now();
    loop {
        let answer = admin.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn ids(nodes: &Value) -> Vec<&str> {
    nodes.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

async fn a_wait_is_for_the_nodes_of_all_control_planes(database: Database) {
    let pair = Pair::start(&database).await;
    let [mut at_a, mut at_b] = pair.admins().await;
    let (mut first, _) = settled(&pair.a, "n-1").await;
    let (mut second, _) = settled(&pair.b, "n-2").await;
    for admin in [&mut at_a, &mut at_b] {
        until(admin, "/v1/nodes", |answer| {
            ids(&answer.body["nodes"]) == ["n-1", "n-2"]
                && answer.body["nodes"].as_array().unwrap().iter().all(|node| node["running"]["revision"] == 0)
        })
        .await;
    }

    let obedient = tokio::spawn(async move {
        loop {
            let (identity, _) = first.whole().await;
            first.runs(&identity).await;
        }
    });
    let answer = at_a.put("a", "1", "?wait=all&timeout=300ms").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "the node of the other control plane does not run it: {answer:?}");
    assert_eq!(answer.headers["portico-wait"], "not-reached; running=1; live=2");
    let wait = &answer.body["wait"];
    assert_eq!((ids(&wait["lagging"]), &wait["stale"]), (vec!["n-2"], &false.into()));
    let name = wait["lagging"][0]["control_plane"].as_str().unwrap();
    assert!(name.ends_with(&format!(":{}", pair.b.discovery.port())), "{name}");

    for (share, status) in [("50%25", StatusCode::OK), ("n:2", StatusCode::ACCEPTED), ("100%25", StatusCode::ACCEPTED)]
    {
        let answer = at_a.put("a", "1", &format!("?wait={share}&timeout=100ms")).await;
        assert_eq!(answer.status, status, "{share}: {answer:?}");
    }
    // As soon as it runs there, it is known here.
    let waiting = tokio::spawn(async move { at_a.put("a", "1", "?wait=all&timeout=20s").await });
    let (identity, _) = second.whole().await;
    second.runs(&identity).await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        (answer.status, &answer.headers["portico-wait"]),
        (StatusCode::OK, &"reached; running=2; live=2".parse().unwrap())
    );
    obedient.abort();
}

async fn a_refusal_at_another_control_plane_ends_a_wait_and_is_told_in_full(database: Database) {
    let pair = Pair::start(&database).await;
    let [mut at_a, _] = pair.admins().await;
    let (mut node, _) = settled(&pair.b, "n").await;
    until(&mut at_a, "/v1/nodes/n", |answer| answer.status == StatusCode::OK).await;
    let refusing = tokio::spawn(async move {
        let (identity, _) = node.whole().await;
        node.refuses(&identity, "route/a", "does not suit").await;
        node
    });
    let started = Instant::now();
    let answer = at_a.put("a", "1", "?wait=all&timeout=20s").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "nobody waits for what was refused");
    let fault = &answer.body["wait"]["lagging"][0]["refused"]["errors"][0];
    assert_eq!((&fault["resource"], &fault["detail"]), (&"route/a".into(), &"does not suit".into()));
    let node = at_a.get("/v1/nodes/n").await.body;
    assert_eq!(node["refused"]["errors"][0]["pointer"], "/match");
    drop(refusing.await.unwrap());
}

async fn a_node_that_moves_is_told_of_once_and_as_its_newest_stream_has_it(database: Database) {
    let pair = Pair::start(&database).await;
    let mut admins = pair.admins().await;
    let at = |plane: &Running| format!(":{}", plane.discovery.port());
    let is_at = |answer: &Answer, port: &str| {
        answer.body["nodes"][0]["control_plane"].as_str().is_some_and(|name| name.ends_with(port))
    };
    let (stream, identity) = settled(&pair.a, "n").await;
    let mut streams = vec![stream];
    for plane in [&pair.a, &pair.b, &pair.a, &pair.b] {
        for admin in &mut admins {
            let told = until(admin, "/v1/nodes", |answer| is_at(answer, &at(plane))).await;
            assert_eq!(ids(&told.body["nodes"]), ["n"]);
            let node = &told.body["nodes"][0];
            assert_eq!((&node["connected"], &node["live"]), (&true.into(), &true.into()));
        }
        // The end of an older stream changes nothing.
        let other = if std::ptr::eq(plane, &pair.a) { &pair.b } else { &pair.a };
        streams.truncate(1);
        // The older one still stands then, as one does that nobody has noticed to be dead.
        streams.insert(0, other.node("n", Some(identity)).await);
    }
    let answer = admins[0].put("a", "1", "?wait=all&timeout=100ms").await;
    assert_eq!(answer.headers["portico-wait"], "not-reached; running=0; live=1");
}

async fn nodes_of_a_control_plane_that_ended_are_told_of_by_the_other(database: Database) {
    let Pair { a, b } = Pair::start(&database).await;
    let (mut node, _) = settled(&b, "n").await;
    let mut admin = a.admin().await;
    until(&mut admin, "/v1/nodes/n", |answer| answer.body["connected"] == true).await;
    b.stop().await;
    assert!(node.told().await.is_err(), "the stream ends with the control plane");
    // That it ended was written with the last breath; the node may come back and is not given up.
    let told = until(&mut admin, "/v1/nodes/n", |answer| answer.body["connected"] == false).await;
    assert_eq!(told.body["live"], true);
    let answer = admin.put("a", "1", "?wait=all&timeout=50ms").await;
    assert_eq!(ids(&answer.body["wait"]["lagging"]), ["n"], "{answer:?}");
}

async fn that_a_node_was_seen_is_told_to_the_other(database: Database) {
    let pair = Pair::start(&database).await;
    let (node, _) = settled(&pair.b, "n").await;
    let mut admin = pair.a.admin().await;
    let last_seen = |answer: &Answer| {
        let text = answer.body["last_seen"].as_str()?;
        Some(time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap())
    };
    let told = until(&mut admin, "/v1/nodes/n", |answer| answer.body["running"]["revision"] == 0).await;
    let before = last_seen(&told).unwrap();
    // Ages are counted anew each time, so a little later is not seen later.
    let later = |answer: &Answer| last_seen(answer).unwrap() > before + Duration::from_millis(500);
    let started = Instant::now();
    while !later(&admin.get("/v1/nodes/n").await) {
        assert!(started.elapsed() < PATIENCE);
        let heartbeat = node_message::Message::Heartbeat(pb::NodeHeartbeat::default());
        node.say.send(pb::NodeMessage { message: Some(heartbeat) }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn whatever_a_node_says_of_itself_is_told_by_the_other(database: Database) {
    let pair = Pair::start(&database).await;
    let labels = [("zo\0ne", "\u{fffd}\"'\\"), ("", "\u{1f}\u{7f}\r\n")];
    let hello = pb::Hello {
        node_id: "'\";--\\%_".into(),
        build: "1\0".repeat(100),
        labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
        status_address: "\0".into(),
        ..Default::default()
    };
    let hello = node_message::Message::Hello(hello);
    let mut node = Node::begin(pair.b.discovery, JOIN_TOKEN, hello).await.unwrap();
    let (identity, _) = node.whole().await;
    node.refuses(&identity, "route/a", "\0\u{10ffff}").await;
    let mut admins = pair.admins().await;
    let mut told = Vec::new();
    for admin in &mut admins {
        let refused = |answer: &Answer| !answer.body["nodes"][0]["refused"].is_null();
        told.push(until(admin, "/v1/nodes", refused).await.body["nodes"][0].clone());
    }
    for member in ["id", "control_plane", "build", "labels", "peer", "status_address"] {
        assert_eq!(told[0][member], told[1][member]);
    }
    assert_eq!(told[0]["refused"]["errors"], told[1]["refused"]["errors"]);
    assert_eq!(told[0]["refused"]["errors"][0]["detail"], "\0\u{10ffff}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_during_which_the_database_goes_away_promises_nothing() {
    let Some(database) = Database::postgres().await else { return };
    let pair = Pair::start(&database).await;
    let [mut at_a, _] = pair.admins().await;
    let (mut here, _) = settled(&pair.a, "n-1").await;
    let (mut there, _) = settled(&pair.b, "n-2").await;
    until(&mut at_a, "/v1/nodes", |answer| ids(&answer.body["nodes"]) == ["n-1", "n-2"]).await;
    let mut hand =
        Hand::Postgres(sqlx::PgConnection::connect(&std::env::var("PORTICO_TEST_POSTGRES").unwrap()).await.unwrap());
    let name = database.name();

    let waiting = tokio::spawn(async move {
        let answer = at_a.put("a", "1", "?wait=all&timeout=3s").await;
        (answer, at_a)
    });
    let (identity, _) = here.whole().await;
    there.whole().await;
    hand.run(format!("alter database {name} with allow_connections false")).await;
    hand.run(format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await;
    // All run it, and of one of them nobody can know.
    here.runs(&identity).await;
    there.runs(&identity).await;
    let (answer, mut at_a) = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.headers["portico-wait"], "not-reached; running=1; live=2");
    assert_eq!((&answer.body["wait"]["stale"], ids(&answer.body["wait"]["lagging"])), (&true.into(), vec!["n-2"]));
    let told = at_a.get("/v1/nodes").await;
    assert_eq!((told.status, told.headers["portico-stale"].as_bytes()), (StatusCode::OK, &b"true"[..]));
    assert_eq!(ids(&told.body["nodes"]), ["n-1", "n-2"]);

    hand.run(format!("alter database {name} with allow_connections true")).await;
    // What was reported meanwhile is written when it can be.
    until(&mut at_a, "/v1/nodes/n-2", |answer| {
        answer.body["running"]["revision"] == 1 && !answer.headers.contains_key("portico-stale")
    })
    .await;
    let answer = at_a.put("a", "1", "?wait=all").await;
    assert_eq!(answer.headers["portico-wait"], "reached; running=2; live=2");
}
