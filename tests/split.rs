//! Requests move from one upstream to another by the weights of a split, under load and without a failure, and every node
//! sends the same clients the same way.

use crate::harness::{
    admin::upstream,
    http::Request,
    load::{Load, Plan, Target},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::time::Duration;

fn route(old: u32, new: u32) -> Value {
    json!({
        "match": {"path": {"prefix": "/"}},
        "forward": {
            "split": [{"upstream": "old", "weight": old}, {"upstream": "new", "weight": new}],
            "split_key": {"cookie": "client"},
        },
    })
}

// Which upstream 100 clients are sent to.
fn sides(node: &Node) -> Vec<String> {
    let side = |n: usize| {
        let cookie = format!("client={n}");
        let headers = [("cookie", cookie.as_str())];
        let response = node.send(&Request { headers: &headers, ..Request::get("/who") });
        assert_eq!(response.status, 200);
        response.json()["upstream"].as_str().unwrap().to_string()
    };
    (0..100).map(side).collect()
}

#[test]
fn traffic_moves_to_another_upstream_without_a_failure() {
    let control_plane = ControlPlane::start();
    let (old, new) = (Upstream::echo("old"), Upstream::echo("new"));
    control_plane.admin.put("/v1/upstreams/old", &upstream(&[old.address]));
    control_plane.admin.put("/v1/upstreams/new", &upstream(&[new.address]));
    control_plane.admin.put("/v1/routes/all", &route(90, 10));
    let nodes = [control_plane.node(), control_plane.node()];
    let targets = nodes.iter().map(|node| Target { traffic: node.traffic, status: node.status }).collect();
    let load = Load::start(Plan {
        targets,
        paths: vec!["/a".into(), "/b".into()],
        connections: 8,
        pause: Duration::from_millis(2),
    });
    let mut before = Vec::new();
    for (from, to) in [(90, 10), (60, 40), (20, 80), (0, 100)] {
        let written = control_plane.admin.put("/v1/routes/all?wait=all", &route(from, to));
        assert!(written.status < 300);
        let [first, second] = [sides(&nodes[0]), sides(&nodes[1])];
        assert_eq!(first, second, "both nodes send the same clients the same way");
        let moved = first.iter().filter(|side| *side == "new").count() as i64;
        assert!((moved - i64::from(to)).abs() <= 20, "{moved} of 100 clients at {to} %");
        assert!(before.iter().zip(&first).all(|(before, now)| before == now || now == "new"), "nobody goes back");
        before = first;
        load.more(200);
    }
    assert!(before.iter().all(|side| side == "new"));
    // The old one is referred to until the route lets go of it.
    assert_eq!(control_plane.admin.send("DELETE", "/v1/upstreams/old", None).status, 409);
    let alone = json!({"match": {"path": {"prefix": "/"}}, "forward": {"upstream": "new"}});
    control_plane.admin.put("/v1/routes/all?wait=all", &alone);
    assert!(control_plane.admin.send("DELETE", "/v1/upstreams/old", None).status < 300);
    load.more(200);
    load.stop().assert_none_failed();
}
