//! What protects an upstream from too much: the bound on requests at once, and the circuit breaker.

use super::harness::{Backend, DEADLINE, Node, ok};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

fn upstream(more: Value, address: SocketAddr) -> Vec<(Kind, Value)> {
    let endpoints = json!([{"address": address.to_string()}]);
    let mut upstream = json!({"name": "back", "endpoints": endpoints, "ejection": {"consecutive_failures": 0}});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

fn concurrency(queue: u32, wait: &str) -> Value {
    json!({"concurrency": {"max": 1, "queue": queue, "wait": wait}})
}

fn figures(node: &Node) -> (u32, u32) {
    node.router().pools().find_map(|pool| pool.concurrency()).unwrap()
}

fn circuit(node: &Node) -> (bool, u64) {
    node.router().pools().find_map(|pool| pool.circuit()).unwrap()
}

fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
}

#[test]
fn beyond_the_bound_requests_wait_their_turn_and_beyond_the_queue_they_are_refused() {
    let (backend, asked, go) = Backend::held();
    let node = Node::start(&upstream(concurrency(2, "10m"), backend.address));
    let mut clients: Vec<_> = (0..3).map(|_| node.connect()).collect();
    clients[0].send(GET);
    asked.recv().unwrap();
    for (waiting, client) in clients.iter_mut().enumerate().skip(1) {
        client.send(GET);
        until(|| figures(&node) == (1, waiting as u32));
    }
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "queue_full"));
    assert_eq!(response.header("retry-after"), Some("1"));
    // It is the upstream's, whatever else of it changes.
    let mut changed = upstream(concurrency(2, "10m"), backend.address);
    changed[0].1["timeouts"] = json!({"response": "9s"});
    node.change(&changed);
    assert_eq!(figures(&node), (1, 2));
    for client in &mut clients {
        go.send(()).unwrap();
        assert_eq!(client.response().text(), "done");
    }
    until(|| figures(&node) == (0, 0));
    assert!(asked.try_iter().count() == 2);
}

#[test]
fn who_waits_too_long_or_leaves_makes_room() {
    let (backend, asked, go) = Backend::held();
    let node = Node::start(&upstream(concurrency(1, "100ms"), backend.address));
    let mut first = node.connect();
    first.send(GET);
    asked.recv().unwrap();
    let start = Instant::now();
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "queue_timeout"));
    assert!(start.elapsed() >= Duration::from_millis(100));
    node.change(&upstream(concurrency(1, "10m"), backend.address));
    let mut second = node.connect();
    second.send(GET);
    until(|| figures(&node) == (1, 1));
    drop(second);
    until(|| figures(&node) == (1, 0));
    // Who leaves while it is under way makes room as well.
    drop(first);
    until(|| figures(&node) == (0, 0));
    go.send(()).unwrap();
    let log = node.log();
    assert!(log.iter().any(|line| line["reason"] == "queue_timeout"), "{log:?}");
}

#[test]
fn an_upstream_that_fails_gets_no_requests_until_one_goes_well() {
    let (asked, well) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (count, is_well) = (asked.clone(), well.clone());
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            count.fetch_add(1, SeqCst);
            conn.send(if is_well.load(SeqCst) { ok("well") } else { BUSY.into() });
        }
    });
    let breaker = |open: &str| {
        let breaker = json!({"failure_share": 50, "min_requests": 10, "window": "60s", "open": open});
        json!({"circuit_breaker": breaker, "retry": {"attempts": 1, "back_off": {"base": "1ms"}}})
    };
    let node = Node::start(&upstream(breaker("10m"), backend.address));
    // Tries count, and the one that opens it is the last.
    for _ in 0..5 {
        assert_eq!(node.ask(GET).text(), "busy");
    }
    assert_eq!((asked.load(SeqCst), circuit(&node)), (10, (true, 1)));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "circuit_open"));
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((500..=661).contains(&seconds), "{seconds}");
    node.change(&upstream(breaker("100ms"), backend.address));
    assert_eq!((node.ask(GET).reason().as_str(), asked.load(SeqCst)), ("circuit_open", 10));
    let counts = node.counts();
    assert!(counts.failures.iter().any(|((_, reason, _), n)| *reason == "circuit_open" && *n == 2), "{counts:?}");
    // Another upstream's is its own, and opens for a shorter time.
    let mut resources = upstream(breaker("100ms"), backend.address);
    resources[0].1["name"] = json!("other");
    resources[1].1["forward"]["upstream"] = json!("other");
    node.change(&resources);
    for _ in 0..5 {
        assert_eq!(node.ask(GET).text(), "busy");
    }
    // The trial fails, and each is alone: nothing else reaches the upstream.
    until(|| node.ask(GET).text() == "busy");
    well.store(true, SeqCst);
    until(|| node.ask(GET).status() == 200);
    assert!(!circuit(&node).0);
    for _ in 0..20 {
        assert_eq!(node.ask(GET).text(), "well");
    }
}
