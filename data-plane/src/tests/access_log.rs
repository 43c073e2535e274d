//! Which requests are logged, and what of them, as a policy says.

use super::{
    harness::{Backend, DEADLINE, Node, forward, respond},
    upgrades::{agreeing, open, upgrading},
};
use proto::resource::Kind;
use serde_json::{Value, json};

const COMBINED: &str = "{client.address} - - \"{http.request.method} {url.path} HTTP/{network.protocol.version}\" \
    {http.response.status_code} {http.response.body.size} \"{http.request.header.referer}\" \"{user_agent.original}\" \
    {endpoint}";

fn global(log: Value) -> (Kind, Value) {
    (Kind::Policy, json!({"name": "log", "global": {}, "access_log": log}))
}

fn at_route(mut resources: Vec<(Kind, Value)>, log: Value) -> Vec<(Kind, Value)> {
    let route = resources.iter().position(|(kind, _)| *kind == Kind::Route).unwrap();
    resources[route].1["policies"] = json!([{"access_log": log}]);
    resources
}

fn only_here() -> Vec<(Kind, Value)> {
    vec![(Kind::Route, json!({"name": "here", "match": {"path": {"exact": "/here"}}, "respond": {"body": "here"}}))]
}

fn get(node: &Node, path: &str, headers: &str) -> u16 {
    node.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).status()
}

#[test]
fn a_line_has_the_fields_that_are_wanted_in_their_order() {
    let log = json!({"fields": ["route", "url.path", "reason"], "request_headers": ["X-Tenant"]});
    let node = Node::start(&at_route(respond(), log));
    get(&node, "/a?b", "X-Tenant: a\r\nX-Tenant: \"b\r\n");
    get(&node, "/c", "Cookie: hush\r\n");
    let expect = "{\"url.path\":\"/a\",\"route\":\"all\",\"http.request.header.x-tenant\":[\"a\",\"\\\"b\"]}\n\
                  {\"url.path\":\"/c\",\"route\":\"all\"}\n";
    assert_eq!(node.log_text(DEADLINE), expect);
}

#[test]
fn lines_may_be_text() {
    let node = Node::start(&at_route(respond(), json!({"text": {"format": COMBINED}})));
    get(&node, "/a?token=hush", "Referer: https://b/c?token=hush\r\nUser-Agent: c\"\\\r\n");
    get(&node, "/a", "");
    let expect = "127.0.0.1 - - \"GET /a HTTP/1.1\" 200 4 \"https://b/c\" \"c\\\"\\\\\" -\n\
                  127.0.0.1 - - \"GET /a HTTP/1.1\" 200 4 \"-\" \"-\" -\n";
    assert_eq!(node.log_text(DEADLINE), expect);
}

#[test]
fn the_global_policy_counts_where_no_route_is() {
    let mut resources = at_route(only_here(), json!({"fields": ["route"]}));
    resources.push(global(json!({"fields": ["reason", "url.path"]})));
    let node = Node::start(&resources);
    assert_eq!(get(&node, "/here", ""), 200);
    assert_eq!(get(&node, "/none", ""), 404);
    // It is refused before any route is looked for.
    assert_eq!(get(&node, "/%2F", ""), 400);
    let expect = "{\"route\":\"here\"}\n{\"url.path\":\"/none\",\"reason\":\"no_route\"}\n\
                  {\"url.path\":\"/%2F\",\"reason\":\"path_invalid\"}\n";
    assert_eq!(node.log_text(DEADLINE), expect);
}

#[test]
fn of_the_requests_a_share_is_logged_and_of_failures_all() {
    let fields = ["http.response.status_code", "trace_id"];
    let mut resources = only_here();
    resources.push(global(json!({"sample": "50%", "fields": fields})));
    let node = Node::start(&resources);
    for _ in 0..200 {
        get(&node, "/here", "");
    }
    for _ in 0..20 {
        get(&node, "/none", "");
    }
    let log = node.log();
    let of = |status: u16| log.iter().filter(move |line| line["http.response.status_code"] == status);
    assert_eq!(of(404).count(), 20);
    // The chance that it is not is one in a billion of billions.
    assert!((40..160).contains(&of(200).count()), "{}", of(200).count());
    // Whoever samples by the trace's id samples the same.
    for line in of(200) {
        let id = u128::from_str_radix(line["trace_id"].as_str().unwrap(), 16).unwrap();
        assert!(id >> 55 & 1 == 1, "{line}");
    }
}

#[test]
fn failures_may_be_sampled_and_all_be_left_out() {
    let mut resources = at_route(only_here(), json!({"off": {}}));
    resources.push(global(json!({"sample": "0%", "sample_failures": true})));
    let node = Node::start(&resources);
    assert_eq!((get(&node, "/here", ""), get(&node, "/none", "")), (200, 404));
    // The next configuration holds for the next request.
    let mut resources = at_route(only_here(), json!({"off": {}}));
    resources[0].1["disable"] = json!(["access_log"]);
    node.change(&resources);
    get(&node, "/none", "");
    get(&node, "/here", "");
    let log = node.log();
    assert_eq!((log.len(), &log[0]["reason"]), (1, &"no_route".into()), "{log:?}");
}

#[test]
fn a_long_stream_keeps_the_headers_that_are_logged() {
    let (backend, upstreams) = agreeing();
    let log = json!({"fields": ["user_agent.original"], "request_headers": ["host", "user-agent"]});
    let node = Node::start(&at_route(upgrading(backend.address, Value::Null), log));
    let (client, upstream) = open(&node, &upstreams);
    drop((client, upstream));
    node.await_counts(|counts| counts.tunnels == 0);
    let line = &node.log()[0];
    assert_eq!(line["http.request.header.host"].as_array().unwrap().len(), 1, "{line}");
}

#[test]
fn an_upstream_has_no_say_in_it() {
    let backend = Backend::echo();
    let mut resources = forward(&[backend.address]);
    resources[0].1["policies"] = json!([{"access_log": {"off": {}}}]);
    let node = Node::start(&resources);
    get(&node, "/", "");
    assert_eq!(node.log().len(), 1);
}
