//! What becomes of two connections that are tied together: every end there is, and what is not one.

use super::{
    authority::{Authority, head, serve},
    harness::{Backend, DEADLINE, Node, settings},
    listeners::{secured, tls},
    upgrades::{AGREED, HANDSHAKE, agreeing, check_echo, open, upgrading},
};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    sync::{Arc, mpsc::channel},
    time::{Duration, Instant},
};

const SHORT: Duration = Duration::from_millis(150);

#[test]
fn each_way_ends_by_itself() {
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    for first in ["client", "upstream"] {
        let (mut client, mut upstream) = open(&node, &upstreams);
        let (a, b) = if first == "client" { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        a.send("the end");
        a.finish();
        assert_eq!(b.read_to_end(), b"the end");
        // The other way is as long as it is.
        for _ in 0..3 {
            b.send("still");
            assert_eq!(a.read(5), b"still");
        }
        b.finish();
        assert!(a.is_closed());
    }
    assert!(node.log().iter().all(|line| line["reason"].is_null()));
}

#[test]
fn a_reset_is_passed_on() {
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    check_echo(&mut client, &mut upstream);
    client.reset();
    assert!(upstream.is_reset());
    let (mut client, mut upstream) = open(&node, &upstreams);
    check_echo(&mut client, &mut upstream);
    upstream.reset();
    assert!(client.is_reset());
    // Whoever was told of the end may go as it likes.
    let (mut client, mut upstream) = open(&node, &upstreams);
    check_echo(&mut client, &mut upstream);
    upstream.finish();
    assert!(client.is_closed());
    client.reset();
    assert!(upstream.is_reset());
    let log = node.log();
    assert_eq!((&log[0]["reason"], &log[1]["reason"]), (&"client_closed".into(), &"tunnel_reset".into()));
    assert_eq!(log[2]["reason"], Value::Null);
    assert_eq!((&log[1]["http.request.body.size"], &log[1]["http.response.body.size"]), (&2.into(), &4.into()));
}

#[test]
fn the_last_words_of_an_upstream_that_hears_no_more_arrive() {
    const LEN: usize = 64 * 1024;
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    upstream.send(vec![7; LEN]);
    // Whatever comes from now on is answered with a reset.
    drop(upstream);
    for _ in 0..100 {
        client.send("more");
        assert_eq!(client.read(LEN / 128), [7; LEN / 128]);
    }
    for _ in 0..100 {
        client.send("more");
    }
    assert_eq!(client.read_to_end().len(), LEN - 100 * (LEN / 128));
    // It is listened to until it has said all; a reset might have taken the last words from it.
    assert!(client.try_send(b"more"));
    client.finish();
    let line = &node.log()[0];
    assert_eq!((&line["http.response.body.size"], &line["reason"]), (&LEN.into(), &Value::Null));
}

#[test]
fn silence_has_an_end() {
    let (backend, upstreams) = agreeing();
    let upgrades = json!({"protocols": ["websocket"], "idle": "500ms"});
    let node = Node::start(&upgrading(backend.address, upgrades));
    let (mut client, mut upstream) = open(&node, &upstreams);
    let idle = Duration::from_millis(500);
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < 2 * idle {
        last = Instant::now();
        upstream.send("x");
        assert_eq!(client.read(1), b"x");
    }
    assert!(client.is_reset() && upstream.is_reset());
    assert!(last.elapsed() >= idle);
    assert_eq!(node.log()[0]["reason"], "tunnel_idle");
}

#[test]
fn nobody_is_read_from_faster_than_the_other_takes_it() {
    const MOST: usize = 256 * 1024 * 1024;
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    for up in [true, false] {
        let (client, upstream) = open(&node, &upstreams);
        let (mut writer, mut reader) = if up { (client, upstream) } else { (upstream, client) };
        // It writes until nothing more goes.
        let mut stream = writer.stream();
        stream.set_write_timeout(Some(SHORT)).unwrap();
        let piece: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
        let mut written = 0;
        loop {
            match stream.write(&piece[written % piece.len()..]) {
                Ok(n) => written += n,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                    break;
                }
            }
            assert!(written < MOST, "somebody keeps all of it");
        }
        // The other way does not wait for that.
        reader.send("meanwhile");
        assert_eq!(writer.read(9), b"meanwhile");
        // All of it comes, in order.
        writer.finish();
        let read = reader.read_to_end();
        assert_eq!(read.len(), written);
        assert!(read.chunks(piece.len()).all(|chunk| chunk == &piece[..chunk.len()]));
    }
}

