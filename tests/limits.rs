//! What a client may not do, and what it gets for it; nobody else notices.

use crate::harness::{
    http::{Request, raw, send},
    stack::ControlPlane,
    upstream::Upstream,
    wait::eventually,
};
use serde_json::json;
use std::time::Duration;

const SILENCE: Duration = Duration::from_secs(2);

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    control_plane.admin.route("all", "/", echo.address);
    let long = "x".repeat(70 * 1024);
    let many: String = (0..101).map(|at| format!("x-{at}: 1\r\n")).collect();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n".into(), 400),
        ("GET /%2e%2e%2fetc HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /a%00 HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd".into(), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc".into(), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(), 501),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431),
    ] {
        let answer = raw(node.traffic, request.as_bytes(), SILENCE).unwrap();
        let head = &request[..request.len().min(80)];
        assert_eq!(status(&answer), expected, "{head:?} got {answer:?}");
    }
    // Both framings are refused.
    let smuggled = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
                    GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = raw(node.traffic, smuggled.as_bytes(), SILENCE).unwrap();
    assert!(!answer.contains("/smuggled"), "{answer}");
    assert_eq!(node.get("/").status, 200);
}

#[test]
fn a_body_is_as_large_as_the_route_allows() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    control_plane.admin.route("all", "/", echo.address);
    let small = json!({"match": {"path": {"prefix": "/small"}}, "forward": {"upstream": "all"},
        "limits": {"request_body": "1KiB"}});
    control_plane.admin.put("/v1/routes/small?wait=all", &small);
    let post = |target, body: &[u8]| node.send(&Request { method: "POST", target, host: "a", headers: &[], body });
    let body = vec![b'x'; 1024 * 1024];
    assert_eq!(post("/large", &body).json()["body_bytes"], 1024 * 1024);
    assert_eq!(post("/small", &body[..1024]).json()["body_bytes"], 1024);
    assert_eq!(post("/small", &body[..1025]).status, 413);
    // Without a length nobody knows before it has come.
    let chunk = "x".repeat(2000);
    let chunked =
        format!("POST /small HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{chunk}\r\n0\r\n\r\n");
    assert_eq!(status(&raw(node.traffic, chunked.as_bytes(), SILENCE).unwrap()), 413);
    assert_eq!(node.get("/").status, 200);
}

#[test]
fn a_node_without_room_turns_away_what_is_new_and_says_so() {
    let mut node = ControlPlane::start().node_with(&["--max-memory", "1MiB"]);
    node.spawn();
    let metrics = eventually("the node knows that it is short of memory", || {
        let metrics = send(node.status, &Request::get("/metrics")).ok()?.text();
        metrics.contains("portico_overloaded 1").then_some(metrics)
    });
    assert!(metrics.contains("portico_memory_limit_bytes 1048576"), "{metrics}");
    let refused = node.get("/");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["reason"], "overloaded");
    // Whoever looks after it is answered, and it ends in good order.
    assert_eq!(send(node.status, &Request::get("/livez")).unwrap().status, 200);
    node.terminate();
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn the_admin_api_wants_its_token_and_a_body_of_a_size() {
    let control_plane = ControlPlane::start();
    let admin = control_plane.admin;
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Basic x")]] {
        let request = Request { headers, host: "a", ..Request::get("/v1/routes") };
        let refused = crate::harness::http::send(admin.address, &request).unwrap();
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").is_some());
    }
    let malformed = "PUT /v1/routes/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
                     authorization: Bearer a-token-for-tests\r\ncontent-length: 9\r\n\r\n{\"match\":";
    assert_eq!(status(&raw(admin.address, malformed.as_bytes(), SILENCE).unwrap()), 400);
    let large = json!({"match": {"path": {"exact": "/a"}}, "respond": {"body": "x".repeat(17 * 1024 * 1024)}});
    // The answer may come before all of the body went out, and the connection end with it.
    if let Ok(refused) = admin.try_send("PUT", "/v1/routes/a", Some(&large)) {
        assert_eq!(refused.status, 413);
    }
    assert_eq!(admin.get("/v1/routes")["routes"], json!([]));
}
