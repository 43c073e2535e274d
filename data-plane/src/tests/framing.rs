//! What a client may not send, because two programs would read it differently; and what it gets for it.

use super::harness::{Backend, Node, forward, respond, settings};
use crate::settings::Settings;

/// A request that is refused, the status and the reason; `None` where hyper's own parser answers.
type Refused = (&'static str, u16, Option<&'static str>);

#[test]
fn what_is_ambiguous_is_refused_and_ends_the_connection() {
    let node = Node::start(&respond());
    let table: &[Refused] = &[
        // Exactly one host.
        ("GET / HTTP/1.1\r\n\r\n", 400, Some("host_count")),
        ("GET / HTTP/1.0\r\n\r\n", 400, Some("host_count")),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, Some("host_count")),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, Some("host_count")),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, Some("host_invalid")),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, Some("host_invalid")),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, Some("host_invalid")),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400, Some("host_invalid")),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400, Some("host_invalid")),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, Some("host_invalid")),
        ("GET http://b/ HTTP/1.1\r\n\r\n", 400, Some("host_count")),
        // The target.
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Some("target_invalid")),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Some("target_invalid")),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Some("target_invalid")),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501, Some("connect")),
        // Framing.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, Some("framing")),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, None),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            400,
            Some("framing"),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            Some("framing"),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
            Some("transfer_coding"),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            501,
            Some("transfer_coding"),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
            Some("transfer_coding"),
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400, None),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400, None),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, None),
        // Syntax.
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, None),
        ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", 400, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, None),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, None),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, None),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    ];
    for (request, status, reason) in table {
        let mut client = node.connect();
        // A request that is read as two would be answered twice.
        client.send(request);
        let response = client.response();
        assert_eq!(response.status(), *status, "{request}");
        if let Some(reason) = reason {
            assert_eq!(response.reason(), *reason, "{request}");
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
        }
        assert_eq!(response.header("connection"), Some("close"), "{request}");
        assert!(client.is_closed(), "{request}");
    }
}

#[test]
fn what_has_no_normal_form_is_refused_and_the_connection_goes_on() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    for (target, status, reason) in [
        ("/a%2fb", 400, "path_invalid"),
        ("/a%5cb", 400, "path_invalid"),
        ("/a\\b", 400, "path_invalid"),
        ("/a%00", 400, "path_invalid"),
        ("/a%zz", 400, "path_invalid"),
        ("/..;/a", 400, "path_invalid"),
        ("*", 400, "target_invalid"),
        ("/a?é", 400, "query_invalid"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (status, reason), "{target}");
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200);
}

#[test]
fn the_upstream_sees_the_normal_form_and_the_query_as_it_was() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    for (target, expect) in [
        ("/", "/"),
        ("/a/../b/./%63?x=%2f&y", "/b/c?x=%2f&y"),
        ("//a", "//a"),
        ("http://a/x?y", "/x?y"),
        ("http://a", "/"),
        ("/a?", "/a?"),
    ] {
        let response = node.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.text().lines().next(), Some(format!("GET {expect} HTTP/1.1").as_str()), "{target}");
    }
}

#[test]
fn an_absolute_target_wins_over_the_host() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let response = node.ask("GET http://real.example:81/ HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert!(response.text().contains("(\"host\", \"real.example:81\")"), "{}", response.text());
    assert!(!response.text().contains("other.example"));
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let mut client = node.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for (path, body) in [("POST /1", "abc"), ("POST /2", "xy"), ("GET /3", "")] {
        let response = client.response();
        assert!(response.text().starts_with(path) && response.text().ends_with(&format!("]\n{body}")), "{response:?}");
    }
}

#[test]
fn a_length_beside_a_coding_that_was_sent_ahead_does_not_reach_the_upstream() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let mut client = node.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\
         POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3",
    );
    assert!(client.response().text().starts_with("POST /1"));
    let second = client.response();
    assert!(second.status() == 400 || !second.text().contains("content-length"), "{second:?}");
    assert!(client.is_closed(), "what follows is not a request");
}

#[test]
fn a_bare_line_feed_does_not_reach_the_upstream() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let response = node.ask("GET /x HTTP/1.1\nHost: a\nX-A: 1\n\n");
    assert!(response.text().starts_with("GET /x HTTP/1.1\n"), "{response:?}");
}

#[test]
fn a_head_has_limits() {
    let node = Node::with(Settings { max_header_bytes: 8192, max_headers: 10, ..settings() }, &respond());
    let big = "a".repeat(9000);
    for request in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {big}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(11)),
    ] {
        let mut client = node.connect();
        client.send(request);
        assert_eq!(client.response().status(), 431);
        assert!(client.is_closed());
    }
    let long = "a".repeat(70_000);
    let node = Node::with(Settings { max_header_bytes: 128 * 1024, ..settings() }, &respond());
    assert_eq!(node.ask(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).status(), 414);
}

#[test]
fn expectations_are_met_or_refused() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let mut client = node.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap().status(), 100);
    client.send("abc");
    let response = client.response();
    assert!(response.text().ends_with("\nabc") && !response.text().contains("expect"), "{response:?}");
    let other = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 200-ok\r\n\r\nabc";
    assert_eq!(node.ask(other).status(), 417);
}
