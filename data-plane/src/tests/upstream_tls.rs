//! TLS towards upstreams: who is believed, and what becomes of a connection that is not what it should be.

use super::{
    authority::{Authority, head, numbered, serve},
    harness::{Backend, DEADLINE, Node},
};
use proto::resource::Kind;
use rustls::{HandshakeKind, version::TLS12};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::mpsc::channel,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// One route for everything to one endpoint.
fn upstream(address: SocketAddr, tls: Value) -> Vec<(Kind, Value)> {
    let mut upstream = json!({"name": "back", "endpoints": [{"address": address.to_string()}]});
    if !tls.is_null() {
        upstream["tls"] = tls;
    }
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

#[test]
fn an_endpoint_that_proves_who_it_is_gets_the_request() {
    let authority = Authority::new();
    for (name, tls) in [
        ("127.0.0.1", json!({"ca": authority.pem()})),
        ("orders.internal", json!({"ca": authority.pem(), "server_name": "orders.internal"})),
        ("127.0.0.1", json!({"ca": authority.pem(), "min_version": "1.3"})),
        ("somebody", json!({"insecure_skip_verify": true})),
    ] {
        let (seen, wait) = channel();
        let address = serve(authority.sign(name).shown(), move |number, mut conn| {
            seen.send(head(&mut conn).unwrap()).unwrap();
            conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            numbered(number, conn);
        });
        let node = Node::start(&upstream(address, tls));
        assert_eq!(node.ask(GET).status(), 200, "{name}");
        assert!(wait.recv().unwrap().starts_with("GET / HTTP/1.1\r\n"));
        // The connection is kept, whatever tickets came meanwhile.
        for _ in 0..5 {
            assert_eq!(node.ask(GET).text(), "0");
        }
    }
}

#[test]
fn an_endpoint_that_does_not_prove_it_gets_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ca = json!({"ca": ours.pem()});
    for (config, tls, reason) in [
        (theirs.sign("127.0.0.1").shown(), ca.clone(), "tls_untrusted"),
        (ours.sign("127.0.0.2").shown(), ca.clone(), "tls_untrusted"),
        (ours.sign("localhost").shown(), ca.clone(), "tls_untrusted"),
        (ours.sign_until("127.0.0.1", 2020).shown(), ca.clone(), "tls_untrusted"),
        (ours.sign("127.0.0.1").shown(), json!({"ca": ours.pem(), "server_name": "a"}), "tls_untrusted"),
        (theirs.sign("127.0.0.1").shown(), json!({}), "tls_untrusted"),
        (ours.demanding(ours.sign("127.0.0.1")), ca.clone(), "tls_refused"),
    ] {
        let (seen, wait) = channel();
        let address = serve(config, move |_, mut conn| seen.send(head(&mut conn)).unwrap());
        let node = Node::start(&upstream(address, tls));
        let response = node.ask(GET);
        assert_eq!((response.status(), response.reason().as_str()), (502, reason));
        assert_eq!(wait.recv_timeout(DEADLINE).unwrap(), None);
        assert_eq!(node.log()[0]["reason"], reason);
    }
}

#[test]
fn a_server_of_another_protocol_is_no_server() {
    let ca = json!({"ca": Authority::new().pem()});
    // In cleartext, as it takes the handshake for a request; silent; gone at once.
    let plain = Backend::start(|_, mut conn| conn.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
    let gone = Backend::start(|_, _| {});
    for backend in [plain, gone] {
        let node = Node::start(&upstream(backend.address, ca.clone()));
        let response = node.ask(GET);
        assert_eq!((response.status(), response.reason().as_str()), (502, "tls_handshake"));
    }
    let silent = Backend::start(|_, mut conn| drop(conn.read_to_end()));
    let mut resources = upstream(silent.address, ca);
    resources[0].1["timeouts"] = json!({"connect": "100ms"});
    let response = Node::start(&resources).ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (504, "connect_timeout"));
}

