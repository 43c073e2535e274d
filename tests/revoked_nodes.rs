//! Nodes that are not let in any more, and ids that are taken.

use crate::{
    harness::{
        stack::Node,
        wait::{PATIENCE, eventually, within},
    },
    secure_planes::Secure,
};
use serde_json::Value;
use std::{fs, time::Duration};

fn id(node: &Node) -> String {
    fs::read_to_string(node.state().join("node-id")).unwrap().trim().to_owned()
}

/// What the control plane knows of a node.
fn known(secure: &Secure, id: &str) -> Option<Value> {
    let output = secure.portico(&["nodes", "-o", "json"]);
    let nodes: Value = serde_json::from_slice(&output.stdout).ok()?;
    nodes["nodes"].as_array()?.iter().find(|node| node["id"] == id).cloned()
}

#[track_caller]
fn succeeds(secure: &Secure, arguments: &[&str]) -> String {
    let output = secure.portico(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_revoked_node_is_let_go_and_comes_back_when_it_is_admitted_again() {
    let secure = Secure::start(&[]);
    let (mut node, mut other) = (secure.node(), secure.node());
    node.restart();
    other.restart();
    secure.route("a");
    let id = id(&node);
    succeeds(&secure, &["nodes", "revoke", &id]);
    within(Duration::from_secs(5), "the stream of the node has ended", || {
        let known = known(&secure, &id)?;
        (known["connected"] == false && known["revoked"] == true && known["live"] == false).then_some(())
    });
    eventually("the node knows why", || node.log().contains("this node is revoked").then_some(()));
    assert!(succeeds(&secure, &["nodes"]).lines().any(|line| line.contains(&id) && line.contains("revoked")));

    // Neither its certificate nor the join token lets it in; others are, and it goes on with what it has.
    node.kill();
    node.spawn();
    eventually("it is refused", || (secure.log().matches("a revoked node").count() >= 2).then_some(()));
    fs::remove_file(node.state().join("credential.pem")).unwrap();
    node.kill();
    node.spawn();
    eventually("it may not join", || secure.log().contains("a revoked node may not join").then_some(()));
    // A change waits for all nodes that are live, and for this one no longer.
    secure.route("b");
    assert_eq!(other.get("/b").text(), "b");
    assert_eq!(node.get("/a").text(), "a");
    assert_eq!(node.get("/b").status, 404);

    succeeds(&secure, &["nodes", "readmit", &id]);
    within(PATIENCE * 2, "it is back", || (node.get("/b").text() == "b").then_some(()));
    let audit = succeeds(&secure, &["audit", "--resource", "node"]);
    assert!(
        audit.contains(&format!("readmitted node/{id}")) && audit.contains(&format!("revoked node/{id}")),
        "{audit}"
    );
}

#[test]
fn nobody_joins_under_the_id_of_a_node_that_is_there() {
    let secure = Secure::start(&[]);
    let mut node = secure.node();
    node.restart();
    secure.route("a");
    let id = id(&node);

    let mut thief = secure.node();
    fs::create_dir_all(thief.state()).unwrap();
    fs::copy(node.state().join("node-id"), thief.state().join("node-id")).unwrap();
    thief.spawn();
    eventually("the other one is told", || thief.log().contains("give it a data directory of its own").then_some(()));
    assert!(secure.log().contains("may not join under the id of another one"), "{}", secure.log());
    assert!(!thief.is_ready() && known(&secure, &id).unwrap()["connected"] == true);
    secure.route("b");
    assert_eq!(node.get("/b").text(), "b");

    // The way out: the one that was there is gone.
    node.kill();
    within(PATIENCE * 2, "the other one takes its place", || thief.is_ready().then_some(()));
    secure.route("c");
    assert_eq!(thief.get("/c").text(), "c");
}
