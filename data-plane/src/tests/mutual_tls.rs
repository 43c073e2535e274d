//! Certificates that clients show to listeners: who is known by one, and for how long.

use super::{
    authority::{Authority, Pair, TlsClient, connect},
    harness::{Backend, Node, forward, respond, settings},
};
use crate::settings::{Listen, Settings};
use proto::{matching::Scheme, resource::Kind};
use rustls::{
    DEFAULT_VERSIONS, HandshakeKind,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use std::io::{Read, Write};

fn asking() -> Settings {
    let listen = Listen { scheme: Scheme::Https, ..Listen::http("edge", ([127, 0, 0, 1], 0).into()) };
    Settings { listen: vec![listen], ask_client_certificate: vec!["edge".into()], ..settings() }
}

// These resources, behind that policy, by https.
fn guarded(mut resources: Vec<(Kind, Value)>, policy: Value, site: &Pair) -> Vec<(Kind, Value)> {
    resources.push((Kind::Policy, policy));
    resources.push(site.served("site"));
    resources
}

fn policy(ca: &Authority, more: Value) -> Value {
    let mut kind = json!({"ca": ca.pem()});
    kind.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "clients", "global": {}, "client_certificate": kind})
}

// The status, the head and the body of the answer.
fn ask(client: &mut TlsClient, more: &str) -> (u16, String, String) {
    write!(client, "GET / HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), head, String::from_utf8(body).unwrap())
}

#[test]
fn a_client_is_known_by_its_certificate_and_by_nothing_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let site = authority.sign("localhost");
    let policy = policy(&authority, json!({"allow": ["dns:*.internal"]}));
    let node = Node::with(asking(), &guarded(forward(&[Backend::echo().address]), policy, &site));
    let (good, wrong_name) = (authority.sign("billing.internal"), authority.sign("billing.example"));
    let (forged, expired) = (other.sign("billing.internal"), authority.sign_until("billing.internal", 2001));
    for (shown, status, reason) in [
        (Some(&good), 200, ""),
        (None, 401, "\"unauthenticated\""),
        (Some(&forged), 401, "\"certificate_unknown\""),
        (Some(&expired), 401, "\"certificate_expired\""),
        (Some(&wrong_name), 403, "\"certificate_not_allowed\""),
    ] {
        let mut client = connect(&authority.client(shown, DEFAULT_VERSIONS), node.address, "localhost");
        let claimed = "X-Forwarded-Client-Cert: Hash=1\r\nX-Forwarded-User: root\r\n";
        let (answered, head, body) = ask(&mut client, claimed);
        assert_eq!(answered, status, "{body}");
        assert!(body.contains(reason), "{body}");
        assert_eq!(head.contains("www-authenticate: clientcertificate"), status == 401, "{head}");
        // What a client only says of itself is gone.
        assert!(!body.contains("Hash=1") && !body.contains("root"), "{body}");
    }
    let log = node.log();
    let known: Vec<&Value> = log.iter().map(|line| &line["user.id"]).collect();
    assert_eq!(known[0], "billing.internal");
    assert!(known[1..].iter().all(|known| known.is_null()), "{known:?}");
}

#[test]
fn a_session_that_is_resumed_knows_its_client() {
    let authority = Authority::new();
    let site = authority.sign("localhost");
    for versions in [[&TLS13], [&TLS12]] {
        let node = Node::with(asking(), &guarded(respond(), policy(&authority, json!({})), &site));
        let config = authority.client(Some(&authority.sign("billing.internal")), &versions);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = connect(&config, node.address, "localhost");
            assert_eq!(ask(&mut client, "").0, 200);
            assert_eq!(client.conn.handshake_kind(), Some(kind));
        }
        // Whom nobody vouches for any more is not let in by what he resumes.
        node.change(&guarded(respond(), policy(&Authority::new(), json!({})), &site));
        let mut client = connect(&config, node.address, "localhost");
        assert_eq!((ask(&mut client, "").0, client.conn.handshake_kind()), (401, Some(HandshakeKind::Resumed)));
    }
}

#[test]
fn a_change_of_the_policy_meets_connections_that_stand() {
    let authority = Authority::new();
    let site = authority.sign("localhost");
    let node = Node::with(asking(), &guarded(respond(), policy(&authority, json!({})), &site));
    let known = authority.client(Some(&authority.sign("billing.internal")), DEFAULT_VERSIONS);
    let (mut known, mut nobody) =
        (connect(&known, node.address, "localhost"), authority.connect(node.address, "localhost"));
    assert_eq!((ask(&mut known, "").0, ask(&mut nobody, "").0), (200, 401));
    node.change(&guarded(respond(), policy(&authority, json!({"allow": ["cn:ada"]})), &site));
    assert_eq!(ask(&mut known, "").0, 403);
    node.change(&guarded(respond(), policy(&authority, json!({"optional": true})), &site));
    assert_eq!((ask(&mut known, "").0, ask(&mut nobody, "").0), (200, 200));
    // Who shows a wrong one is not taken for nobody.
    let forged = authority.client(Some(&Authority::new().sign("billing.internal")), DEFAULT_VERSIONS);
    assert_eq!(ask(&mut connect(&forged, node.address, "localhost"), "").0, 401);
    let log = node.log();
    assert_eq!(log.iter().filter(|line| line["user.id"] == "billing.internal").count(), 2, "{log:?}");
}

#[test]
fn a_client_is_the_consumer_that_has_its_name_and_only_where_the_policy_says_so() {
    let authority = Authority::new();
    let site = authority.sign("localhost");
    let route = json!({"name": "all", "respond": {"headers": [{"name": "x-is", "value": "{consumer.name}"}]}});
    let resources = |consumers: bool, ids: &[&str]| {
        let consumer = (Kind::Consumer, json!({"name": "acme", "ids": ids}));
        guarded(
            vec![(Kind::Route, route.clone()), consumer],
            policy(&authority, json!({"consumers": consumers})),
            &site,
        )
    };
    let node = Node::with(asking(), &resources(true, &["billing.internal"]));
    let config = authority.client(Some(&authority.sign("billing.internal")), DEFAULT_VERSIONS);
    let mut client = connect(&config, node.address, "localhost");
    let (status, head, _) = ask(&mut client, "");
    assert!(status == 200 && head.contains("x-is: acme\r\n"), "{head}");
    // Who that is changes while the connection stands.
    for (consumers, ids) in [(true, &["another.internal"][..]), (false, &["billing.internal"])] {
        node.change(&resources(consumers, ids));
        let (_, head, _) = ask(&mut client, "");
        assert!(!head.contains("acme"), "{head}");
    }
    node.change(&resources(true, &["billing.internal"]));
    assert!(ask(&mut client, "").1.contains("x-is: acme\r\n"));
}
