//! Errors of the gateway in one's own words, in the form that the client likes; never is a value of a request syntax there.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::json;

fn ask(node: &Node, target: &str, accept: &str) -> Response {
    node.send(&Request { headers: &[("accept", accept), ("x-name", "\"</p><script>")], ..Request::get(target) })
}

#[test]
fn an_error_is_told_as_the_client_likes_it() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let failing = Upstream::answering(|_| {
        b"HTTP/1.1 500 Oh\r\ncontent-type: text/x-own\r\ncontent-length: 3\r\n\r\nown".to_vec()
    });
    let body = json!({
        "upstreams": [{"name": "failing", "endpoints": [{"address": failing.address.to_string()}]}],
        "policies": [{"name": "errors", "global": {}, "error_bodies": {"bodies": [
            {"json": "{{\"code\": {error.status}, \"why\": \"{error.reason}\", \"who\": \"{header.x-name}\", \"id\": \"{request.id}\"}}"},
            {"statuses": ["404"], "html": "<p title={header.x-name}>{error.title}: {request.id}</p>"},
        ]}}],
        "routes": [
            {"name": "failing", "match": {"path": {"exact": "/failing"}}, "forward": {"upstream": "failing"}},
            {"name": "closed", "match": {"path": {"exact": "/closed"}}, "respond": {}, "policies": [{"maintenance": {}}]},
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    // Of a request that no route matches too.
    let answer = ask(&node, "/none", "application/json");
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/json")));
    let id = answer.header("x-request-id").unwrap();
    let expect = json!({"code": 404, "why": "no_route", "who": "\"</p><script>", "id": id});
    assert_eq!(answer.json(), expect);
    let answer = ask(&node, "/none", "text/html, application/json;q=0.5");
    let id = answer.header("x-request-id").unwrap();
    let page = format!("<p title=&#x22;&#x3c;&#x2f;p&#x3e;&#x3c;script&#x3e;>Not&#x20;Found: {id}</p>");
    assert_eq!((answer.text(), answer.header("content-type")), (page, Some("text/html; charset=utf-8")));
    // There is no page for this one, and the header of the refusal stays.
    let answer = ask(&node, "/closed", "text/html, */*;q=0.1");
    assert_eq!(
        (answer.status, answer.json()["why"].as_str(), answer.header("retry-after")),
        (503, Some("maintenance"), Some("60"))
    );
    // Whoever likes none of them gets a problem.
    let answer = ask(&node, "/none", "image/png");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    // What a service says is its own.
    assert_eq!(ask(&node, "/failing", "*/*").text(), "own");
}