#[test]
fn an_old_version_is_spoken_only_where_it_may_be() {
    let authority = Authority::new();
    for (min_version, status) in [("1.2", 200), ("1.3", 502)] {
        let mut config = authority.sign("127.0.0.1").shown();
        config = rustls::ServerConfig::builder_with_provider(config.crypto_provider().clone())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(config.cert_resolver);
        let address = serve(config, numbered);
        let node = Node::start(&upstream(address, json!({"ca": authority.pem(), "min_version": min_version})));
        assert_eq!(node.ask(GET).status(), status, "{min_version}");
    }
}

#[test]
fn a_second_connection_takes_the_ticket_of_the_first() {
    let authority = Authority::new();
    let (kind, wait) = channel();
    let address = serve(authority.sign("127.0.0.1").shown(), move |_, mut conn| {
        head(&mut conn).unwrap();
        kind.send(conn.conn.handshake_kind()).unwrap();
        conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    });
    let node = Node::start(&upstream(address, json!({"ca": authority.pem()})));
    for expect in [HandshakeKind::Full, HandshakeKind::Resumed] {
        assert_eq!(node.ask(GET).status(), 200);
        assert_eq!(wait.recv().unwrap(), Some(expect));
    }
}

#[test]
fn a_change_of_tls_leaves_no_connection_from_before() {
    let authority = Authority::new();
    let address = serve(authority.sign("127.0.0.1").shown(), numbered);
    let node = Node::start(&upstream(address, json!({"insecure_skip_verify": true})));
    assert_eq!(node.ask(GET).text(), "0");
    // Something else changes.
    let mut resources = upstream(address, json!({"insecure_skip_verify": true}));
    resources[0].1["retry"] = json!({"attempts": 2});
    node.change(&resources);
    assert_eq!(node.ask(GET).text(), "0");
    node.change(&upstream(address, json!({"ca": authority.pem()})));
    assert_eq!(node.ask(GET).text(), "1");
    // The endpoint that was believed is not any more.
    node.change(&upstream(address, json!({"ca": Authority::new().pem()})));
    assert_eq!(node.ask(GET).reason(), "tls_untrusted");
    node.change(&upstream(address, Value::Null));
    assert_eq!(node.ask(GET).status(), 502);
}

#[test]
fn bodies_go_through_tls_whole_or_not_at_all() {
    const LEN: usize = 3 * 1024 * 1024;
    let authority = Authority::new();
    let address = serve(authority.sign("127.0.0.1").shown(), |number, mut conn| {
        head(&mut conn).unwrap();
        let mut body = vec![0; LEN];
        conn.read_exact(&mut body).unwrap();
        match number {
            // It ends with the connection, in good order.
            0 => {
                conn.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                conn.write_all(&body).unwrap();
                conn.conn.send_close_notify();
                conn.flush().unwrap();
            }
            // Somebody cut it off.
            _ => {
                conn.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                conn.write_all(&body).unwrap();
            }
        }
    });
    let node = Node::start(&upstream(address, json!({"ca": authority.pem()})));
    let body = "0123456789abcdef".repeat(LEN / 16);
    for whole in [true, false] {
        let mut client = node.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\nConnection: close\r\n\r\n{body}"));
        let answer = client.read_to_end();
        assert_eq!(answer.ends_with(b"\r\n0\r\n\r\n"), whole);
    }
    let log = node.log();
    assert_eq!(log[1]["reason"], "upstream_body_truncated");
}

#[test]
fn a_second_answer_inside_tls_is_nobodys() {
    let authority = Authority::new();
    let (sent, wait) = channel();
    let address = serve(authority.sign("127.0.0.1").shown(), move |number, mut conn| {
        while head(&mut conn).is_some() {
            // In one record: what is left of it lies in the node, not in its socket.
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            conn.write_all(format!("{answer}{}", answer.replace(&number.to_string(), "x")).as_bytes()).unwrap();
            sent.send(()).unwrap();
        }
    });
    let node = Node::start(&upstream(address, json!({"ca": authority.pem()})));
    for number in 0..3 {
        assert_eq!(node.ask(GET).text(), number.to_string());
        wait.recv().unwrap();
    }
}
