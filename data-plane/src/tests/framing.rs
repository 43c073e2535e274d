//! What a client may not send, because two programs would read it differently; and what it gets for it.

use super::harness::{Backend, Node, forward, respond, settings};
use crate::settings::Settings;

/// A request that is refused, the status and the reason.
type Refused = (&'static str, u16, &'static str);

#[test]
fn what_is_ambiguous_is_refused_and_ends_the_connection() {
    let node = Node::start(&respond());
    let table: &[Refused] = &[
        // Exactly one host.
        ("GET / HTTP/1.1\r\n\r\n", 400, "host_count"),
        ("GET / HTTP/1.0\r\n\r\n", 400, "host_count"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_count"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_count"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host_invalid"),
        ("GET http://b/ HTTP/1.1\r\n\r\n", 400, "host_count"),
        // The target.
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501, "connect"),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "connect"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "trace"),
        ("GET //b/ HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n", 400, "malformed"),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_invalid"),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400, "host_invalid"),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400, "host_invalid"),
        // Framing.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "framing"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            400,
            "framing",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
            "transfer_coding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\n chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 501, "transfer_coding"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            501,
            "transfer_coding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\x0b\r\n\r\nabc", 400, "malformed"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3;\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"3\"\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nabc", 400, "framing"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
            400,
            "framing",
        ),
        // What servers behind the gateway may take for the same header.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\n\r\nabc", 400, "framing"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "framing"),
        // Syntax.
        ("GET /x HTTP/1.1\nHost: a\nX-A: 1\n\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "malformed"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "malformed"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "malformed"),
        ("GET /\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version"),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "malformed"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
    ];
    for (request, status, reason) in table {
        let mut client = node.connect();
        // A request that is read as two would be answered twice.
        client.send(request);
        let response = client.response();
        assert_eq!(response.status(), *status, "{request}");
        assert_eq!(response.reason(), *reason, "{request}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(response.json()["request_id"], response.header("x-request-id").unwrap());
        assert_eq!(response.header("connection"), Some("close"), "{request}");
        assert!(client.is_closed(), "{request}");
    }
    let log = node.log();
    assert_eq!(log.len(), table.len());
    for (line, (request, status, reason)) in log.iter().zip(table) {
        assert_eq!(
            (&line["http.response.status_code"], &line["reason"]),
            (&(*status).into(), &(*reason).into()),
            "{request}"
        );
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
        ("http://a?x", "/?x"),
        ("http://a/?", "/?"),
        ("/b#c", "/b"),
        ("/b?c#d", "/b?c"),
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
fn what_is_sent_ahead_is_judged_like_anything_else() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    for (second, status) in [
        ("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3", 400),
        ("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("GET /2 HTTP/1.1\nHost: a\n\n", 400),
        ("GET /2 HTTP/3.0\r\n\r\n", 505),
    ] {
        let mut client = node.connect();
        client.send(format!("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx{second}"));
        assert!(client.response().text().starts_with("POST /1"));
        assert_eq!(client.response().status(), status, "{second}");
        assert!(client.is_closed(), "what follows is not a request");
    }
}

#[test]
fn one_empty_line_is_passed_over() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    for _ in 0..2 {
        client.send("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn it_does_not_matter_how_requests_are_cut() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let all = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nx-t: 1\r\n\r\n\
               \r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..all.len() {
        let mut client = node.connect();
        client.send(&all[..cut]);
        std::thread::yield_now();
        client.send(&all[cut..]);
        for (path, body) in [("POST /1", "abc"), ("POST /2", "xy"), ("GET /3", "")] {
            let response = client.response();
            let text = response.text();
            assert!(text.starts_with(path) && text.ends_with(&format!("]\n{body}")), "cut at {cut}: {response:?}");
        }
    }
}

#[test]
fn a_head_has_limits() {
    let node = Node::with(Settings { max_header_bytes: 8192, max_headers: 10, ..settings() }, &respond());
    let big = "a".repeat(9000);
    for (request, status, reason) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {big}\r\n\r\n"), 431, "head_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(11)), 431, "too_many_headers"),
        (format!("GET /{big} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "target_too_long"),
        (big.clone(), 414, "target_too_long"),
    ] {
        let mut client = node.connect();
        client.send(request);
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (status, reason));
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
    // However it is put, what follows is a body and no request.
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    for (expect, status) in [
        ("100-continue", 200),
        ("100-Continue", 200),
        ("100-continue\r\nExpect: 100-continue", 200),
        ("y 100-continue", 417),
        ("100-continue, y", 417),
        ("100-continue\r\nExpect: y", 417),
        ("\r\nX: 100-continue", 417),
    ] {
        let mut client = node.connect();
        client.send(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: {expect}\r\n\r\n{inner}",
            inner.len()
        ));
        let mut response = client.response();
        if response.status() == 100 {
            response = client.response();
        }
        assert_eq!(response.status(), status, "{expect}");
        if response.header("connection").is_none() {
            client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(client.response().text().starts_with("GET /next"), "{expect}");
        }
    }
}

#[test]
fn a_body_is_nobodys_request() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunks = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "BREW"] {
        for (framing, body) in [
            (format!("Content-Length: {}", inner.len()), inner),
            ("Transfer-Encoding: chunked".into(), chunks.as_str()),
            ("Transfer-Encoding:\t Chunked \t".into(), chunks.as_str()),
            ("Connection: content-length\r\nContent-Length: ".to_string() + &inner.len().to_string(), inner),
            ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked".into(), chunks.as_str()),
        ] {
            let mut client = node.connect();
            client.send(format!("{method} /outer HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}"));
            client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
            match method {
                "HEAD" => assert_eq!(client.response_head().status(), 200),
                _ => assert!(client.response().text().ends_with(inner), "{method} {framing}"),
            }
            assert!(client.response().text().starts_with("GET /next"), "{method} {framing}");
        }
    }
}
