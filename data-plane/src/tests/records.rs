//! What is counted and logged of a request, whatever becomes of it.

use super::harness::{Backend, Node, forward, nobody, ok, respond, settings};
use crate::settings::Settings;

#[test]
fn each_request_is_one_line() {
    let backend = Backend::echo().address;
    let node = Node::start(&forward(&[backend]));
    let response = node.ask(
        "POST /x%20y?token=hush HTTP/1.1\r\nHost: A.example\r\nUser-Agent: \"t\\\x01\r\nAuthorization: Bearer hush\r\n\
         Cookie: hush\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(response.status(), 400, "a control character in a value");
    let response = node.ask(
        "POST /x%20y?token=hush HTTP/1.1\r\nHost: A.example\r\nUser-Agent: \"t\\\r\nAuthorization: Bearer hush\r\n\
         Cookie: hush\r\nContent-Length: 3\r\n\r\nabc",
    );
    let log = node.log();
    assert_eq!(log.len(), 2);
    assert_eq!((&log[0]["reason"], &log[0]["http.request.method"]), (&"malformed".into(), &"_OTHER".into()));
    let line = &log[1];
    for (field, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/x%20y"),
        ("server.address", "A.example"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "\"t\\"),
        ("http.route", "/*"),
        ("route", "all"),
        ("upstream", "back"),
        ("endpoint", &backend.to_string()),
        ("request_id", response.header("x-request-id").unwrap()),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(
        (&line["http.request.body.size"], &line["http.response.body.size"]),
        (&3.into(), &response.body.len().into())
    );
    assert!(line["reason"].is_null() && !line.to_string().contains("hush"), "{line}");
}

#[test]
fn errors_have_a_reason_and_somebodys_fault() {
    let node = Node::start(&forward(&[nobody()]));
    let response = node.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status(), response.reason().as_str()), (502, "connect"));
    assert_eq!(response.json()["request_id"], response.header("x-request-id").unwrap());
    assert_eq!(response.json()["status"], 502);
    let counts = node.counts();
    let failures: Vec<_> = counts
        .failures
        .iter()
        .map(|((up, reason, fault), n)| (up.as_ref().unwrap().as_str(), *reason, fault.as_str(), *n))
        .collect();
    assert_eq!(failures, [("back", "connect", "upstream", 1)]);
    assert_eq!(counts.retries, 1);
    let log = node.log();
    assert_eq!((&log[0]["reason"], &log[0]["retries"]), (&"connect".into(), &1.into()));
}

#[test]
fn a_panic_is_the_error_of_one_request() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\nX-Test-Panic: request\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.reason().as_str()), (500, "panic"));
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\nX-Test-Panic: response\r\n\r\n");
    assert_eq!(client.response().status(), 500);
    client.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200, "the same connection goes on");
    assert_eq!(node.counts().panics, 2);
    let reasons: Vec<_> = node.log().iter().map(|line| line["reason"].as_str().map(str::to_string)).collect();
    assert_eq!(reasons, [None, Some("panic".into()), Some("panic".into()), None]);
}

#[test]
fn a_client_that_leaves_is_on_record() {
    let (asked, wait) = std::sync::mpsc::channel();
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        asked.send(()).unwrap();
        // The gateway gives up on this connection when its client does.
        conn.is_closed();
        asked.send(()).unwrap();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv().unwrap();
    drop(client);
    wait.recv().unwrap();
    node.await_counts(|counts| counts.failures.len() == 1);
    let log = node.log();
    assert_eq!((&log[0]["http.response.status_code"], &log[0]["reason"]), (&499.into(), &"client_closed".into()));
}

#[test]
fn connections_beyond_the_limit_are_turned_away() {
    let node = Node::with(Settings { max_connections: 1, ..settings() }, &respond());
    let mut first = node.connect();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.response().status(), 200);
    let mut second = node.connect();
    let response = second.response();
    assert_eq!((response.status(), response.reason().as_str()), (503, "connections"));
    assert_eq!((response.header("retry-after"), response.header("connection")), (Some("1"), Some("close")));
    assert!(second.is_closed());
    assert_eq!(node.counts().refused, 1);
    drop(first);
    // The place is free as soon as the node sees that.
    let start = std::time::Instant::now();
    loop {
        let mut third = node.connect();
        if third.try_send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") && third.head().is_some_and(|head| head.status() == 200)
        {
            break;
        }
        assert!(start.elapsed() < super::harness::DEADLINE);
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let backend = Backend::start(|_, mut conn| {
        while let Some(request) = conn.request() {
            match request.line.starts_with("HEAD") {
                true => conn.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
                false => conn.send(ok("hello")),
            }
        }
    });
    for (resources, len) in [(forward(&[backend.address]), "5"), (respond(), "4")] {
        let node = Node::start(&resources);
        let mut client = node.connect();
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.response_head();
        assert_eq!((head.status(), head.header("content-length")), (200, Some(len)));
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().body.len().to_string(), len);
        assert!(node.log().iter().all(|line| line["reason"].is_null()));
    }
    let node = Node::start(&respond());
    assert_eq!(node.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").text(), "here");
}
