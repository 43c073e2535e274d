//! Clients that stay with an endpoint by a cookie, and what else a client may write into it.

use super::harness::{Backend, Message, Node, ok, settings};
use crate::settings::Settings;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

// Answers with its own name, and the cookies that it sees; nothing at all once it is down.
fn named(name: usize, down: &Arc<AtomicBool>) -> Backend {
    let down = down.clone();
    Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            if down.load(SeqCst) {
                return;
            }
            conn.send(ok(&format!("{name}{:?}", request.headers("cookie"))));
        }
    })
}

fn backends(n: usize) -> (Vec<SocketAddr>, Vec<Arc<AtomicBool>>) {
    let down: Vec<Arc<AtomicBool>> = (0..n).map(|_| Arc::default()).collect();
    (down.iter().enumerate().map(|(name, down)| named(name, down).address).collect(), down)
}

fn sticky(cookie: Value, endpoints: &[SocketAddr], weights: &[u32]) -> Vec<(Kind, Value)> {
    let endpoint = |(address, weight): (&SocketAddr, &u32)| json!({"address": address.to_string(), "weight": weight});
    let endpoints: Vec<Value> = endpoints.iter().zip(weights).map(endpoint).collect();
    let balance = json!({"sticky_cookie": cookie});
    vec![
        (Kind::Upstream, json!({"name": "back", "endpoints": endpoints, "balance": balance})),
        (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
    ]
}

fn ask(node: &Node, cookies: &str) -> Message {
    let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {cookies}\r\n") };
    node.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{cookies}\r\n"))
}

// `name=value` of the cookie that was set.
fn given(answer: &Message) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_string()
}

fn name(answer: &Message) -> char {
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.text().chars().next().unwrap()
}

#[test]
fn a_client_stays_on_every_node() {
    let (endpoints, _) = backends(3);
    let resources = sticky(json!({}), &endpoints, &[1, 1, 1]);
    let node = Node::start(&resources);
    let other = Node::with(Settings { workers: 2, ..settings() }, &resources);
    let mut places = BTreeSet::new();
    for _ in 0..20 {
        let first = ask(&node, "");
        let cookie = given(&first);
        let port = endpoints[name(&first) as usize - '0' as usize].port().to_string();
        assert!(cookie.starts_with("portico-back=") && !cookie.contains(&port) && !cookie.contains("127"), "{cookie}");
        for node in [&node, &other, &node, &other] {
            let answer = ask(node, &format!("a=b; {cookie}; c=d"));
            assert_eq!((name(&answer), answer.header("set-cookie")), (name(&first), None));
            assert!(answer.text().ends_with("[\"a=b; c=d\"]"), "it is the gateway's own: {}", answer.text());
        }
        assert!(ask(&node, &cookie).text().ends_with("[]"));
        places.insert(name(&first));
    }
    assert_eq!(places.len(), 3);
}

#[test]
fn the_cookie_is_as_safe_as_it_can_be() {
    let (endpoints, _) = backends(1);
    let trusting = Settings { trusted_proxy: vec!["127.0.0.0/8".parse().unwrap()], ..settings() };
    let resources = sticky(json!({}), &endpoints, &[1]);
    let node = Node::with(trusting, &resources);
    let by = |scheme: &str| {
        let answer = node.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {scheme}\r\n\r\n"));
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split_once(';').unwrap().1.to_string()
    };
    assert_eq!(by("http"), " Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(by("https"), " Path=/; HttpOnly; SameSite=Lax; Secure");
    let said = json!({"name": "id", "ttl": "1h", "path": "/a", "same_site": "none", "http_only": false});
    node.change(&sticky(said, &endpoints, &[1]));
    assert_eq!(by("http"), " Path=/a; Max-Age=3600; SameSite=None; Secure");
}

#[test]
fn who_loses_its_endpoint_gets_another_and_stays_there() {
    let (endpoints, down) = backends(3);
    let node = Node::start(&sticky(json!({}), &endpoints, &[1, 1, 1]));
    let first = ask(&node, "");
    let lost = name(&first);
    down[lost as usize - '0' as usize].store(true, SeqCst);
    let second = ask(&node, &given(&first));
    assert_ne!(name(&second), lost);
    let cookie = given(&second);
    for _ in 0..5 {
        let answer = ask(&node, &cookie);
        assert_eq!((name(&answer), answer.header("set-cookie")), (name(&second), None));
    }
    // Once it is ejected nobody even tries.
    while node.healthy().iter().all(|healthy| *healthy) {
        assert_ne!(name(&ask(&node, &given(&first))), lost);
    }
    let retries = node.counts().retries;
    assert_ne!(name(&ask(&node, &given(&first))), lost);
    assert_eq!(node.counts().retries, retries);
}

#[test]
fn an_endpoint_of_weight_0_keeps_its_clients_and_gets_no_new_ones() {
    let (endpoints, down) = backends(2);
    let node = Node::start(&sticky(json!({}), &endpoints, &[1, 0]));
    let cookie = given(&ask(&node, ""));
    node.change(&sticky(json!({}), &endpoints, &[0, 1]));
    for _ in 0..10 {
        let answer = ask(&node, &cookie);
        assert_eq!((name(&answer), answer.header("set-cookie")), ('0', None));
        assert_eq!(name(&ask(&node, "")), '1');
    }
    down[0].store(true, SeqCst);
    let moved = ask(&node, &cookie);
    assert_eq!(name(&moved), '1');
    assert_ne!(given(&moved), cookie);
    // Taken out altogether.
    node.change(&sticky(json!({}), &endpoints[1..], &[1]));
    assert_eq!(name(&ask(&node, &cookie)), '1');
}

#[test]
fn what_a_client_makes_up_is_no_cookie() {
    let (endpoints, _) = backends(2);
    let node = Node::start(&sticky(json!({}), &endpoints, &[1, 1]));
    let cookie = given(&ask(&node, ""));
    let (key, value) = cookie.split_once('=').unwrap();
    let upper = value.to_ascii_uppercase();
    let values = [
        "",
        "=",
        "\"",
        "127.0.0.1:80",
        "00000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffff",
        &format!("{value}0"),
        &value[1..],
        &format!("+{}", &value[1..]),
        &"f".repeat(6_000),
        "\u{ff}\u{fe}",
        if upper == value { "" } else { &upper },
    ];
    for made_up in values {
        let answer = ask(&node, &format!("{key}={made_up}"));
        assert_eq!(answer.status(), 200);
        assert_eq!(given(&answer).len(), cookie.len(), "{made_up}");
        assert!(answer.text().ends_with("[]"), "{}", answer.text());
    }
    // Of two the first counts, and none is passed on.
    let answer = ask(&node, &format!("{key}=x; {cookie}"));
    assert!(answer.header("set-cookie").is_some() && answer.text().ends_with("[]"));
    // The name of another upstream is nothing here.
    assert!(ask(&node, &format!("portico-other={value}")).header("set-cookie").is_some());
}

#[test]
fn the_secret_decides_what_endpoints_are_called() {
    let (endpoints, _) = backends(1);
    let mut seen = BTreeSet::new();
    for secret in [json!({}), json!({"secret": {"value": "one"}}), json!({"secret": {"value": "two"}})] {
        let node = Node::start(&sticky(secret, &endpoints, &[1]));
        seen.insert(given(&ask(&node, "")));
    }
    assert_eq!(seen.len(), 3);
}
