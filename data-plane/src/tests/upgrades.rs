//! Switching to another protocol: who may, what is believed, and what becomes of everybody else.

use super::harness::{Backend, Conn, DEADLINE, Message, Node, forward, ok, settings};
use crate::settings::Settings;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
};

// The example of RFC 6455, 1.3.
pub(super) const HANDSHAKE: &str = "GET /chat?a=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(super) const AGREED: &str = "HTTP/1.1 101 Sure\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One route for everything whose upgrades are these.
pub(super) fn upgrading(endpoint: SocketAddr, upgrades: Value) -> Vec<(Kind, Value)> {
    let mut resources = forward(&[endpoint]);
    if !upgrades.is_null() {
        resources[1].1["forward"]["upgrades"] = upgrades;
    }
    resources
}

/// An upstream that agrees to everything, and hands over each connection with what it was asked.
pub(super) fn agreeing() -> (Backend, Receiver<(Message, Conn)>) {
    answering(AGREED)
}

fn answering(answer: &'static str) -> (Backend, Receiver<(Message, Conn)>) {
    let (sender, receiver) = channel();
    let backend = Backend::start(move |_, mut conn| {
        if let Some(request) = conn.request() {
            conn.send(answer);
            sender.send((request, conn)).ok();
        }
    });
    (backend, receiver)
}

/// A tunnel: the client's end and the upstream's.
pub(super) fn open(node: &Node, upstream: &Receiver<(Message, Conn)>) -> (Conn, Conn) {
    let mut client = node.connect();
    client.send(HANDSHAKE);
    let head = client.head().unwrap();
    assert_eq!(head.status(), 101, "{head:?}");
    (client, upstream.recv_timeout(DEADLINE).unwrap().1)
}

pub(super) fn check_echo(client: &mut Conn, upstream: &mut Conn) {
    client.send("up");
    assert_eq!(upstream.read(2), b"up");
    upstream.send("down");
    assert_eq!(client.read(4), b"down");
}

#[test]
fn client_and_upstream_are_connected_after_the_answer() {
    let (backend, upstreams) = answering(concat!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Sure\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nX-Own: 1\r\n\r\nearly"
    ));
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let mut client = node.connect();
    // Whoever is sure may send ahead.
    client.send(HANDSHAKE.replace("\r\n\r\n", "\r\nUser-Agent: t\r\nSec-WebSocket-Protocol: chat\r\n\r\nahead"));
    let head = client.head().unwrap();
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
        ("x-own", "1"),
    ] {
        assert_eq!(head.headers(name), [value], "{name}");
    }
    assert_eq!(client.read(5), b"early");
    let (request, mut upstream) = upstreams.recv_timeout(DEADLINE).unwrap();
    assert_eq!(request.line, "GET /chat?a=1 HTTP/1.1");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("via", "1.1 portico"),
    ] {
        assert_eq!(request.headers(name), [value], "{name}");
    }
    assert_eq!((request.header("content-length"), request.header("transfer-encoding")), (None, None));
    assert_eq!(upstream.read(5), b"ahead");
    check_echo(&mut client, &mut upstream);
    // No HTTP any more, either way.
    client.send(GET);
    assert_eq!(upstream.read(GET.len()), GET.as_bytes());
    upstream.send(ok(""));
    assert_eq!(client.read(ok("").len()), ok("").as_bytes());
    // One way ends, and the other goes on.
    client.finish();
    assert!(upstream.is_closed());
    upstream.send("last words");
    drop(upstream);
    assert_eq!(client.read_to_end(), b"last words");
    drop(client);
    let log = node.log();
    let line = &log[0];
    assert_eq!((&line["http.response.status_code"], &line["reason"]), (&101.into(), &Value::Null));
    assert_eq!(line["http.request.body.size"], 5 + 2 + GET.len());
    assert_eq!(line["http.response.body.size"], 5 + 4 + ok("").len() + 10);
    assert_eq!((&line["url.path"], &line["server.address"]), (&"/chat".into(), &"a".into()));
    assert_eq!(
        (&line["user_agent.original"], &line["request_id"]),
        (&"t".into(), &head.header("x-request-id").unwrap().into())
    );
}

