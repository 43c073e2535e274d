//! Upstreams that cannot be reached, or not always.

use super::{
    Seen,
    client::{Client, Protocol},
};
use crate::tests::harness::{Backend, Node, nobody, ok, settings};
use proto::resource::Kind;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn resources(mut upstream: Value) -> Vec<(Kind, Value)> {
    upstream["name"] = json!("back");
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

fn endpoints(addresses: &[SocketAddr]) -> Value {
    addresses.iter().map(|address| json!({"address": address.to_string()})).collect()
}

// A listener whose queue is full: whoever connects gets no answer. It is open as long as what is returned.
fn full() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let waiting = std::iter::from_fn(|| connect().ok()).take(16).collect();
    (address, socket, waiting)
}

#[test]
fn whoever_cannot_be_reached_is_told_apart() {
    let (full, _socket, _waiting) = full();
    let none = json!({"attempts": 0});
    for (name, upstream, status, reason) in [
        ("refused", json!({"endpoints": endpoints(&[nobody()]), "retry": none}), 502, "connect"),
        ("all endpoints down", json!({"endpoints": endpoints(&[nobody(), nobody(), nobody()])}), 502, "connect"),
        (
            "nobody accepts",
            json!({"endpoints": endpoints(&[full]), "timeouts": {"connect": "200ms"}, "retry": none}),
            504,
            "connect_timeout",
        ),
        ("the name is gone", json!({"endpoints": [{"address": "no-such-name.invalid:80"}]}), 502, "resolve"),
        (
            "refused by HTTP/2",
            json!({"endpoints": endpoints(&[nobody()]), "protocol": {"http2": {}}, "retry": none}),
            502,
            "connect",
        ),
        (
            "nobody accepts HTTP/2",
            json!({"endpoints": endpoints(&[full]), "timeouts": {"connect": "200ms"}, "protocol": {"http2": {}},
                "retry": none}),
            504,
            "connect_timeout",
        ),
    ] {
        let node = Node::with(settings(), &resources(upstream));
        for protocol in BOTH {
            let mut client = Client::new(protocol, node.address);
            // The client's connection goes on.
            for _ in 0..2 {
                let seen = client.ask("GET", "/", name, || {});
                assert_eq!(seen, Seen::Refused(status, reason.into()), "{name} by {protocol:?}");
            }
        }
        let log = node.log();
        assert_eq!(log.len(), 4);
        for line in log {
            assert_eq!(
                (&line["http.response.status_code"], &line["reason"]),
                (&status.into(), &reason.into()),
                "{name}"
            );
        }
    }
}

#[test]
fn one_that_comes_and_goes_fails_no_request_that_may_be_repeated() {
    // Every second connection ends before it says anything; the others serve one request.
    let flapping = Backend::start(|number, mut conn| {
        if number % 2 == 1 {
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nf");
        }
    });
    let steady = Backend::start(|_, mut conn| {
        while conn.request().is_some() {
            conn.send(ok("s"));
        }
    });
    let node = Node::with(settings(), &resources(json!({"endpoints": endpoints(&[flapping.address, steady.address])})));
    for protocol in BOTH {
        let mut client = Client::new(protocol, node.address);
        let mut seen = (0..40).map(|_| client.ask("GET", "/", "one that flaps", || {}));
        assert!(seen.all(|seen| matches!(seen, Seen::Whole(200, _))));
    }
    assert!(node.counts().retries > 0);
    assert!(node.log().iter().all(|line| line["reason"] == Value::Null));
}
