//! A client that says what it got, by either protocol.

use super::{HEAD, Seen};
use crate::tests::harness::{Conn, DEADLINE, Message};
use bytes::Bytes;
use http::{Request, Response};
use std::net::{SocketAddr, TcpStream};
use tokio::runtime::Runtime;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Protocol {
    Http1,
    Http2,
}

/// A client with one connection, or one after another.
pub(in crate::tests) enum Client {
    Http1(SocketAddr, Option<Conn>),
    Http2(Runtime, h2::client::SendRequest<Bytes>),
}

impl Client {
    pub(in crate::tests) fn new(protocol: Protocol, address: SocketAddr) -> Client {
        match protocol {
            Protocol::Http1 => Client::Http1(address, None),
            Protocol::Http2 => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let sender = runtime.block_on(async {
                    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    sender
                });
                Client::Http2(runtime, sender)
            }
        }
    }

    /// Asks, and calls back when the head of the answer is there.
    pub(in crate::tests) fn ask(&mut self, method: &str, path: &str, what: &str, head_seen: impl FnOnce()) -> Seen {
        match self {
            Client::Http1(address, kept) => {
                let mut conn = kept.take().unwrap_or_else(|| Conn::new(TcpStream::connect(*address).unwrap()));
                conn.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                let seen = answer(&mut conn, method, head_seen);
                match seen {
                    // What is not whole has to end with its connection.
                    Seen::Cut => assert!(conn.read_to_end().len() < 1_000_000, "{what}"),
                    Seen::Whole(..) | Seen::Refused(..) => *kept = Some(conn),
                }
                seen
            }
            Client::Http2(runtime, sender) => runtime.block_on(async {
                let asked = ask(sender.clone(), method, path, head_seen);
                tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("no answer to {what}"))
            }),
        }
    }
}

fn answer(conn: &mut Conn, method: &str, head_seen: impl FnOnce()) -> Seen {
    let Some(head) = conn.head() else { return Seen::Cut };
    head_seen();
    let status = head.status();
    assert_eq!(head.header("connection"), None, "{head:?}");
    if method == HEAD || matches!(status, 204 | 304) {
        return Seen::Whole(status, String::new());
    }
    match body(conn, &head) {
        Some(body) => seen(status, head.header("content-type"), body),
        None => Seen::Cut,
    }
}

fn body(conn: &mut Conn, head: &Message) -> Option<Vec<u8>> {
    assert_eq!(head.headers("content-length").len() + head.headers("transfer-encoding").len(), 1, "{head:?}");
    if let Some(length) = head.header("content-length") {
        return conn.try_read(length.parse().unwrap());
    }
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&conn.line()?, 16).unwrap();
        if size == 0 {
            while !conn.line()?.is_empty() {}
            return Some(body);
        }
        body.extend(conn.try_read(size)?);
        assert_eq!(conn.line()?, "");
    }
}

async fn ask(sender: h2::client::SendRequest<Bytes>, method: &str, path: &str, head_seen: impl FnOnce()) -> Seen {
    let request = Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
    let Ok(response) = response.await else { return Seen::Cut };
    head_seen();
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let Ok(data) = data else { return Seen::Cut };
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    if stream.trailers().await.is_err() {
        return Seen::Cut;
    }
    let head = Response::from_parts(head, ());
    let kind = head.headers().get("content-type").map(|kind| kind.to_str().unwrap());
    seen(head.status().as_u16(), kind, body)
}

fn seen(status: u16, kind: Option<&str>, body: Vec<u8>) -> Seen {
    if kind != Some("application/problem+json") {
        return Seen::Whole(status, String::from_utf8_lossy(&body).into_owned());
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], status);
    Seen::Refused(status, problem["reason"].as_str().unwrap().into())
}
