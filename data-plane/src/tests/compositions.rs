//! Compositions from within a node: their spans, what the log says of them, and what upstreams have to say to each call.

use super::harness::{Backend, Message, Node, collected};
use otel::testing::Received;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, channel};

const GET: &str = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";

// Answers with JSON, at `/busy` with 503, and tells what it was asked.
fn service() -> (Backend, Receiver<Message>) {
    let (told, requests) = channel();
    let backend = Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            let status = if request.line.contains(" /busy ") { "503 Busy" } else { "200 OK" };
            told.send(request).ok();
            conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 7\r\n\r\n{{\"n\":1}}"));
        }
    });
    (backend, requests)
}

fn composed(backend: &Backend, upstream: Value, parts: Value) -> Vec<(Kind, Value)> {
    let mut service = json!({"name": "service", "endpoints": [{"address": backend.address.to_string()}]});
    service.as_object_mut().unwrap().extend(upstream.as_object().unwrap().clone());
    let variant = json!({"name": "all", "when": {"header": {"name": "Host", "equals": "a"}}});
    let compose = json!({"parts": parts, "variants": [variant]});
    vec![(Kind::Upstream, service), (Kind::Route, json!({"name": "page", "compose": compose}))]
}

fn part(name: &str, path: &str) -> Value {
    json!({"name": name, "call": {"upstream": "service", "path": path}, "optional": {}})
}

#[test]
fn each_part_is_a_span_with_its_name() {
    let (runtime, collector, settings) = collected();
    let (backend, requests) = service();
    let mut busy = part("busy", "/busy");
    busy["retries"] = json!(0);
    let parts = json!([part("first", "/1"), busy, part("second", "/2/{parts.first.n}")]);
    let node = Node::with(settings, &composed(&backend, json!({}), parts));
    let answer = node.ask(GET);
    assert_eq!((answer.status(), answer.header("portico-incomplete")), (200, Some("busy;reason=status")));
    let spans = runtime.block_on(collector.wait_for("the spans", |spans| spans.len() == 4));
    let attribute = |span: &Received, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    let request = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(attribute(request, "portico.variant"), "all");
    let mut told = Vec::new();
    for span in spans.iter().filter(|span| span.kind == 3) {
        assert_eq!((span.trace, span.parent), (request.trace, request.id));
        assert!(request.time.0 <= span.time.0 && span.time.1 <= request.time.1, "{spans:?}");
        told.push(["portico.part", "portico.upstream", "http.response.status_code"].map(|name| attribute(span, name)));
    }
    told.sort();
    let expect = [["busy", "service", "503"], ["first", "service", "200"], ["second", "service", "200"]];
    assert_eq!(told, expect.map(|each| each.map(String::from)));
    let line = &node.log()[0];
    assert_eq!((&line["incomplete"], &line["http.response.status_code"]), (&json!("busy:status"), &json!(200)));
    // The upstream's own spans go on below those of the calls.
    let parents: Vec<String> =
        requests.try_iter().map(|call| call.header("traceparent").unwrap()[36..52].into()).collect();
    assert!(spans.iter().filter(|span| span.kind == 3).all(|span| parents.contains(&format!("{:016x}", span.id))));
}

#[test]
fn a_call_is_subject_to_what_its_upstream_says() {
    let (backend, requests) = service();
    let mut patient = part("patient", "/busy");
    patient["retries"] = json!(0);
    let upstream = json!({
        "retry": {"attempts": 2, "back_off": {"base": "1ms"}},
        "ejection": {"consecutive_failures": 0},
        "policies": [{"request_headers": {"set": [{"name": "x-of", "value": "the upstream"}]}}],
    });
    let node = Node::start(&composed(&backend, upstream.clone(), json!([part("again", "/busy")])));
    assert_eq!(node.ask(GET).status(), 200);
    let asked: Vec<Message> = requests.try_iter().collect();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|call| call.header("x-of") == Some("the upstream")));
    node.change(&composed(&backend, upstream, json!([patient])));
    assert_eq!(node.ask(GET).status(), 200);
    assert_eq!(requests.try_iter().count(), 1);

    let closed = json!({"policies": [{"maintenance": {}}]});
    node.change(&composed(&backend, closed, json!([part("closed", "/1")])));
    let answer = node.ask(GET);
    assert_eq!((answer.text(), answer.header("portico-incomplete")), ("{}", Some("closed;reason=refused")));
    assert_eq!(requests.try_iter().count(), 0);
    assert_eq!(node.log().last().unwrap()["policy"], "maintenance");
}
