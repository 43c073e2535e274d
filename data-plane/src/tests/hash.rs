//! Balancing by a key of the request: whoever has the same key meets the same endpoint, whichever node or worker it came to.

use super::harness::{Backend, Conn, DEADLINE, Node, nobody, ok, settings};
use crate::settings::Settings;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

// Answers with its own name.
fn named(name: String) -> Backend {
    Backend::start(move |_, mut conn| serve(&name, &mut conn))
}

fn serve(name: &str, conn: &mut Conn) {
    while conn.request().is_some() {
        conn.send(ok(name));
    }
}

fn backends(n: usize) -> Vec<SocketAddr> {
    (0..n).map(|n| named(n.to_string()).address).collect()
}

fn hashed(hash: Value, endpoints: &[SocketAddr]) -> Vec<(Kind, Value)> {
    weighted(hash, endpoints, &vec![1; endpoints.len()])
}

fn weighted(hash: Value, endpoints: &[SocketAddr], weights: &[u32]) -> Vec<(Kind, Value)> {
    let endpoint = |(address, weight): (&SocketAddr, &u32)| json!({"address": address.to_string(), "weight": weight});
    let endpoints: Vec<Value> = endpoints.iter().zip(weights).map(endpoint).collect();
    let balance = json!({"consistent_hash": hash});
    vec![
        (Kind::Upstream, json!({"name": "back", "endpoints": endpoints, "balance": balance})),
        (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
    ]
}

fn by_header() -> Value {
    json!({"key": {"header": "x-tenant"}})
}

fn ask(node: &Node, target: &str, header: &str) -> String {
    node.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n")).text().to_string()
}

// Where the keys go.
fn places(node: &Node) -> Vec<String> {
    let mut client = node.connect();
    (0..60)
        .map(|n| {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: user-{n}\r\n\r\n"));
            client.response().text().to_string()
        })
        .collect()
}

#[test]
fn all_nodes_and_workers_choose_the_same() {
    let endpoints = backends(4);
    let first = Node::start(&hashed(by_header(), &endpoints));
    let places_of_first = places(&first);
    assert_eq!(places_of_first.iter().collect::<BTreeSet<_>>().len(), 4, "{places_of_first:?}");
    // In whichever order they are written.
    let reversed: Vec<_> = endpoints.iter().rev().copied().collect();
    let second = Node::with(Settings { workers: 2, ..settings() }, &hashed(by_header(), &reversed));
    for _ in 0..8 {
        // Each on a connection of its own, which either worker takes.
        assert_eq!(places(&second), places_of_first);
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_is_gone_move() {
    let endpoints = backends(5);
    let node = Node::start(&hashed(by_header(), &endpoints));
    let before = places(&node);
    node.change(&weighted(by_header(), &endpoints, &[1, 1, 0, 1, 1]));
    let without = places(&node);
    assert!(before.iter().zip(&without).all(|(before, after)| before == after || before == "2"));
    assert!(!without.contains(&"2".into()));
    node.change(&hashed(by_header(), &endpoints));
    assert_eq!(places(&node), before);
}

#[test]
fn a_try_that_fails_leaves_the_other_keys_alone() {
    let mut endpoints = backends(3);
    let node = Node::start(&hashed(by_header(), &endpoints));
    let before = places(&node);
    // Nobody is there yet: tries fail, it is ejected, and in the end it comes back on trial.
    let place = nobody();
    endpoints.push(place);
    let mut more = hashed(by_header(), &endpoints);
    more[0].1["ejection"] = json!({"base": "10ms", "max": "40ms"});
    node.change(&more);
    assert_eq!(places(&node), before, "those of the new one go where they were before");
    assert!(node.counts().retries > 0);
    assert_eq!(places(&node), before);
    let listener = TcpListener::bind(place).unwrap();
    let _back = Backend::on(listener, |_, mut conn| serve("3", &mut conn));
    let start = std::time::Instant::now();
    loop {
        let now = places(&node);
        assert!(before.iter().zip(&now).all(|(before, now)| before == now || now == "3"), "{now:?}");
        if now.contains(&"3".into()) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "its keys come back to it");
    }
}

#[test]
fn a_key_is_whatever_part_was_named() {
    let endpoints = backends(6);
    let cases = [
        (json!({"cookie": "id"}), "/", "Cookie: a=b; id=KEY\r\n"),
        (json!({"query": "who"}), "/?a=1&who=KEY&b=2", ""),
        (json!({"path": {}}), "/orders/KEY?time=NOW", ""),
        (json!({"template": "{header.x-tenant}/{query.user}"}), "/?user=KEY&now=NOW", "X-Tenant: t\r\n"),
    ];
    for (key, target, header) in cases {
        let node = Node::start(&hashed(json!({"key": key}), &endpoints));
        let mut places = BTreeSet::new();
        for n in 0..20 {
            let ask_at = |now: usize| {
                let fill = |text: &str| text.replace("KEY", &format!("k{n}")).replace("NOW", &now.to_string());
                ask(&node, &fill(target), &fill(header))
            };
            let place = ask_at(0);
            assert!((1..4).all(|now| ask_at(now) == place), "{key}");
            places.insert(place);
        }
        assert!(places.len() >= 4, "{key}: {places:?}");
    }
    let node = Node::start(&hashed(json!({"key": {"client_address": {}}}), &endpoints));
    let places: BTreeSet<_> = (0..10).map(|_| ask(&node, "/", "")).collect();
    assert_eq!(places.len(), 1);
}

#[test]
fn a_request_without_the_key_goes_anywhere() {
    let node = Node::start(&hashed(by_header(), &backends(3)));
    for header in ["", "X-Tenant:\r\n"] {
        let places: BTreeSet<_> = (0..60).map(|_| ask(&node, "/", header)).collect();
        assert_eq!(places.len(), 3, "{header:?}");
    }
}

#[test]
fn keys_that_nobody_expects_are_keys() {
    let node = Node::start(&hashed(json!({"key": {"cookie": "id"}, "max_load": 150}), &backends(3)));
    let mut client = node.connect();
    for value in ["id=\u{ff};;;=;id", "id=\"", "id=\t \t", "=id", &"=".repeat(4_000), &";id=x".repeat(500)] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {value}\r\n\r\n"));
        assert_eq!(client.response().status(), 200, "{value:?}");
    }
}

// Answers with its name when it is told to; says when it was asked.
fn held(name: usize, asked: Sender<usize>) -> (Backend, Sender<()>) {
    let (go, going): (Sender<()>, Receiver<()>) = channel();
    let (asked, going) = (Mutex::new(asked), Mutex::new(going));
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            asked.lock().unwrap().send(name).unwrap();
            going.lock().unwrap().recv().unwrap();
            conn.send(ok(&name.to_string()));
        }
    });
    (backend, go)
}

#[test]
fn a_key_that_everybody_sends_is_shared_under_a_bound() {
    let (asked, wait) = channel();
    let (backends, go): (Vec<Backend>, Vec<Sender<()>>) = (0..3).map(|name| held(name, asked.clone())).unzip();
    let endpoints: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let node = Node::start(&hashed(json!({"key": {"header": "x-tenant"}, "max_load": 101}), &endpoints));
    let mut busy = BTreeMap::<usize, usize>::new();
    let mut clients: Vec<Conn> = Vec::new();
    for _ in 0..9 {
        let mut client = node.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: everybody\r\n\r\n");
        *busy.entry(wait.recv_timeout(DEADLINE).unwrap()).or_default() += 1;
        clients.push(client);
    }
    // Of nine requests none has more than 101 % of three, rounded up.
    assert!(busy.len() == 3 && busy.values().all(|busy| *busy <= 4), "{busy:?}");
    for (name, n) in busy {
        (0..n).for_each(|_| go[name].send(()).unwrap());
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status(), 200));
}