#[test]
fn a_wish_that_is_not_granted_is_left_out() {
    let websocket = |lines: &str| {
        let rest = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}\r\n")
    };
    let asks = "Connection: Upgrade\r\nUpgrade: websocket";
    let own = |token: &str| websocket(&format!("Connection: Upgrade\r\nUpgrade: {token}"));
    let all = json!({"protocols": ["websocket", "my-proto"]});
    for (upgrades, request) in [
        // No wish, or no clear one.
        (&all, websocket("Upgrade: websocket")),
        (&all, websocket("Connection: keep-alive\r\nUpgrade: websocket")),
        (&all, websocket("Connection: Upgrade")),
        (&all, websocket("Connection: Upgrade\r\nUpgrade:")),
        (&all, websocket(&format!("{asks}\r\nUpgrade: websocket"))),
        (&all, own("websocket, my-proto")),
        (&all, own("my-proto websocket")),
        (&all, own("websocket/13")),
        // Not for this protocol.
        (&Value::Null, own("my-proto")),
        (&json!({"protocols": ["my-proto"]}), own("websocket")),
        (&json!({}), own("websocket")),
        (&all, own("h2c")),
        (&all, own("TLS/1.2")),
        (&all, own("HTTP/2.0")),
        (&all, websocket("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk")),
        // Not with such a request.
        (&all, websocket(asks).replace("HTTP/1.1", "HTTP/1.0")),
        (&all, websocket(&format!("{asks}\r\nContent-Length: 1")) + "x"),
        (&all, websocket(&format!("{asks}\r\nTransfer-Encoding: chunked")) + "0\r\n\r\n"),
    ] {
        let node = Node::start(&upgrading(Backend::echo().address, upgrades.clone()));
        let mut client = node.connect();
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status(), 200, "{request}");
        let seen = response.text();
        assert!(!seen.contains("\"connection\"") && !seen.contains("\"upgrade\""), "{request}: {seen}");
        assert!(!seen.contains("http2-settings"), "{seen}");
        assert_eq!(response.header("upgrade"), None);
    }
}

