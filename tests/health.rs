//! Endpoints that are killed and come back under load, and what the control plane tells of them.

use crate::harness::{
    admin::{route, upstream},
    load::{Load, Plan, Target},
    stack::{ControlPlane, Node},
    upstream::Upstream,
    wait::eventually,
};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

/// A server in a process of its own that can be killed: a node before a server of the test.
fn endpoint(echo: &Upstream, folder: &TempDir, name: &str) -> Node {
    let file = folder.path().join(format!("{name}.json"));
    let upstreams = json!([{"name": "echo", "endpoints": [{"address": echo.address.to_string()}]}]);
    let routes = json!([{"name": "all", "forward": {"upstream": "echo"}}]);
    std::fs::write(&file, json!({"upstreams": upstreams, "routes": routes}).to_string()).unwrap();
    let mut node = Node::of(&["--config", file.to_str().unwrap()]);
    node.restart();
    node
}

/// What the control plane tells of the only node's endpoints that are down.
fn down(control_plane: &ControlPlane) -> Vec<Value> {
    let nodes = control_plane.admin.get("/v1/nodes");
    let id = nodes["nodes"][0]["id"].as_str().unwrap().to_string();
    let node = control_plane.admin.get(&format!("/v1/nodes/{id}"));
    let unhealthy = node["unhealthy"].as_array().unwrap();
    unhealthy.iter().flat_map(|upstream| upstream["down"].as_array().unwrap().clone()).collect()
}

#[test]
fn endpoints_die_and_come_back_and_no_idempotent_request_fails() {
    let control_plane = ControlPlane::start();
    let (echo, folder) = (Upstream::echo("echo"), TempDir::new().unwrap());
    let mut endpoints = ["a", "b", "c"].map(|name| endpoint(&echo, &folder, name));
    let mut body = upstream(&endpoints.each_ref().map(|endpoint| endpoint.traffic));
    body["retry"] = json!({"attempts": 2});
    body["ejection"] = json!({"base": "500ms"});
    body["health_check"] = json!({"http": {"path": "/healthz"}, "interval": "200ms"});
    control_plane.admin.put("/v1/upstreams/all", &body);
    control_plane.admin.put("/v1/routes/all", &route("/", "all"));
    let node = control_plane.node();
    let load = Load::start(Plan {
        targets: vec![Target { traffic: node.traffic, status: node.status }],
        paths: vec!["/a".into(), "/b/c".into()],
        connections: 8,
        pause: Duration::from_millis(2),
    });
    load.more(200);
    for (number, endpoint) in endpoints.iter_mut().enumerate() {
        let address = endpoint.traffic.to_string();
        endpoint.kill();
        let told = eventually("the control plane tells that an endpoint is down", || {
            down(&control_plane).into_iter().find(|down| down["endpoint"] == address)
        });
        assert!(["check", "connect", "broken"].contains(&told["reason"].as_str().unwrap()), "{told}");
        assert!(told["since"].as_str().unwrap().ends_with('Z'), "{told}");
        // The state is the endpoint's, not the configuration's.
        body["timeouts"] = json!({"response": format!("{}ms", 5000 + number)});
        control_plane.admin.put("/v1/upstreams/all?wait=all", &body);
        load.more(200);
        assert!(!down(&control_plane).is_empty());
        endpoint.restart();
        eventually("all endpoints are healthy", || down(&control_plane).is_empty().then_some(()));
        load.more(100);
    }
    let outcome = load.stop();
    println!("{} requests, {} failed, slowest {:?}", outcome.requests, outcome.failed, outcome.slowest);
    outcome.assert_none_failed();
}
