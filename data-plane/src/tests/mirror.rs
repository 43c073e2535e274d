//! Copies of requests for another upstream: what they are, and that nobody waits for them.

use super::harness::{Backend, DEADLINE, Node, nobody, ok};
use crate::telemetry::counters::{Counts, Mirrored};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// The process has one bound for all nodes in it: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mirrored(main: SocketAddr, shadow: SocketAddr, mirror: Value, forward: Value) -> Vec<(Kind, Value)> {
    let upstream = |name: &str, place: SocketAddr| {
        let endpoints = json!([{"address": place.to_string()}]);
        (Kind::Upstream, json!({"name": name, "endpoints": endpoints, "ejection": {"consecutive_failures": 0}}))
    };
    let mut to = json!({"upstream": "shadow"});
    to.as_object_mut().unwrap().extend(mirror.as_object().unwrap().clone());
    let mut action = json!({"upstream": "main", "mirror": to});
    action.as_object_mut().unwrap().extend(forward.as_object().unwrap().clone());
    let route = (Kind::Route, json!({"name": "all", "forward": action}));
    vec![upstream("main", main), upstream("shadow", shadow), route]
}

// Tells what it was asked, and answers.
fn telling() -> (Backend, Receiver<String>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let backend = Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            tell.lock().unwrap().send(format!("{} {} {}", request.line, headers.join(" "), request.text())).ok();
            conn.send(ok("shadow"));
        }
    });
    (backend, told)
}

// Reads whatever comes and never answers.
fn silent() -> Backend {
    Backend::start(|_, mut conn| drop(conn.read_to_end()))
}

fn result(counts: &Counts, result: Mirrored) -> u64 {
    counts.mirrored[result as usize]
}

#[test]
fn a_copy_is_what_the_request_was() {
    let _alone = alone();
    let (shadow, told) = telling();
    let main = Backend::echo();
    let rewrite = json!({"rewrite": {"template": "/v2/x?q=1"}, "host": "orders.example"});
    let node = Node::start(&mirrored(main.address, shadow.address, json!({}), rewrite));
    let answer = node.ask("GET /x HTTP/1.1\r\nHost: a\r\nX-Tenant: ann\r\n\r\n");
    assert!(answer.status() == 200 && answer.text().starts_with("GET /v2/x?q=1 ") && !answer.text().contains("mirror"));
    let copy = told.recv_timeout(DEADLINE).unwrap();
    for part in ["GET /v2/x?q=1 HTTP/1.1", "host=orders.example", "x-tenant=ann", "x-portico-mirror=1", "x-request-id="]
    {
        assert!(copy.contains(part), "{part}: {copy}");
    }
    let id = answer.header("x-request-id").unwrap();
    assert!(copy.contains(id), "the same id");
    node.await_counts(|counts| result(counts, Mirrored::Sent) == 1);
    assert_eq!(node.log().len(), 1);
}

#[test]
fn nobody_waits_for_a_copy() {
    let _alone = alone();
    let main = Backend::echo();
    for shadow in [silent().address, nobody()] {
        let node = Node::start(&mirrored(main.address, shadow, json!({}), json!({})));
        let start = Instant::now();
        let mut client = node.connect();
        for _ in 0..20 {
            client.send(GET);
            assert_eq!(client.response().status(), 200);
        }
        assert!(start.elapsed() < Duration::from_secs(10));
        drop(client);
        // And neither does the end of the node.
        node.drain(DEADLINE).join().unwrap();
        assert!(start.elapsed() < DEADLINE / 2);
    }
    let node = Node::start(&mirrored(main.address, nobody(), json!({}), json!({})));
    assert_eq!(node.ask(GET).status(), 200);
    let counts = node.await_counts(|counts| result(counts, Mirrored::Failed) == 1);
    assert!(counts.failures.is_empty(), "it is no failure of a request: {counts:?}");
}

#[test]
fn bodies_are_copied_up_to_a_limit() {
    let _alone = alone();
    let (shadow, told) = telling();
    let main = Backend::echo();
    let node = Node::start(&mirrored(main.address, shadow.address, json!({"max_body": "8B"}), json!({})));
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}");
    for framing in
        ["Content-Length: 8\r\n\r\n12345678", "Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n"]
    {
        assert!(node.ask(&post(framing)).text().ends_with("\n12345678"));
        let copy = told.recv_timeout(DEADLINE).unwrap();
        assert!(copy.starts_with("POST / ") && copy.ends_with(" 12345678"), "{copy}");
    }
    for framing in
        ["Content-Length: 9\r\n\r\n123456789", "Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"]
    {
        assert!(node.ask(&post(framing)).text().ends_with("\n123456789"));
    }
    let counts = node.await_counts(|counts| result(counts, Mirrored::Sent) == 2);
    assert_eq!(result(&counts, Mirrored::TooLarge), 2);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_body_that_did_not_come_is_not_copied() {
    let _alone = alone();
    let (shadow, told) = telling();
    // Answers before it has read the body.
    let main = Backend::start(|_, mut conn| {
        conn.head();
        conn.send(ok("early"));
        conn.read_to_end();
    });
    let node = Node::start(&mirrored(main.address, shadow.address, json!({}), json!({})));
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    assert_eq!(client.response().text(), "early");
    node.await_counts(|counts| result(counts, Mirrored::CutOff) == 1);
    // Nor that of a client who left.
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    drop(client);
    node.await_counts(|counts| result(counts, Mirrored::CutOff) == 2);
    assert!(told.try_recv().is_err());
}

#[test]
fn as_many_are_copied_as_was_said_and_as_there_is_room_for() {
    let _alone = alone();
    let (shadow, _told) = telling();
    let main = Backend::echo();
    let node = Node::start(&mirrored(main.address, shadow.address, json!({"percent": 25}), json!({})));
    let mut client = node.connect();
    let mut ask = |n: usize| {
        for _ in 0..n {
            client.send(GET);
            assert_eq!(client.response().status(), 200);
        }
    };
    ask(200);
    let total = |counts: &Counts| counts.mirrored.iter().sum::<u64>();
    let counts = node.await_counts(|counts| total(counts) >= 20);
    assert!((20..85).contains(&total(&counts)), "{counts:?}");
    let silent = silent();
    let node = Node::start(&mirrored(main.address, silent.address, json!({}), json!({})));
    let mut client = node.connect();
    for _ in 0..140 {
        client.send(GET);
        assert_eq!(client.response().status(), 200);
    }
    node.await_counts(|counts| result(counts, Mirrored::Busy) >= 12);
    // Its copies hold their places until it has ended.
    drop(client);
    node.drain(DEADLINE).join().unwrap();
}
