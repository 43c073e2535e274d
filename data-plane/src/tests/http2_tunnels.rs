//! Tunnels by HTTP/2 (RFC 8441): what a client opens by an extended CONNECT is an upgrade to the upstream.

use super::{
    harness::{Backend, Conn, Node, forward, respond},
    http2::{connect, run},
    upgrades::upgrading,
};
use crate::encoding::base64;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

// What a server answers to a key.
fn accept(key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    String::from_utf8(base64::<28>(hash.as_ref()).to_vec()).unwrap()
}

// An upstream of WebSocket that sends everything back.
fn echo() -> Backend {
    Backend::start(|_, mut conn: Conn| {
        let Some(request) = conn.request() else { return };
        assert_eq!(request.line, "GET /chat?a=1 HTTP/1.1");
        let key = request.header("sec-websocket-key").unwrap();
        let accept = accept(key);
        for (name, value) in [
            ("host", "a.example"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
        ] {
            assert_eq!(request.headers(name), [value], "{name}");
        }
        conn.send(format!(
            "HTTP/1.1 101 Sure\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\nhello"
        ));
        let stream = conn.stream();
        std::io::copy(&mut { stream }, &mut { stream }).ok();
    })
}

fn asking(protocol: &str) -> Request<()> {
    let builder = Request::builder().method(Method::CONNECT).uri("http://a.example/chat?a=1");
    builder
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from(protocol))
        .body(())
        .unwrap()
}

// The node says first that it may be asked.
async fn ready(client: &SendRequest<Bytes>) -> SendRequest<Bytes> {
    loop {
        let client = client.clone().ready().await.unwrap();
        if client.is_extended_connect_protocol_enabled() {
            return client;
        }
        tokio::task::yield_now().await;
    }
}

async fn open(client: &SendRequest<Bytes>, protocol: &str) -> (Response<RecvStream>, SendStream<Bytes>) {
    let (response, send) = ready(client).await.send_request(asking(protocol), false).unwrap();
    (response.await.unwrap(), send)
}

async fn read(stream: &mut RecvStream, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let data = stream.data().await.unwrap().unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    all
}

async fn check_ended(stream: &mut RecvStream) {
    while let Some(data) = stream.data().await {
        assert_eq!(data.unwrap(), "");
    }
}

// The client's connection goes on meanwhile.
async fn receive<T>(receiver: &Receiver<T>) -> T {
    loop {
        match receiver.try_recv() {
            Ok(received) => return received,
            Err(TryRecvError::Empty) => tokio::task::yield_now().await,
            Err(TryRecvError::Disconnected) => panic!("nobody sends"),
        }
    }
}

#[test]
fn a_stream_becomes_a_websocket() {
    const LEN: usize = 3 * 1024 * 1024;
    let node = Node::start(&upgrading(echo().address, Value::Null));
    run(async {
        let client = connect(&node).await;
        // Several on one connection, with ordinary requests beside them.
        let (mut first, mut second) = (open(&client, "websocket").await, open(&client, "websocket").await);
        for (response, send) in [&mut first, &mut second] {
            assert_eq!(response.status(), StatusCode::OK);
            let headers = response.headers();
            assert_eq!(headers["sec-websocket-protocol"], "chat");
            for none in ["connection", "upgrade", "sec-websocket-accept", "content-length", "transfer-encoding"] {
                assert!(!headers.contains_key(none), "{none}");
            }
            assert_eq!(read(response.body_mut(), 5).await, b"hello");
            send.send_data("ping".into(), false).unwrap();
            assert_eq!(read(response.body_mut(), 4).await, b"ping");
        }
        let (mut response, mut send) = first;
        let message: Bytes = (0..LEN).map(|n| (n % 251) as u8).collect();
        let sending = async {
            let mut left = message.clone();
            while !left.is_empty() {
                send.reserve_capacity(left.len());
                let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
                send.send_data(left.split_to(room.min(left.len())), false).unwrap();
            }
            // One way ends, and then the other, for that is how this upstream is.
            send.send_data(Bytes::new(), true).unwrap();
        };
        let (heard, ()) = tokio::join!(read(response.body_mut(), LEN), sending);
        assert!(heard == message);
        check_ended(response.body_mut()).await;
        // A reset ends the upstream's connection, and no other stream.
        second.1.send_reset(Reason::CANCEL);
        assert_eq!(open(&client, "websocket").await.0.status(), 200);
    });
    // The client is gone; its last tunnel is to end by that, and not by the drain.
    node.await_counts(|counts| counts.tunnels == 0);
    let log = node.log();
    let line = log.iter().find(|line| line["http.request.body.size"] == LEN + 4).unwrap();
    assert_eq!((&line["http.response.status_code"], &line["reason"]), (&101.into(), &Value::Null));
    assert_eq!((&line["http.request.method"], &line["url.path"]), (&"GET".into(), &"/chat".into()));
    let reasons: Vec<_> = log.iter().filter(|line| line["reason"] == "client_closed").collect();
    assert!(reasons.iter().all(|line| line["http.response.body.size"].as_u64().unwrap() <= 9), "{log:?}");
    assert_eq!((log.len(), reasons.len()), (3, 2), "{log:?}");
}

