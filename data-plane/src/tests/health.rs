//! Which endpoints take traffic: ejection, checks, and what happens when all are down.

use super::harness::{Backend, Conn, DEADLINE, Node, nobody, ok};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An endpoint that answers with its name and the status that it is told, and counts.
struct Told {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Told {
    fn start(name: &'static str) -> Told {
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::<AtomicUsize>::default());
        let (told, count) = (status.clone(), asked.clone());
        let backend = Backend::start(move |_, mut conn: Conn| {
            while conn.request().is_some() {
                count.fetch_add(1, SeqCst);
                let status = told.load(SeqCst);
                let len = name.len();
                conn.send(format!("HTTP/1.1 {status} Told\r\ncontent-length: {len}\r\n\r\n{name}"));
            }
        });
        Told { address: backend.address, status, asked }
    }

    fn say(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn upstream(endpoints: &[SocketAddr], more: Value) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    let mut upstream = json!({"name": "back", "endpoints": endpoints});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

#[test]
fn one_that_fails_is_ejected_and_comes_back_by_a_trial() {
    let (good, bad) = (Told::start("good"), Told::start("bad"));
    let ejection = json!({"ejection": {"consecutive_failures": 3, "base": "300ms"}});
    let node = Node::start(&upstream(&[good.address, bad.address], ejection.clone()));
    bad.say(503);
    let mut client = node.connect();
    let mut ask = || {
        client.send(GET);
        client.response().text().to_string()
    };
    for _ in 0..6 {
        ask();
    }
    assert_eq!((bad.asked(), node.healthy()), (3, vec![true, false]));
    // While it is out, and over a change of the configuration, it is not asked.
    let ejected = Instant::now();
    let mut changed = upstream(&[good.address, bad.address], ejection);
    changed[0].1["timeouts"] = json!({"response": "9s"});
    node.change(&changed);
    while ejected.elapsed().as_millis() < 100 {
        assert_eq!(ask(), "good");
    }
    assert_eq!(bad.asked(), 3);
    // Then one request tries it, and it is out for longer.
    let start = Instant::now();
    while bad.asked() < 4 {
        assert!(start.elapsed() < DEADLINE);
        ask();
    }
    assert_eq!(node.healthy(), [true, false]);
    bad.say(200);
    while bad.asked() < 5 {
        assert!(start.elapsed() < DEADLINE);
        ask();
    }
    assert_eq!(node.healthy(), [true, true]);
    let names: Vec<String> = (0..4).map(|_| ask()).collect();
    assert_eq!(names.iter().filter(|name| *name == "bad").count(), 2, "{names:?}");
}

#[test]
fn the_last_one_is_never_ejected() {
    let (a, b) = (Told::start("a"), Told::start("b"));
    let node = Node::start(&upstream(&[a.address, b.address], json!({"ejection": {"max_share": 100}})));
    a.say(503);
    b.say(503);
    for _ in 0..40 {
        assert_eq!(node.ask(GET).status(), 503);
    }
    assert_eq!(node.healthy().iter().filter(|healthy| **healthy).count(), 1);
}

#[test]
fn what_counts_as_a_failure_is_configured() {
    for (answers, status, ejected) in [
        ("none", 503, false),
        ("gateway", 500, false),
        ("gateway", 504, true),
        ("server", 500, true),
        ("server", 499, false),
    ] {
        let (a, b) = (Told::start("a"), Told::start("b"));
        let node = Node::start(&upstream(&[a.address, b.address], json!({"ejection": {"answers": {answers: {}}}})));
        b.say(status);
        for _ in 0..12 {
            node.ask(GET);
        }
        assert_eq!(node.healthy(), [true, !ejected], "{answers} {status}");
    }
}

#[test]
fn a_slow_one_and_a_dead_one_are_ejected() {
    let good = Told::start("good");
    let slow = Backend::start(|_, mut conn| while conn.request().is_some() {});
    let more = json!({"timeouts": {"response": "50ms"}, "ejection": {"consecutive_failures": 2, "max_share": 100}});
    let node = Node::start(&upstream(&[slow.address, good.address, nobody()], more));
    for _ in 0..8 {
        node.ask(GET);
    }
    assert_eq!(node.healthy(), [false, true, false]);
    for _ in 0..8 {
        assert_eq!(node.ask(GET).text(), "good");
    }
}

#[test]
fn checks_take_endpoints_out_and_bring_them_back() {
    let (a, b) = (Told::start("a"), Told::start("b"));
    let check = json!({"health_check": {"http": {"path": "/healthz"}, "interval": "100ms", "timeout": "2s"}});
    let resources = upstream(&[a.address, b.address], check);
    let node = Node::start(&resources);
    b.say(500);
    node.await_healthy(&[true, false]);
    // The change of another thing changes nothing.
    let mut changed = resources.clone();
    changed[0].1["timeouts"] = json!({"response": "9s"});
    node.change(&changed);
    assert_eq!(node.healthy(), [true, false]);
    for _ in 0..8 {
        assert_eq!(node.ask(GET).text(), "a");
    }
    b.say(200);
    node.await_healthy(&[true, true]);
    b.say(500);
    node.await_healthy(&[true, false]);
    // Without checks their verdict does not hold.
    node.change(&upstream(&[a.address, b.address], json!({})));
    node.await_healthy(&[true, true]);
}

#[test]
fn a_port_is_checked_by_a_connection() {
    let backend = Told::start("a");
    let check =
        |port: u16| json!({"health_check": {"tcp": {}, "port": port, "interval": "100ms"}, "all_down": {"fail": {}}});
    let node = Node::start(&upstream(&[backend.address], check(nobody().port())));
    node.await_healthy(&[false]);
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "no_healthy_endpoint"));
    assert!(response.header("retry-after").is_some());
    node.change(&upstream(&[backend.address], check(backend.address.port())));
    node.await_healthy(&[true]);
    assert_eq!(node.ask(GET).text(), "a");
}

