//! Clients are told how they were answered, where a policy wants it; and which request it was, always.

use crate::harness::{
    http::{Response, raw},
    ports,
    stack::ControlPlane,
    upstream::Upstream,
};
use serde_json::json;
use std::time::Duration;

fn told<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    let headers = response.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    headers.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn answers_say_where_the_time_went_and_what_went_wrong() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    let nobody = ports::free();
    let upstream = |name: &str, address: String| json!({"name": name, "endpoints": [{"address": address}]});
    let route = |name: &str, policies: serde_json::Value| {
        json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}}, "forward": {"upstream": name},
            "policies": policies})
    };
    let body = json!({
        "upstreams": [upstream("up", echo.address.to_string()), upstream("down", nobody.to_string())],
        "policies": [{"name": "all", "global": {}, "diagnostics": {"server_timing": {}, "proxy_status": {}}}],
        "routes": [
            route("up", json!([])),
            route("down", json!([{"diagnostics": {"proxy_status": {"next_hop": true}}}])),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let response = node.get("/up");
    assert_eq!(told(&response, "proxy-status"), ["portico; received-status=200"]);
    let [timing] = told(&response, "server-timing")[..] else { panic!("{response:?}") };
    assert!(timing.starts_with("gateway;dur=") && timing.contains(", upstream;dur="), "{timing}");
    let response = node.get("/down");
    let expect = format!("portico; error=connection_refused; next-hop=\"{nobody}\"");
    assert_eq!((told(&response, "proxy-status"), told(&response, "server-timing")), (vec![&*expect], vec![]));
    let response = node.get("/none");
    assert_eq!(told(&response, "proxy-status"), ["portico; error=destination_not_found"]);

    control_plane.admin.ok("DELETE", "/v1/policies/all?wait=all", None);
    let response = node.get("/up");
    assert!(told(&response, "proxy-status").is_empty() && told(&response, "server-timing").is_empty());

    let refused = control_plane.admin.send("PUT", "/v1/policies/none", Some(&json!({"diagnostics": {}})));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/diagnostics".into()));
}

#[test]
fn every_error_says_which_request_it_was() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    for request in [
        "GET /none HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: a\r\n\r\n",
        "what is this\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        &format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70 * 1024)),
    ] {
        let answer = raw(node.traffic, request.as_bytes(), Duration::from_secs(2)).unwrap();
        let head = answer.to_ascii_lowercase();
        let id = head.split_once("\r\nx-request-id: ").and_then(|(_, rest)| rest.split_once("\r\n")).map(|(id, _)| id);
        let id = id.unwrap_or_else(|| panic!("{request:.40?}: {answer}"));
        assert!(answer.contains(&format!("\"request_id\":\"{id}\"")), "{answer}");
    }
}
