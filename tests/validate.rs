//! Only bodies that fit a schema get to a service, byte for byte; whoever sends another is told all that is wrong.

use crate::harness::{
    http::{Request, Response, raw},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const SCHEMA: &str = r#"{"type": "object", "required": ["item"], "additionalProperties": false,
    "properties": {"item": {"type": "string", "maxLength": 8}, "count": {"type": "integer", "minimum": 1}}}"#;

fn send(node: &Node, target: &str, content_type: &str, body: &[u8]) -> Response {
    node.send(&Request { method: "POST", headers: &[("content-type", content_type)], body, ..Request::get(target) })
}

#[test]
fn a_service_gets_only_what_fits() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sink = seen.clone();
    let service = Upstream::answering(move |request| {
        sink.lock().unwrap().push(request.body.clone());
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let route = |name: &str, policy: Value| {
        json!({"name": name, "match": {"path": {"exact": format!("/{name}")}}, "forward": {"upstream": "service"},
            "policies": [policy]})
    };
    let body = json!({
        "upstreams": [{"name": "service", "endpoints": [{"address": service.address.to_string()}]}],
        "routes": [
            route("orders", json!({"validate": {"schema": SCHEMA, "max_body": "64B"}})),
            route("tried", json!({"shadow": {}, "validate": {"schema": SCHEMA, "max_body": "64B"}})),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    let good = b" {\"item\" : \"a\\u0062\", \"count\":1 }\n";
    let json = "application/json";
    assert_eq!(send(&node, "/orders", json, good).status, 200);
    let chunked = "POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
                   connection: close\r\n\r\n4\r\n{\"it\r\n9\r\nem\":\"ab\"}\r\n0\r\n\r\n";
    let answer = raw(node.traffic, chunked.as_bytes(), Duration::from_secs(5)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(*seen.lock().unwrap(), [&good[..], b"{\"item\":\"ab\"}"]);

    let wrong = send(&node, "/orders", json, br#"{"item": "secret-password", "count": 0, "x": 1}"#);
    assert_eq!((wrong.status, wrong.json()["reason"].as_str()), (422, Some("body_invalid")), "{}", wrong.text());
    let problem = wrong.json();
    let mut pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort();
    assert_eq!(pointers, ["", "/count", "/item"]);
    assert!(!wrong.text().contains("secret"), "{}", wrong.text());
    let long = format!("{{\"item\": \"a\"{}}}", " ".repeat(64));
    for (content_type, body, expect) in [
        (json, &br#"{"item": "a", "item": "b"}"#[..], (400, "body_malformed")),
        (json, b"{\"item\": \"a\"", (400, "body_malformed")),
        ("text/plain", good, (415, "content_type")),
        ("application/json; charset=utf-16", good, (415, "content_type")),
        (json, long.as_bytes(), (413, "body_too_large")),
        (json, b"", (400, "body_missing")),
    ] {
        let refused = send(&node, "/orders", content_type, body);
        assert_eq!((refused.status, refused.json()["reason"].as_str().unwrap()), expect, "{}", refused.text());
    }
    assert_eq!(node.get("/orders").status, 200);
    assert_eq!(seen.lock().unwrap().len(), 3);

    // Tried out, it lets everything pass as it came, also what it did not read to the end.
    for body in [&b"nonsense"[..], long.as_bytes()] {
        assert_eq!(send(&node, "/tried", json, body).status, 200);
        assert_eq!(seen.lock().unwrap().pop().unwrap(), body);
    }
    let large = format!(
        "POST /tried HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n40\r\n{0}\r\n40\r\n{0}\r\n0\r\n\r\n",
        "y".repeat(64)
    );
    let answer = raw(node.traffic, large.as_bytes(), Duration::from_secs(5)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(seen.lock().unwrap().pop().unwrap(), "y".repeat(128).as_bytes());

    let fetching = json!({"validate": {"schema": r#"{"$ref": "http://127.0.0.1:1/schema"}"#}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/fetching", Some(&fetching));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/validate/schema".into()));
}
