//! The trace that a request belongs to: where it begins, what of it travels on, and what the log says of it.

use super::harness::{Backend, Message, Node, collected, forward, nobody, ok, respond, settings};
use crate::settings::Settings;
use otel::testing::{Collector, Received};
use proto::{quantity::Share, resource::Kind};
use serde_json::{Value, json};
use std::sync::{
    Mutex,
    mpsc::{Receiver, channel},
};
use tokio::runtime::Runtime;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn told() -> (Backend, Receiver<Message>) {
    let (told, requests) = channel();
    let backend = Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            told.send(request).ok();
            conn.send(ok("x"));
        }
    });
    (backend, requests)
}

fn asked(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn hexadecimal(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn every_request_has_a_trace() {
    let (backend, requests) = told();
    let node = Node::start(&forward(&[backend.address]));
    let response = node.ask(&asked(""));
    let request = requests.recv().unwrap();
    let parent: Vec<&str> = request.header("traceparent").unwrap().split('-').collect();
    let [version, id, span, flags] = parent[..] else { panic!("{parent:?}") };
    assert_eq!(version, "00");
    assert_eq!(flags, "00", "without a collector nothing is recorded");
    assert!(hexadecimal(id, 32) && hexadecimal(span, 16), "{parent:?}");
    let line = &node.log()[0];
    assert_eq!((&line["trace_id"], &line["request_id"]), (&json!(id), &json!(id)));
    assert_eq!(response.header("x-request-id"), Some(id));
    assert_ne!(line["span_id"], json!(span), "the try is a span of its own");
}

#[test]
fn what_strangers_say_of_traces_does_not_travel_on() {
    let (backend, requests) = told();
    let node = Node::start(&forward(&[backend.address]));
    let theirs = format!("traceparent: {PARENT}\r\ntracestate: a=1\r\nbaggage: user=root\r\n");
    assert_eq!(node.ask(&asked(&theirs)).status(), 200);
    let request = requests.recv().unwrap();
    assert!(!request.header("traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!((request.header("tracestate"), request.header("baggage")), (None, None));
}

#[test]
fn traces_of_those_who_are_trusted_go_on() {
    let (backend, requests) = told();
    let theirs = format!("traceparent: {PARENT}\r\ntracestate: a=1\r\nbaggage: user=me\r\n");
    for trusting in [
        Settings { trust_traces: vec!["http".into()], ..settings() },
        Settings { trusted_proxy: vec!["127.0.0.0/8".parse().unwrap()], ..settings() },
    ] {
        let node = Node::with(trusting, &forward(&[backend.address]));
        assert_eq!(node.ask(&asked(&theirs)).status(), 200);
        let request = requests.recv().unwrap();
        let parent = request.header("traceparent").unwrap();
        assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with("-01"), "{parent}");
        assert!(!parent.contains("b7ad6b7169203331"), "the upstream's parent is the try: {parent}");
        assert_eq!((request.header("tracestate"), request.header("baggage")), (Some("a=1"), Some("user=me")));
        assert_eq!(node.log()[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    }
}

#[test]
fn each_try_is_a_span() {
    let (told, requests) = channel();
    let backend = Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            told.send(request).ok();
            conn.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let mut resources = forward(&[backend.address]);
    resources[0].1["retry"] = json!({"attempts": 2, "back_off": {"base": "1ms"}});
    let node = Node::start(&resources);
    assert_eq!(node.ask(&asked("")).status(), 503);
    let parents: Vec<String> =
        requests.try_iter().map(|request| request.header("traceparent").unwrap().to_string()).collect();
    assert_eq!(parents.len(), 3);
    assert!(parents[1..].iter().all(|parent| parent[..36] == parents[0][..36] && *parent != parents[0]), "{parents:?}");
}

#[test]
fn the_log_says_what_the_time_went_to() {
    let (backend, _requests) = told();
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    for _ in 0..2 {
        client.send(asked(""));
        client.response();
    }
    let log = node.log();
    let phase = |line: &Value, name: &str| line[format!("phase.{name}")].as_f64();
    let sum = |line: &Value| {
        ["gateway", "tries", "connect", "upstream", "body"].iter().filter_map(|name| phase(line, name)).sum::<f64>()
    };
    for line in &log {
        // Each is cut off after its microseconds.
        assert!((sum(line) - line["duration"].as_f64().unwrap()).abs() < 0.000_006, "{line}");
    }
    let connected: Vec<bool> = log.iter().map(|line| phase(line, "connect").is_some()).collect();
    assert_eq!(connected, [true, false], "the second came by the connection of the first");
}

#[test]
fn a_policy_says_how_many_traces_are_recorded() {
    let (backend, requests) = told();
    let mut resources = forward(&[backend.address]);
    let route = resources.iter().position(|(kind, _)| *kind == Kind::Route).unwrap();
    let flags = |node: &Node, requests: &Receiver<Message>| {
        node.ask(&asked(""));
        requests.recv().unwrap().header("traceparent").unwrap()[53..].to_string()
    };
    resources.push((Kind::Policy, json!({"name": "all", "global": {}, "tracing": {"sample": "100%"}})));
    let (_runtime, _collector, settings) = collected();
    let node = Node::with(Settings { trace_sample: Share::NONE, ..settings }, &resources);
    assert_eq!(flags(&node, &requests), "01");
    resources[route].1["policies"] = json!([{"tracing": {"sample": "0%"}}]);
    node.change(&resources);
    assert_eq!(flags(&node, &requests), "00", "the route's own counts");
}

fn arrived(runtime: &Runtime, collector: &Collector, count: usize) -> Vec<Received> {
    runtime.block_on(collector.wait_for("the spans", |spans| spans.len() == count))
}

fn attributes<'s>(span: &'s Received, names: &[&str]) -> Vec<Option<&'s str>> {
    names.iter().map(|name| span.attributes.get(*name).map(String::as_str)).collect()
}

#[test]
fn a_request_is_a_span_and_each_try_one_below_it() {
    let (runtime, collector, settings) = collected();
    let statuses = Mutex::new(vec!["200 OK", "503 Busy"]);
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            let status = statuses.lock().unwrap().pop().unwrap();
            conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let mut resources = forward(&[backend.address]);
    resources[0].1["retry"] = json!({"attempts": 1, "back_off": {"base": "1ms"}});
    let node = Node::with(settings, &resources);
    let response = node.ask("GET /x?secret=1 HTTP/1.1\r\nHost: A.example\r\nUser-Agent: t\r\n\r\n");
    assert_eq!(response.status(), 200);
    let spans = arrived(&runtime, &collector, 3);
    let [first, second, request] = &spans[..] else { panic!("{spans:?}") };
    let line = &node.log()[0];
    assert_eq!(json!(format!("{:032x}", request.trace)), line["trace_id"]);
    assert_eq!(json!(format!("{:016x}", request.id)), line["span_id"]);
    assert_eq!((request.name.as_str(), request.kind, request.parent, request.status), ("GET /*", 2, 0, 0));
    let told =
        ["http.route", "http.response.status_code", "url.path", "server.address", "client.address", "portico.upstream"];
    let expect = ["/*", "200", "/x", "a.example", "127.0.0.1", "back"].map(Some);
    assert_eq!(attributes(request, &told), expect);
    assert!(!format!("{spans:?}").contains("secret"), "a query may be secret: {spans:?}");
    for (at, (try_span, expect)) in [(first, "503"), (second, "200")].into_iter().enumerate() {
        assert_eq!((try_span.trace, try_span.parent, try_span.kind), (request.trace, request.id, 3));
        let told = ["http.response.status_code", "http.request.resend_count", "server.port", "error.type"];
        let (resent, port) = (at.to_string(), backend.address.port().to_string());
        let failed = (expect == "503").then_some("503");
        assert_eq!(
            attributes(try_span, &told),
            [Some(expect), Some(resent.as_str()).filter(|_| at > 0), Some(&port), failed]
        );
        assert!(request.time.0 <= try_span.time.0 && try_span.time.1 <= request.time.1, "{spans:?}");
    }
    assert!(first.time.1 <= second.time.0, "one after the other: {spans:?}");
}

#[test]
fn a_trace_goes_on_from_its_parent_or_is_linked_to_it() {
    let (runtime, collector, settings) = collected();
    let asked = asked(&format!("traceparent: {PARENT}\r\ntracestate: a=1\r\n"));
    let parent = (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331);
    let node = Node::with(settings.clone(), &respond());
    assert_eq!(node.ask(&asked).status(), 200);
    let spans = arrived(&runtime, &collector, 1);
    assert_eq!((&spans[0].links[..], spans[0].parent), (&[parent][..], 0));
    assert_ne!(spans[0].trace, parent.0);
    let trusting = Settings { trust_traces: vec!["http".into()], trace_sample: Share::NONE, ..settings };
    let node = Node::with(trusting, &respond());
    assert_eq!(node.ask(&asked).status(), 200);
    let spans = arrived(&runtime, &collector, 2);
    assert_eq!((spans[1].trace, spans[1].parent, spans[1].tracestate.as_str()), (parent.0, parent.1, "a=1"));
    assert!(spans[1].links.is_empty());
}

#[test]
fn what_went_wrong_is_in_the_spans() {
    let (runtime, collector, settings) = collected();
    let node = Node::with(settings, &forward(&[nobody()]));
    assert_eq!(node.ask(&asked("")).status(), 502);
    let spans = arrived(&runtime, &collector, 3);
    let told = ["error.type", "portico.reason", "http.response.status_code"];
    assert_eq!(attributes(&spans[2], &told), [Some("connect"), Some("connect"), Some("502")]);
    assert!(spans.iter().all(|span| span.status == 2), "{spans:?}");
    assert_eq!(attributes(&spans[0], &told), [Some("connect"), None, None]);
}

#[test]
fn what_policies_made_of_a_request_is_in_its_span() {
    let (runtime, collector, settings) = collected();
    let key = json!({"id": "one", "api_key": {"key": {"value": "key-of-acme-0123456789"}}});
    let policies = json!([
        {"api_key": {}},
        {"name": "guarded", "ext_auth": {"upstream": "guard", "allow": {}}},
        {"name": "tried", "shadow": {}, "access": {"rules": [{"allow": {"groups": ["gold"]}}]}},
    ]);
    let resources = [
        (Kind::Keyring, json!({"name": "api-keys", "pepper": {"value": "p".repeat(32)}})),
        (Kind::Consumer, json!({"name": "acme", "credentials": [key]})),
        (Kind::Upstream, json!({"name": "guard", "endpoints": [{"address": nobody().to_string()}]})),
        (Kind::Route, json!({"name": "all", "respond": {}, "policies": policies})),
    ];
    let node = Node::with(settings, &resources);
    assert_eq!(node.ask(&asked("x-api-key: key-of-acme-0123456789\r\n")).status(), 200);
    let spans = arrived(&runtime, &collector, 1);
    let told = ["user.id", "portico.consumer", "portico.policy.failed_open", "portico.policy.shadowed"];
    let expect = ["acme/one", "acme", "guarded:ext_auth_unavailable", "tried:forbidden"].map(Some);
    assert_eq!(attributes(&spans[0], &told), expect);
    assert_eq!(attributes(&spans[0], &["portico.policy.refused"]), [None]);
}