#[test]
fn a_handshake_of_websocket_is_one() {
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    for (from, to) in [
        ("GET ", "POST "),
        ("GET ", "OPTIONS "),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: "),
        ("bXBs", "bXB"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
        ("Version: 13", "Version: 13, 8"),
        ("Version: 13", "Version: x"),
        // What `Connection` names is not passed on.
        ("keep-alive, Upgrade", "Upgrade, Sec-WebSocket-Key"),
    ] {
        let mut client = node.connect();
        // What follows is HTTP again.
        client.send(HANDSHAKE.replacen(from, to, 1) + "GET / HTTP/1.1\r\nHost: a\r\nX: y\x01\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (400, "websocket"), "{from:?} → {to:?}");
        assert_eq!(client.response().reason(), "malformed");
    }
    assert!(upstreams.try_recv().is_err(), "the upstream heard nothing of them");
    // Which versions there are, the upstream knows.
    let backend = Backend::answering(
        "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let response = node.ask(&HANDSHAKE.replace(": 13", ": 99"));
    assert_eq!((response.status(), response.header("sec-websocket-version")), (426, Some("13")));
}

#[test]
fn consent_to_something_else_is_none() {
    let own = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: my-proto\r\n\r\n";
    for (request, answer) in [
        (HANDSHAKE, AGREED.replace("xOo=", "xOO=")),
        (HANDSHAKE, AGREED.replace("Sec-WebSocket-Accept", "X")),
        (HANDSHAKE, AGREED.replace("websocket", "my-proto")),
        (HANDSHAKE, AGREED.replace("Upgrade: websocket", "Upgrade: websocket, x")),
        (HANDSHAKE, AGREED.replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket")),
        (HANDSHAKE, AGREED.replace("Upgrade: websocket\r\n", "")),
        (HANDSHAKE, AGREED.replace("Connection: Upgrade\r\n", "")),
        (HANDSHAKE, AGREED.replace("Connection: Upgrade", "Connection: close")),
        (HANDSHAKE, AGREED.replace("HTTP/1.1", "HTTP/1.0")),
        (HANDSHAKE, AGREED.replace("Sure\r\n", "Sure\r\nContent-Length: 5\r\n")),
        (HANDSHAKE, AGREED.replace("Sure\r\n", "Sure\r\nTransfer-Encoding: chunked\r\n")),
        (own, AGREED.into()),
        (own, AGREED.replace("websocket", "my-proto/1")),
    ] {
        let (closed, wait) = channel();
        let bytes = answer.clone();
        let backend = Backend::start(move |_, mut conn| {
            conn.request();
            conn.send(format!("{bytes}secret"));
            closed.send(conn.read_to_end()).unwrap();
        });
        let node = Node::start(&upgrading(backend.address, json!({"protocols": ["websocket", "my-proto"]})));
        let mut client = node.connect();
        client.send(format!("{request}GET /none HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status(), response.reason().as_str()), (502, "bad_upgrade"), "{answer}");
        assert_eq!(response.header("upgrade"), None);
        assert_eq!(wait.recv_timeout(DEADLINE).unwrap(), b"", "that connection is closed, and nothing came");
        // The client's is one of HTTP as before.
        assert_eq!(client.response().status(), 417);
    }
}

#[test]
fn what_follows_a_refused_upgrade_is_http() {
    // An upstream that goes on with HTTP, and one that claims to have heard nothing.
    for answer in [
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let (seen, requests) = channel();
        let backend = Backend::start(move |number, mut conn| {
            while let Some(request) = conn.request() {
                seen.send((number, request.line.clone())).unwrap();
                conn.send(if request.header("upgrade").is_some() { answer.into() } else { ok(&request.line) });
            }
        });
        let mut resources = upgrading(backend.address, Value::Null);
        resources[1].1["match"] = json!({"path": {"prefix": "/chat"}});
        let node = Node::start(&resources);
        let mut client = node.connect();
        // What a route does not allow is not reached behind an upgrade.
        client.send(format!(
            "{HANDSHAKE}GET /private HTTP/1.1\r\nHost: a\r\n\r\nGET /chat/2 HTTP/1.1\r\nHost: a\r\n\r\n\x01\x05\x00"
        ));
        assert_eq!(client.response().text(), "no");
        assert_eq!(client.response().reason(), "no_route");
        assert_eq!(client.response().text(), "GET /chat/2 HTTP/1.1");
        client.finish();
        assert_eq!(client.response().reason(), "malformed");
        assert!(client.is_closed());
        let lines: Vec<_> = requests.try_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["GET /chat?a=1 HTTP/1.1", "GET /chat/2 HTTP/1.1"]);
        assert_eq!(node.log().len(), 4);
    }
}

#[test]
fn an_upgrade_has_a_connection_of_its_own_and_is_sent_once() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let backend = Backend::start(move |number, mut conn| {
        count.fetch_add(1, SeqCst);
        while let Some(request) = conn.request() {
            match (request.line.as_str(), request.header("upgrade").is_some()) {
                // It dies before it answers.
                ("GET /die HTTP/1.1", _) => return,
                (_, true) => {
                    conn.send(AGREED);
                    conn.send(number.to_string());
                }
                (_, false) => conn.send(ok(&number.to_string())),
            }
        }
    });
    let node = Node::start(&upgrading(backend.address, Value::Null));
    assert_eq!(node.ask(GET).text(), "0");
    let mut client = node.connect();
    client.send(HANDSHAKE);
    client.head().unwrap();
    assert_eq!(client.read(1), b"1", "not on the one that waits for requests");
    for _ in 0..2 {
        assert_eq!(node.ask(GET).text(), "0", "nor is it given to anybody else");
    }
    drop(client);
    assert_eq!(node.ask(GET).text(), "0");
    let response = node.ask(&HANDSHAKE.replace("/chat?a=1", "/die"));
    assert_eq!((response.status(), response.reason().as_str()), (502, "closed"));
    assert_eq!(connections.load(SeqCst), 3);
    // A connection that cannot be made is another matter.
    let (backend, upstreams) = agreeing();
    let mut resources = upgrading(backend.address, Value::Null);
    let endpoints = [super::harness::nobody(), backend.address].map(|address| json!({"address": address.to_string()}));
    resources[0].1["endpoints"] = json!(endpoints);
    let node = Node::start(&resources);
    for _ in 0..4 {
        open(&node, &upstreams);
    }
}

#[test]
fn tunnels_are_connections_and_requests_in_flight() {
    let (backend, upstreams) = agreeing();
    let node = Node::with(Settings { max_connections: 2, ..settings() }, &upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    node.await_counts(|counts| counts.tunnels == 1);
    assert_eq!(node.router().pools().next().unwrap().endpoints()[0].connections(), 1);
    let second = open(&node, &upstreams);
    // The client's connection counts too.
    assert_eq!(node.connect().response().status(), 503);
    drop(second);
    node.await_counts(|counts| counts.tunnels == 1);
    check_echo(&mut client, &mut upstream);
    drop(client);
    assert!(upstream.is_closed());
    drop(upstream);
    node.await_counts(|counts| counts.tunnels == 0);
    assert_eq!(node.router().pools().next().unwrap().endpoints()[0].connections(), 0);
}

#[test]
fn the_busier_endpoint_is_the_one_with_the_tunnel() {
    let (held, upstreams) = channel();
    let serve = move |name: &'static str| {
        let held = held.clone();
        move |_: usize, mut conn: Conn| {
            while let Some(request) = conn.request() {
                if request.header("upgrade").is_some() {
                    conn.send(AGREED);
                    return held.send((name, conn)).unwrap();
                }
                conn.send(ok(name));
            }
        }
    };
    let backends = [Backend::start(serve("a")), Backend::start(serve("b"))];
    let mut resources = forward(&backends.each_ref().map(|backend| backend.address));
    resources[0].1["balance"] = json!({"least_request": {}});
    let node = Node::start(&resources);
    let mut client = node.connect();
    client.send(HANDSHAKE);
    client.head().unwrap();
    let (busy, _upstream) = upstreams.recv_timeout(DEADLINE).unwrap();
    let mut asker = node.connect();
    let mut share = 0;
    for _ in 0..400 {
        asker.send(GET);
        share += usize::from(asker.response().text() == busy);
    }
    // It has a quarter, when both that were drawn are it; without the tunnel it would have half.
    assert!(share < 150, "{share}");
}