#[test]
fn both_ends_may_speak_tls() {
    const LEN: usize = 3 * 1024 * 1024;
    let authority = Authority::new();
    let (sent, wait) = channel();
    let address = serve(authority.sign("127.0.0.1").shown(), move |number, mut conn| {
        assert!(head(&mut conn).unwrap().contains("upgrade: websocket\r\n"));
        conn.write_all(format!("{AGREED}hello").as_bytes()).unwrap();
        let mut heard = vec![0; LEN];
        conn.read_exact(&mut heard).unwrap();
        conn.write_all(&heard).unwrap();
        // Its end is one in good order, or none.
        let mut rest = Vec::new();
        sent.send(conn.read_to_end(&mut rest).map_err(|error| error.kind())).unwrap();
        if number == 0 {
            conn.conn.send_close_notify();
        }
        conn.flush().unwrap();
    });
    let mut resources = upgrading(address, Value::Null);
    resources[0].1["tls"] = json!({"ca": authority.pem()});
    let node = secured("tls=https://127.0.0.1:0", resources);
    let message: Vec<u8> = (0..LEN).map(|n| (n % 253) as u8).collect();
    for in_order in [true, false] {
        let mut client = tls(&node, &[b"http/1.1"]);
        client.write_all(HANDSHAKE.as_bytes()).unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"hello") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            came.push(byte[0]);
        }
        assert!(came.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
        client.write_all(&message).unwrap();
        let mut heard = vec![0; LEN];
        client.read_exact(&mut heard).unwrap();
        assert!(heard == message);
        if in_order {
            client.conn.send_close_notify();
        }
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let end = wait.recv_timeout(DEADLINE).unwrap();
        match in_order {
            true => {
                assert_eq!(end, Ok(0));
                assert_eq!(client.read(&mut [0]).unwrap(), 0, "the upstream's own end arrives");
            }
            // Somebody cut it off.
            false => assert_eq!(end, Err(ErrorKind::ConnectionReset)),
        }
    }
}

#[test]
fn a_change_ends_no_tunnel_and_a_tunnel_keeps_no_router() {
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    let before = Arc::downgrade(&node.router());
    let other = Backend::echo();
    node.change(&upgrading(other.address, json!({})));
    let start = Instant::now();
    while before.strong_count() > 0 {
        check_echo(&mut client, &mut upstream);
        assert!(start.elapsed() < DEADLINE, "the router lives");
    }
    assert_eq!(node.ask(HANDSHAKE).status(), 200, "the change has taken effect");
    check_echo(&mut client, &mut upstream);
    client.finish();
    assert!(upstream.is_closed());
    drop(upstream);
    assert!(client.is_closed());
    let log = node.log();
    assert_eq!((&log[1]["http.response.status_code"], &log[1]["upstream"]), (&101.into(), &"back".into()));
}

#[test]
fn a_node_that_stops_waits_for_tunnels_but_not_for_ever() {
    let (backend, upstreams) = agreeing();
    let node = Node::start(&upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    let address = node.address;
    let drain = node.drain(DEADLINE);
    while std::net::TcpStream::connect(address).is_ok() {}
    check_echo(&mut client, &mut upstream);
    upstream.finish();
    assert!(client.is_closed());
    client.finish();
    assert_eq!(drain.join().unwrap()[0]["reason"], Value::Null);
    let (backend, upstreams) = agreeing();
    let node = Node::with(settings(), &upgrading(backend.address, Value::Null));
    let (mut client, mut upstream) = open(&node, &upstreams);
    check_echo(&mut client, &mut upstream);
    let log = node.drain(SHORT).join().unwrap();
    // Nobody takes it for an end in good order.
    assert!(client.is_reset() && upstream.is_reset());
    assert_eq!((&log[0]["reason"], &log[0]["http.response.status_code"]), (&"drained".into(), &101.into()));
    assert_eq!((&log[0]["http.request.body.size"], &log[0]["http.response.body.size"]), (&2.into(), &4.into()));
}