#[test]
fn when_all_are_down_all_are_used_unless_that_is_forbidden() {
    let (a, b, c) = (Told::start("a"), Told::start("b"), Told::start("c"));
    let endpoints = [a.address, b.address, c.address];
    let more = |all_down: Value| {
        let http = json!({"statuses": [204], "path": "/healthz"});
        json!({"health_check": {"http": http, "interval": "100ms"}, "all_down": all_down})
    };
    let node = Node::start(&upstream(&endpoints, more(json!({"use_all": {}}))));
    node.await_healthy(&[false, false, false]);
    for _ in 0..6 {
        assert_eq!(node.ask(GET).status(), 200);
    }
    assert!([&a, &b, &c].iter().all(|told| told.asked() > 0));
    node.change(&upstream(&endpoints, more(json!({"fail": {}}))));
    assert_eq!(node.ask(GET).reason(), "no_healthy_endpoint");
    // One of three is more than 30 percent, and less than 40.
    a.say(204);
    node.await_healthy(&[true, false, false]);
    node.change(&upstream(&endpoints, more(json!({"use_all": {"below": 30}}))));
    assert!((0..6).all(|_| node.ask(GET).status() == 204));
    node.change(&upstream(&endpoints, more(json!({"use_all": {"below": 40}}))));
    assert!((0..6).any(|_| node.ask(GET).status() == 200));
}