#[test]
fn what_an_upstream_ends_is_ended_in_the_same_way() {
    let (backend, upstreams) = Backend::handing();
    let node = Node::start(&upgrading(backend.address, json!({"protocols": ["my-proto"]})));
    run(async {
        let client = connect(&node).await;
        for in_order in [true, false] {
            let (response, mut send) = ready(&client).await.send_request(asking("my-proto"), false).unwrap();
            let (request, mut upstream) = receive(&upstreams).await;
            assert_eq!(request.headers("upgrade"), ["my-proto"]);
            assert_eq!(request.header("sec-websocket-key"), None);
            upstream.send("HTTP/1.1 101 Sure\r\nConnection: Upgrade\r\nUpgrade: my-proto\r\n\r\nbye");
            let mut response = response.await.unwrap();
            assert_eq!(read(response.body_mut(), 3).await, b"bye");
            match in_order {
                true => {
                    upstream.finish();
                    check_ended(response.body_mut()).await;
                    send.send_data("heard".into(), true).unwrap();
                    let heard = tokio::task::spawn_blocking(move || upstream.read_to_end()).await.unwrap();
                    assert_eq!(heard, b"heard");
                }
                false => {
                    upstream.reset();
                    let error = response.body_mut().data().await.unwrap().unwrap_err();
                    assert_eq!(error.reason(), Some(Reason::CANCEL));
                }
            }
        }
    });
}

#[test]
fn a_tunnel_that_is_not_granted_is_no_success() {
    let backend = Backend::echo();
    let none = upgrading(backend.address, json!({}));
    let all = upgrading(backend.address, Value::Null);
    let mut by_http2 = forward(&[backend.address]);
    by_http2[0].1["protocol"] = json!({"http2": {}});
    for (resources, protocol, expect) in [
        (&none, "websocket", 501),
        (&all, "my-proto", 501),
        (&by_http2, "websocket", 501),
        (&respond(), "websocket", 501),
        // An upstream that knows no WebSocket.
        (&all, "websocket", 502),
    ] {
        let node = Node::start(resources);
        run(async {
            let client = connect(&node).await;
            let (response, _send) = open(&client, protocol).await;
            assert_eq!(response.status(), expect, "{protocol}");
        });
    }
    // What is no tunnel is refused as before, and what is wrong with the handshake too.
    let node = Node::start(&all);
    run(async {
        let client = connect(&node).await;
        let plain = Request::builder().method(Method::CONNECT).uri("a.example:80").body(()).unwrap();
        let (response, _send) = ready(&client).await.send_request(plain, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 501);
        let mut request = asking("websocket");
        request.headers_mut().remove("sec-websocket-version");
        let (response, _send) = ready(&client).await.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 400);
        let mut request = asking("websocket");
        request.headers_mut().insert("content-length", 3.into());
        let (response, _send) = ready(&client).await.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 400);
    });
    // An answer that is none to the wish is passed on as it is.
    let backend = Backend::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let node = Node::start(&upgrading(backend.address, Value::Null));
    run(async {
        let client = connect(&node).await;
        let (mut response, _send) = open(&client, "websocket").await;
        assert_eq!(response.status(), 403);
        assert_eq!(read(response.body_mut(), 2).await, b"no");
    });
}

#[test]
fn a_drain_waits_for_tunnels_of_http2_too() {
    let (backend, upstreams) = Backend::handing();
    let node = Node::start(&upgrading(backend.address, json!({"protocols": ["my-proto"]})));
    let mut drain = None;
    let mut node = Some(node);
    run(async {
        let client = connect(node.as_ref().unwrap()).await;
        let (response, _send) = ready(&client).await.send_request(asking("my-proto"), false).unwrap();
        let (_, mut upstream) = receive(&upstreams).await;
        upstream.send("HTTP/1.1 101 Sure\r\nConnection: Upgrade\r\nUpgrade: my-proto\r\n\r\n");
        let mut response = response.await.unwrap();
        let start = Instant::now();
        drain = node.take().map(|node| node.drain(Duration::from_millis(300)));
        // It is cut off, not ended.
        assert!(response.body_mut().data().await.unwrap().is_err());
        assert!(start.elapsed() >= Duration::from_millis(300));
    });
    let log = drain.unwrap().join().unwrap();
    assert_eq!(log[0]["reason"], "drained");
}
