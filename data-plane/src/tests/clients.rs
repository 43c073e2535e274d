//! What a client may do on a connection of HTTP/1, in good order and otherwise, and what becomes of its answers.

use super::harness::{Backend, DEADLINE, Node, forward, respond, settings};
use crate::settings::Settings;
use std::{
    io::{ErrorKind, Read},
    sync::{Mutex, mpsc::channel},
    time::Duration,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_old_client_may_ask_again_if_it_says_so() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!((response.text(), response.header("connection")), ("here", Some("keep-alive")));
    }
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn whoever_wants_the_end_gets_it() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{GET}"));
    let response = client.response();
    assert_eq!((response.text(), response.header("connection")), ("here", Some("close")));
    assert!(client.is_closed(), "what was sent after that is not served");
    assert_eq!(node.log().len(), 1);
}

#[test]
fn answers_have_a_date() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 0\r\n\r\n");
    let node = Node::start(&forward(&[backend.address]));
    assert_eq!(node.ask(GET).headers("date"), ["then"]);
    node.change(&respond());
    assert!(node.ask(GET).header("date").unwrap().ends_with(" GMT"));
}

#[test]
fn an_old_client_gets_no_chunks_and_notices_what_is_cut_off() {
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (answer, is_whole) in [(whole, true), (cut, false)] {
        let backend = Backend::start(move |_, mut conn| {
            conn.request();
            conn.send(answer);
        });
        let node = Node::start(&forward(&[backend.address]));
        let mut client = node.connect();
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let mut all = Vec::new();
        let end = client.stream().read_to_end(&mut all);
        match end {
            Ok(_) => assert!(is_whole && all.ends_with(b"connection: close\r\n\r\nabc"), "{all:?}"),
            Err(error) => assert!(!is_whole && error.kind() == ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

#[test]
fn a_client_that_closed_its_half_gets_its_answer() {
    let (backend, wait, go) = Backend::held();
    let node = Node::start(&forward(&[backend.address]));
    for version in ["1.1", "1.0"] {
        let mut client = node.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
        wait.recv().unwrap();
        client.finish();
        if version == "1.1" {
            // Sent to see whether anybody is there; only then is it certain that the gateway has seen the end.
            assert_eq!(client.head().unwrap().status(), 100);
        }
        go.send(()).unwrap();
        let response = client.response();
        assert_eq!((response.text(), response.header("connection")), ("done", Some("close")), "{version}");
        assert!(client.is_closed());
    }
    // Also when nothing is waited for.
    let mut client = node.connect();
    client.send("GET /nowhere HTTP/1.1\r\nHost: a b\r\n\r\n");
    client.finish();
    assert_eq!(client.response().status(), 400);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_silent_answer_is_noticed() {
    let (closed, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        conn.is_closed();
        closed.send(()).unwrap();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    client.head().unwrap();
    assert_eq!(client.read(8), b"3\r\none\r\n");
    drop(client);
    wait.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_client_that_closes_its_half_in_the_middle_of_an_answer_gets_the_rest() {
    let (go, going) = channel::<()>();
    let going = Mutex::new(going);
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        going.lock().unwrap().recv().unwrap();
        conn.send("10\r\n0123456789abcdef\r\n0\r\n\r\n");
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    client.head().unwrap();
    assert_eq!(client.read(8), b"3\r\none\r\n");
    client.finish();
    // The zero by which the gateway sees that somebody is there belongs to the size of the next chunk.
    assert_eq!(client.read(1), b"0");
    go.send(()).unwrap();
    assert_eq!(client.read_to_end(), b"10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

#[test]
fn a_body_that_nobody_wants_costs_the_connection_only_when_it_is_large() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    for (body, rest) in [("Content-Length: 3\r\n\r\nabc", ""), ("Content-Length: 6\r\n\r\nabc", "def")] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        let response = client.response();
        assert_eq!((response.text(), response.header("connection")), ("here", None));
        client.send(rest);
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.response().header("connection"), None);
    client.send(GET);
    assert_eq!(client.response().status(), 200);
    // A client that sends all before it reads gets the answer nevertheless.
    let len = 4 * 1024 * 1024;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"));
    client.send("x".repeat(len));
    let response = client.response();
    assert_eq!((response.text(), response.header("connection")), ("here", Some("close")));
    assert!(client.is_closed());
}

#[test]
fn whoever_waits_for_leave_in_vain_is_not_waited_for() {
    let node = Node::start(&respond());
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text(), response.header("connection")), ("here", Some("close")));
    assert!(client.is_closed());
}

#[test]
fn a_body_that_breaks_off_is_the_clients_fault_and_never_whole() {
    let (seen, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        conn.head();
        seen.send(conn.read_to_end()).unwrap();
    });
    for body in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalfmore\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\nhalf\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nno trailer\r\n\r\n",
    ] {
        let node = Node::start(&forward(&[backend.address]));
        let mut client = node.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        client.finish();
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (400, "body_broken"), "{body}");
        assert!(client.is_closed());
        // What was no body at all did not even get that far.
        if let Ok(bytes) = wait.recv_timeout(Duration::from_millis(100)) {
            assert!(!bytes.ends_with(b"0\r\n\r\n"), "{body}");
        }
    }
}

#[test]
fn half_a_head_behind_a_request_has_to_come_in_time_too() {
    let node = Node::with(Settings { header_timeout: Duration::from_millis(150), ..settings() }, &respond());
    let mut client = node.connect();
    client.send(format!("{GET}GET / HTTP/1.1\r\nHo"));
    assert_eq!(client.response().status(), 200);
    let response = client.response();
    assert_eq!((response.status(), response.reason().as_str()), (408, "head_timeout"));
    assert!(client.is_closed());
}

#[test]
fn many_requests_sent_ahead_are_answered_in_order() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let mut client = node.connect();
    let requests: String = (0..500).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..500 {
        assert!(client.response().text().starts_with(&format!("GET /{n} ")));
    }
}
