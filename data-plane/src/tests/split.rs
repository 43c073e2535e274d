//! Requests of one route that are divided among several upstreams.

use super::harness::{Backend, Node, nobody, ok, settings};
use crate::settings::Settings;
use proto::{
    json,
    resource::{Change, Kind, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn named(name: &'static str) -> SocketAddr {
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            conn.send(ok(name));
        }
    });
    backend.address
}

// The upstreams `old` and `new`, and a route that divides its requests.
fn split(places: [SocketAddr; 2], weights: [u32; 2], more: Value) -> Vec<(Kind, Value)> {
    let upstream = |name: &str, place: SocketAddr| {
        let served_by = json!({"response_headers": {"set": [{"name": "x-upstream", "value": name}]}});
        let endpoints = json!([{"address": place.to_string()}]);
        (
            Kind::Upstream,
            json!({"name": name, "endpoints": endpoints, "policies": [served_by], "retry": {"attempts": 0}}),
        )
    };
    let mut forward = json!({"split": [
        {"upstream": "old", "weight": weights[0]},
        {"upstream": "new", "weight": weights[1]},
    ]});
    forward.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let route = (Kind::Route, json!({"name": "all", "forward": forward}));
    vec![upstream("old", places[0]), upstream("new", places[1]), route]
}

fn by_header() -> Value {
    json!({"split_key": {"header": "x-tenant"}})
}

// Where 200 users are sent.
fn places(node: &Node) -> Vec<String> {
    let mut client = node.connect();
    let mut place = |n: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: user-{n}\r\n\r\n"));
        let answer = client.response();
        // The policies of the upstream that was chosen, and no other's.
        assert_eq!(answer.headers("x-upstream"), [answer.text()]);
        answer.text().to_string()
    };
    (0..200).map(&mut place).collect()
}

fn count(places: &[String], name: &str) -> usize {
    places.iter().filter(|place| *place == name).count()
}

#[test]
fn each_upstream_gets_its_share() {
    let upstreams = [named("old"), named("new")];
    let node = Node::start(&split(upstreams, [3, 1], json!({})));
    let new = count(&places(&node), "new");
    assert!((20..85).contains(&new), "{new} of 200");
    node.change(&split(upstreams, [0, 1], json!({})));
    assert_eq!(count(&places(&node), "new"), 200);
    node.change(&split(upstreams, [5, 0], json!({})));
    assert_eq!(count(&places(&node), "new"), 0);
}

#[test]
fn a_client_stays_on_its_side_on_every_node() {
    let upstreams = [named("old"), named("new")];
    let node = Node::start(&split(upstreams, [90, 10], by_header()));
    let other = Node::with(Settings { workers: 2, ..settings() }, &split(upstreams, [90, 10], by_header()));
    let before = places(&node);
    assert!((5..45).contains(&count(&before, "new")), "{before:?}");
    for _ in 0..4 {
        assert_eq!((places(&node), places(&other)), (before.clone(), before.clone()));
    }
    // A step moves few, and nobody goes back.
    node.change(&split(upstreams, [80, 20], by_header()));
    let after = places(&node);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || after == "new"));
    assert!(count(&after, "new") > count(&before, "new") && count(&after, "new") < 70);
    // Who has no key is sent anywhere.
    let mut client = node.connect();
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..200 {
        client.send(GET);
        *seen.entry(client.response().text().to_string()).or_default() += 1;
    }
    assert!((15..75).contains(&seen["new"]), "{seen:?}");
}

#[test]
fn the_record_names_the_upstream_that_was_chosen() {
    let node = Node::start(&split([named("old"), nobody()], [1, 1], by_header()));
    let answers: Vec<_> = (0..40)
        .map(|n| node.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: user-{n}\r\n\r\n")).status())
        .collect();
    let failed = answers.iter().filter(|status| **status == 502).count() as u64;
    assert!(failed > 0 && failed < 40);
    let failures = node.counts().failures;
    let of_new: Vec<_> =
        failures.iter().map(|((upstream, _, _), n)| (upstream.as_ref().map(|name| name.as_str()), *n)).collect();
    assert_eq!(of_new, [(Some("new"), failed)], "{failures:?}");
    let log = node.log();
    let expect = |status: u64| if status == 200 { "old" } else { "new" };
    assert!(
        log.iter().all(|line| line["upstream"] == expect(line["http.response.status_code"].as_u64().unwrap())),
        "{log:?}"
    );
}

#[test]
fn every_side_is_referred_to() {
    let resources = split([nobody(), nobody()], [1, 0], json!({}));
    let put = resources.iter().map(|(kind, value)| Change::Put(json::read(*kind, value).unwrap()));
    let snapshot = Snapshot::empty().with(put).unwrap();
    for (name, pointer) in [("old", "/forward/split/0/upstream"), ("new", "/forward/split/1/upstream")] {
        let key = ResourceKey::new(Kind::Upstream, proto::name::Name::parse(name).unwrap());
        assert_eq!(snapshot.referrers(&key).map(|key| key.name.as_str()).collect::<Vec<_>>(), ["all"]);
        let faults = snapshot.with([Change::Delete(key)]).unwrap_err();
        assert_eq!(faults[0].pointer, pointer);
    }
}
