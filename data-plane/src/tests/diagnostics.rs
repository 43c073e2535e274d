//! What clients are told of how they were answered.

use super::harness::{Backend, Message, Node, forward, nobody, respond};
use proto::resource::Kind;
use serde_json::{Value, json};

fn telling(mut resources: Vec<(Kind, Value)>, told: Value) -> Vec<(Kind, Value)> {
    resources.push((Kind::Policy, json!({"name": "told", "global": {}, "diagnostics": told})));
    resources
}

fn get(node: &Node, path: &str) -> Message {
    node.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn status(node: &Node) -> String {
    let response = get(node, "/");
    let told = response.headers("proxy-status");
    assert!(told.len() == 1 && response.header("server-timing").is_none());
    told[0].into()
}

#[test]
fn nobody_is_told_unasked() {
    let node = Node::start(&forward(&[nobody()]));
    let response = get(&node, "/");
    assert!(response.header("server-timing").or(response.header("proxy-status")).is_none());
}

#[test]
fn the_time_is_told_by_what_it_went_to() {
    let own = "HTTP/1.1 200 OK\r\nserver-timing: db;dur=1\r\ncontent-length: 0\r\n\r\n";
    let backend = Backend::answering(own);
    let node = Node::start(&telling(forward(&[backend.address]), json!({"server_timing": {}})));
    let response = get(&node, "/");
    let [theirs, ours] = response.headers("server-timing")[..] else { panic!("{response:?}") };
    assert_eq!(theirs, "db;dur=1");
    let told: Vec<(&str, f64)> = ours
        .split(", ")
        .map(|metric| metric.split_once(";dur=").unwrap())
        .map(|(name, time)| (name, time.parse().unwrap()))
        .collect();
    assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["gateway", "connect", "upstream"]);
    assert!(told.iter().all(|(_, time)| (0.0..60_000.0).contains(time)), "{ours}");
    assert!(response.header("proxy-status").is_none());
    // The gateway's own answer, and one to what is no request that can be served.
    node.change(&telling(respond(), json!({"server_timing": {}})));
    for path in ["/", "/%2F"] {
        let response = get(&node, path);
        assert!(response.header("server-timing").unwrap().starts_with("gateway;dur="), "{response:?}");
    }
}

#[test]
fn errors_have_the_names_that_http_has_for_them() {
    let backend = |bytes| Backend::answering(bytes).address;
    let refused = nobody();
    let closed = Backend::start(|_, mut upstream| drop(upstream.request()));
    let node = Node::start(&[]);
    for (endpoint, expect) in [
        (refused, "portico; error=connection_refused".to_string()),
        (closed.address, "portico; error=connection_terminated".to_string()),
        (backend("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), "portico; error=http_protocol_error".to_string()),
        (backend("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"), "portico; received-status=404".to_string()),
    ] {
        node.change(&telling(forward(&[endpoint]), json!({"proxy_status": {}})));
        assert_eq!(status(&node), expect);
        node.change(&telling(forward(&[endpoint]), json!({"proxy_status": {"next_hop": true}})));
        assert_eq!(status(&node), format!("{expect}; next-hop=\"{endpoint}\""));
    }
    node.change(&telling(respond(), json!({"proxy_status": {"next_hop": true}})));
    assert_eq!(status(&node), "portico");
    assert_eq!(get(&node, "/%2F").header("proxy-status"), Some("portico; error=http_request_error"));
    node.change(&telling(vec![], json!({"proxy_status": {}})));
    assert_eq!(status(&node), "portico; error=destination_not_found");
}

#[test]
fn the_most_specific_policy_counts() {
    let mut resources = telling(respond(), json!({"proxy_status": {}, "server_timing": {}}));
    resources[0].1["policies"] = json!([{"diagnostics": {"server_timing": {}}}]);
    let node = Node::start(&resources);
    let response = get(&node, "/");
    assert!(response.header("server-timing").is_some() && response.header("proxy-status").is_none());
}
