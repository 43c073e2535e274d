//! A configuration that was changed on its way is refused by the node, which says why and goes on with the one before.

use crate::harness::{
    meddler::Meddler,
    stack::{ControlPlane, Node},
    upstream::Upstream,
    wait::eventually,
};
use proto::pb::{ControlMessage, SnapshotChunk, control_message::Message};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Runs a node behind a man in the middle, who from some moment on does this to every piece of a configuration, and
/// returns what the node says of it.
fn refusal(meddle: impl Fn(&mut SnapshotChunk) + Send + Sync + 'static) -> String {
    let control_plane = ControlPlane::start();
    let evil = Arc::new(AtomicBool::new(false));
    let is_evil = evil.clone();
    let meddler = Meddler::start(control_plane.discovery, move |message: &mut ControlMessage| {
        if let Some(Message::Snapshot(chunk)) = &mut message.message
            && is_evil.load(Ordering::Acquire)
        {
            meddle(chunk);
        }
    });
    let mut node = Node::of(&["--control-plane", &format!("http://{}", meddler.address)]);
    node.restart();
    let echo = Upstream::echo("good");
    control_plane.admin.route("orders", "/orders", echo.address);
    assert_eq!(node.get("/orders").json()["upstream"], "good");

    evil.store(true, Ordering::Release);
    let body = json!({"match": {"path": {"exact": "/evil"}}, "respond": {}});
    let lags = control_plane.admin.put("/v1/routes/evil?wait=all&timeout=1s", &body);
    assert_eq!(lags.status, 202, "{}", lags.text());
    let node_status = eventually("the node's refusal is in GET /v1/nodes", || {
        let nodes = control_plane.admin.get("/v1/nodes");
        nodes["nodes"].as_array()?.iter().find(|node| node["refused"].is_object()).cloned()
    });
    assert_eq!((&node_status["running"]["revision"], &node_status["refused"]["revision"]), (&json!(2), &json!(3)));
    assert_eq!(node.get("/evil").status, 404);
    assert_eq!(node.get("/orders").json()["upstream"], "good");

    // What was refused is no obstacle to what comes next.
    evil.store(false, Ordering::Release);
    let body = json!({"match": {"path": {"exact": "/good"}}, "respond": {}});
    assert_ne!(control_plane.admin.put("/v1/routes/good?wait=all", &body).status, 202);
    assert_eq!((node.get("/good").status, node.get("/evil").status), (200, 200));
    let nodes = control_plane.admin.get("/v1/nodes");
    assert_eq!(nodes["nodes"][0]["refused"], Value::Null, "{nodes:#}");

    let errors = node_status["refused"]["errors"].as_array().unwrap().clone();
    errors.iter().filter_map(|error| error["detail"].as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_flipped_byte_is_refused() {
    let why = refusal(|chunk| {
        for resource in chunk.resources.iter_mut().filter(|resource| resource.name == "evil") {
            // Within the path `/evil`, so that it still is a message.
            let mut payload = resource.payload.to_vec();
            let at = payload.windows(5).position(|window| window == b"/evil").unwrap();
            payload[at + 1] ^= 1;
            resource.payload = payload.into();
        }
    });
    assert!(why.contains("root"), "{why}");
}

#[test]
fn a_wrong_root_is_refused() {
    let why = refusal(|chunk| {
        if let Some(identity) = &mut chunk.identity {
            let mut root = identity.root.to_vec();
            root[0] ^= 1;
            identity.root = root.into();
        }
    });
    assert!(why.contains("root"), "{why}");
}

#[test]
fn a_missing_resource_is_refused() {
    let why = refusal(|chunk| chunk.resources.retain(|resource| resource.name != "evil"));
    assert!(why.contains("root"), "{why}");
}

#[test]
fn a_resource_that_needs_an_unknown_feature_is_refused() {
    let why = refusal(|chunk| {
        for resource in chunk.resources.iter_mut().filter(|resource| resource.name == "evil") {
            resource.requires.push("time_travel".into());
        }
    });
    assert!(why.contains("time_travel"), "{why}");
}
