//! Nobody waits for ever for anybody.

use super::harness::{Backend, Node, forward, ok, respond, settings};
use crate::settings::Settings;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(600);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn patient() -> Settings {
    Settings { header_timeout: LONG, keep_alive_timeout: LONG, idle_timeout: LONG, ..settings() }
}

fn timeouts(address: std::net::SocketAddr, timeouts: &Value) -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::Upstream,
            json!({"name": "back", "endpoints": [{"address": address.to_string()}],
            "retry": {"attempts": 0}, "timeouts": timeouts}),
        ),
        (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
    ]
}

// Holds its connections, says nothing.
fn silent() -> Backend {
    Backend::start(|_, mut conn| drop(conn.read_to_end()))
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let node = Node::with(Settings { header_timeout: SHORT, ..patient() }, &respond());
    let start = Instant::now();
    assert!(node.connect().is_closed());
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_head_has_to_come_in_time() {
    // As many bytes as can be sent in that time are not too many.
    let settings = Settings { header_timeout: SHORT, max_header_bytes: 64 * 1024 * 1024, ..patient() };
    let node = Node::with(settings, &respond());
    let mut client = node.connect();
    client.send(GET);
    assert_eq!(client.response().status(), 200);
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost:");
    // A byte now and then is no head.
    let mut bytes = 0;
    while start.elapsed() < SHORT && client.try_send(b"x") {
        bytes += 1;
        // Not so many that it is their number that is too large.
        while start.elapsed() < SHORT && start.elapsed() < Duration::from_millis(bytes) {
            std::thread::yield_now();
        }
    }
    assert_eq!(client.response().status(), 408, "after {bytes} bytes");
    assert!(start.elapsed() >= SHORT && client.is_closed());
}

#[test]
fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let node = Node::with(Settings { header_timeout: SHORT, keep_alive_timeout: 4 * SHORT, ..patient() }, &respond());
    let mut client = node.connect();
    client.send(GET);
    assert_eq!(client.response().status(), 200);
    let start = Instant::now();
    assert!(client.is_closed());
    // The node began to count when it had sent the answer, which is before the client had read it.
    assert!(start.elapsed() >= 2 * SHORT, "{:?}", start.elapsed());
}

#[test]
fn an_upstream_has_to_answer_in_time() {
    let node = Node::with(patient(), &timeouts(silent().address, &json!({"response": "150ms"})));
    let mut client = node.connect();
    for _ in 0..2 {
        let start = Instant::now();
        client.send(GET);
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (504, "response_timeout"));
        assert!(start.elapsed() >= SHORT);
    }
}

#[test]
fn a_request_that_is_answered_in_time_leaves_no_deadline_behind() {
    let node = Node::with(patient(), &timeouts(Backend::echo().address, &json!({"response": "150ms"})));
    let mut client = node.connect();
    client.send(GET);
    assert_eq!(client.response().status(), 200);
    let start = Instant::now();
    while start.elapsed() < 2 * SHORT {
        client.send(GET);
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn the_time_for_the_answer_begins_when_the_request_is_sent() {
    let backend = Backend::start(|_, mut conn| {
        while conn.request().is_some() {
            conn.send(ok("late"));
        }
    });
    let node = Node::with(patient(), &timeouts(backend.address, &json!({"response": "300ms"})));
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    let start = Instant::now();
    let mut sent = 0;
    // Slower than the upstream may be, but never silent.
    while sent < 1000 {
        if start.elapsed() > Duration::from_millis(sent) {
            client.send("x");
            sent += 1;
        }
        std::thread::yield_now();
    }
    assert_eq!(client.response().text(), "late");
}

#[test]
fn a_body_from_the_upstream_may_not_stop() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        conn.is_closed();
    });
    let node = Node::with(patient(), &timeouts(backend.address, &json!({"idle": "150ms"})));
    let start = Instant::now();
    let mut client = node.connect();
    client.send(GET);
    assert!(client.read_to_end().ends_with(b"half"));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(node.log()[0]["reason"], "upstream_body_timeout");
}

#[test]
fn a_body_from_the_client_may_not_stop() {
    let node = Node::with(Settings { idle_timeout: SHORT, ..patient() }, &forward(&[silent().address]));
    let mut client = node.connect();
    let start = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    let response = client.response();
    assert_eq!((response.status(), response.reason().as_str()), (408, "body_timeout"));
    assert!(start.elapsed() >= SHORT && client.is_closed());
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        while conn.try_send(&[b'x'; 65536]) {}
    });
    let node = Node::with(Settings { idle_timeout: SHORT, ..patient() }, &forward(&[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    node.await_counts(|counts| counts.failures.keys().any(|(_, reason, _)| *reason == "client_closed"));
}

#[test]
fn an_upstreams_idle_connection_is_closed() {
    let (closed, wait) = std::sync::mpsc::channel();
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            conn.send(ok(""));
        }
        closed.send(()).unwrap();
    });
    let mut resources = forward(&[backend.address]);
    resources[0].1["connections"] = json!({"idle": "100ms"});
    let node = Node::with(patient(), &resources);
    assert_eq!(node.ask(GET).status(), 200);
    wait.recv_timeout(super::harness::DEADLINE).unwrap();
    // What no route refers to any more is closed as well, however long it may be idle.
    resources[0].1["connections"] = json!({"idle": "10m"});
    node.change(&resources);
    assert_eq!(node.ask(GET).status(), 200);
    node.change(&respond());
    wait.recv_timeout(super::harness::DEADLINE).unwrap();
}

#[test]
fn a_connection_has_to_stand_in_time() {
    // Its queue is full, and so what comes is not answered.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = full.local_addr().unwrap();
    let queue = socket2::SockRef::from(&full);
    queue.listen(0).unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, SHORT) {
        held.push(stream);
    }
    let node = Node::with(patient(), &timeouts(address, &json!({"connect": "150ms"})));
    let start = Instant::now();
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (504, "connect_timeout"));
    assert!(start.elapsed() >= SHORT);
}
