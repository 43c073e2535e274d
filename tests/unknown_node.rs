//! A node without the fleet's join token gets no configuration.

use crate::harness::{
    http::{Request, send},
    stack::ControlPlane,
    wait::eventually,
};
use serde_json::json;

#[test]
fn a_node_with_a_wrong_join_token_is_refused() {
    let control_plane = ControlPlane::start();
    let known = control_plane.node();
    let mut unknown = control_plane.node_with(&[]).with_join_token("not-the-token");
    unknown.spawn();
    control_plane.admin.put("/v1/routes/a?wait=all", &json!({"match": {"path": {"exact": "/a"}}, "respond": {}}));
    assert_eq!(known.get("/a").status, 200);

    eventually("the refusal is told", || unknown.process().log().contains("join token").then_some(()));
    assert!(!unknown.is_ready());
    assert!(send(unknown.traffic, &Request::get("/a")).is_ok_and(|response| response.status != 200));
    let nodes = control_plane.admin.get("/v1/nodes");
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes:#}");
    assert!(!unknown.process().log().contains("not-the-token"), "the token is in the log");
}