#[test]
fn the_next_priority_takes_over_while_too_few_of_the_first_are_healthy() {
    let told = ["a", "b", "c"].map(Told::start);
    let endpoints: Vec<Value> = [(&told[0], 0), (&told[1], 0), (&told[2], 1)]
        .map(|(told, priority)| json!({"address": told.address.to_string(), "priority": priority}))
        .into();
    let check = json!({"http": {"path": "/healthz"}, "interval": "100ms"});
    let upstream = json!({"name": "back", "endpoints": endpoints, "health_check": check});
    let route = json!({"name": "all", "forward": {"upstream": "back"}});
    let node = Node::start(&[(Kind::Upstream, upstream), (Kind::Route, route)]);
    let who = || (0..6).map(|_| node.ask(GET).text().to_string()).collect::<BTreeSet<_>>();
    assert_eq!(who(), BTreeSet::from(["a", "b"].map(String::from)));
    // Half of them is enough.
    told[0].say(500);
    node.await_healthy(&[false, true, true]);
    assert_eq!(who(), BTreeSet::from(["b".to_string()]));
    told[1].say(500);
    node.await_healthy(&[false, false, true]);
    assert_eq!(who(), BTreeSet::from(["c".to_string()]));
    told[0].say(200);
    node.await_healthy(&[true, false, true]);
    assert_eq!(who(), BTreeSet::from(["a".to_string()]));
}

/// A server of the gRPC health protocol that says this status of the service `orders`.
fn grpc_health(status: Arc<AtomicU16>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = status.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let status = status.load(SeqCst) as u8;
                    async move {
                        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                        let asked = request.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(asked, Bytes::from_static(b"\0\0\0\0\x08\x0a\x06orders"));
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        let body = Full::new(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]));
                        Ok::<_, Infallible>(Response::new(body.with_trailers(async { Some(Ok(trailers)) })))
                    }
                });
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async { drop(connection.await) });
            }
        })
    });
    address
}

#[test]
fn a_grpc_server_says_whether_it_serves() {
    let status = Arc::new(AtomicU16::new(2));
    let port = grpc_health(status.clone()).port();
    let backend = Backend::answering(Box::leak(ok("a").into_boxed_str()));
    let check =
        json!({"health_check": {"grpc": {"service": "orders"}, "port": port, "interval": "100ms", "timeout": "2s"}});
    let node = Node::start(&upstream(&[backend.address], check));
    node.await_healthy(&[false]);
    status.store(1, SeqCst);
    node.await_healthy(&[true]);
}

// How many of so many requests each endpoint gets.
fn shares(node: &Node, n: usize) -> BTreeMap<String, usize> {
    let mut client = node.connect();
    let mut shares = BTreeMap::new();
    for _ in 0..n {
        client.send(GET);
        *shares.entry(client.response().text().to_string()).or_default() += 1;
    }
    shares
}

#[test]
fn a_new_endpoint_starts_slowly_and_those_of_the_start_do_not() {
    let (a, b) = (Told::start("a"), Told::start("b"));
    let slow = |window: &str| json!({"slow_start": {"window": window}});
    let node = Node::start(&upstream(&[a.address], slow("1h")));
    node.change(&upstream(&[a.address, b.address], slow("1h")));
    // A tenth of the other's.
    assert_eq!(shares(&node, 110)["b"], 10);
    // It is the node that knows how long it has been there, not the configuration.
    let mut more = slow("1h");
    more["timeouts"] = json!({"response": "9s"});
    node.change(&upstream(&[a.address, b.address], more));
    assert_eq!(shares(&node, 110)["b"], 10);
    let start = Instant::now();
    node.change(&upstream(&[a.address, b.address], slow("300ms")));
    let mut last = 0;
    while last < 50 {
        last = shares(&node, 100)["b"];
        assert!(start.elapsed() < DEADLINE, "{last}");
    }
    let node = Node::start(&upstream(&[a.address, b.address], slow("1h")));
    assert_eq!(shares(&node, 100)["b"], 50);
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly() {
    let (a, b) = (Told::start("a"), Told::start("b"));
    let ejection = json!({"consecutive_failures": 1, "base": "10ms"});
    let node = Node::start(&upstream(&[a.address, b.address], json!({"slow_start": {}, "ejection": ejection})));
    b.say(503);
    while node.healthy() == [true, true] {
        node.ask(GET);
    }
    b.say(200);
    let start = Instant::now();
    while node.healthy() != [true, true] {
        node.ask(GET);
        assert!(start.elapsed() < DEADLINE);
    }
    let shares = shares(&node, 110);
    assert!((8..25).contains(&shares["b"]), "{shares:?}");
}
