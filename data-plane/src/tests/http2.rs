//! HTTP/2 from clients, in cleartext by prior knowledge: what they get, and what they may not do.

use super::{
    frames::{PREFACE, block, frame},
    harness::{Backend, Conn, DEADLINE, Node, forward, ok, respond, settings},
};
use crate::settings::Settings;
use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use http::{Request, Response};
use std::{
    sync::{Mutex, mpsc::channel},
    time::{Duration, Instant},
};

// What an answer is, whole.
#[derive(Debug)]
struct Answer {
    head: Response<()>,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.unwrap() })
}

pub(super) async fn connect(node: &Node) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let (client, connection) = Builder::new().handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://a.example{path}"))
}

async fn ask(client: &SendRequest<Bytes>, request: http::request::Builder, body: &[&str]) -> Result<Answer, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), body.is_empty())?;
    for (at, piece) in body.iter().enumerate() {
        stream.send_data(Bytes::from(piece.to_string()), at + 1 == body.len())?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        whole.extend_from_slice(&data);
    }
    Ok(Answer { head: Response::from_parts(head, ()), body: whole })
}

#[test]
fn requests_become_http_1_and_answers_http_2() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    run(async {
        let client = connect(&node).await;
        let request = request("POST", "/a/../b?c=d").header("cookie", "a=1").header("cookie", "b=2").header("x-a", "1");
        let answer = ask(&client, request, &["he", "llo"]).await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text();
        assert!(text.starts_with("POST /b?c=d HTTP/1.1\n") && text.ends_with("\nhello"), "{text}");
        for (name, value) in [
            ("host", "a.example"),
            ("cookie", "a=1; b=2"),
            ("x-a", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example"),
        ] {
            assert!(text.contains(&format!("({name:?}, {value:?})")), "{name}: {text}");
        }
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        assert!(answer.header("date").is_some() && answer.header("x-request-id").is_some());
        assert_eq!(answer.header("connection"), None);
    });
    assert_eq!(node.log()[0]["url.path"], "/b");
}

#[test]
fn many_requests_are_under_way_at_once() {
    let (asked, wait) = channel();
    let (go, going) = channel::<()>();
    let going = Mutex::new(going);
    let backend = Backend::start(move |number, mut conn| {
        while conn.request().is_some() {
            asked.send(()).unwrap();
            going.lock().unwrap().recv().unwrap();
            conn.send(ok(&number.to_string()));
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    run(async {
        let client = connect(&node).await;
        let answers: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, request("GET", "/"), &[]).await.unwrap().status() })
            })
            .collect();
        tokio::task::spawn_blocking(move || {
            // All of them wait before one is answered.
            (0..50).for_each(|_| wait.recv_timeout(DEADLINE).unwrap());
            (0..50).for_each(|_| go.send(()).unwrap());
        });
        for answer in answers {
            assert_eq!(answer.await.unwrap(), 200);
        }
    });
}

#[test]
fn large_bodies_pass_in_both_directions() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let big = "0123456789abcdef".repeat(256 * 1024);
    run(async {
        let client = connect(&node).await;
        let answer = ask(&client, request("PUT", "/"), &[&big]).await.unwrap();
        assert!(answer.text().ends_with(&big));
    });
}

#[test]
fn what_two_programs_would_read_differently_is_refused() {
    let node = Node::start(&respond());
    run(async {
        let client = connect(&node).await;
        for (request, status, reason) in [
            (request("GET", "/").header("host", "b.example"), 400, "host_conflict"),
            (request("GET", "/").header("host", "a.example").header("host", "a.example"), 400, "host_count"),
            (request("POST", "/").header("content-length", "1").header("content-length", "1"), 400, "framing"),
            (request("GET", "/%2f"), 400, "path_invalid"),
            (Request::builder().method("CONNECT").uri("a.example:80"), 501, "connect"),
            (request("GET", "/").header("expect", "x"), 417, "expectation"),
        ] {
            let body: &[&str] = if reason == "framing" { &["x"] } else { &[] };
            let answer = ask(&client, request, body).await.unwrap();
            assert_eq!(answer.status(), status, "{reason}: {}", answer.text());
            assert!(answer.text().contains(&format!("\"reason\":\"{reason}\"")), "{reason}: {}", answer.text());
            assert_eq!(answer.header("connection"), None);
        }
        // The connection goes on, and the same host twice is no contradiction.
        let answer = ask(&client, request("GET", "/").header("host", "A.example"), &[]).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "here"));
    });
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

fn begin(node: &Node) -> Conn {
    let mut client = node.connect();
    client.send([PREFACE, &frame(4, 0, 0, b"")].concat());
    client
}

// The frames that come up to the first of this kind on this stream.
fn await_frame(client: &mut Conn, kind: u8, stream: u8) -> Vec<u8> {
    loop {
        let head = client.read(9);
        let payload = client.read(usize::from(head[1]) << 8 | usize::from(head[2]));
        if head[3] == kind && head[8] == stream {
            return payload;
        }
    }
}

// How a stream ends: by RST_STREAM, or by GOAWAY for all.
fn await_end(client: &mut Conn, stream: u8) -> (u8, Vec<u8>) {
    loop {
        let head = client.read(9);
        let payload = client.read(usize::from(head[1]) << 8 | usize::from(head[2]));
        match (head[3], head[8]) {
            (3, reset) if reset == stream => return (3, payload),
            (7, _) => return (7, payload[..8].to_vec()),
            (0 | 1, answered) if answered == stream => panic!("it was answered: {payload:?}"),
            (..) => {}
        }
    }
}

#[test]
fn what_cannot_be_said_in_http_1_is_reset() {
    let (seen, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        if conn.head().is_some() {
            seen.send(conn.read_to_end()).unwrap();
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    let with = |fields: &[(&str, &str)], more: &[(&str, &str)]| block(&[fields, more].concat());
    for headers in [
        with(&GET, &[("x", "a\rb")]),
        with(&GET, &[("x", "a\nb")]),
        with(&GET, &[("x", "a\0b")]),
        with(&GET, &[("X", "a")]),
        with(&GET, &[("x y", "a")]),
        with(&GET, &[("x:y", "a")]),
        with(&GET, &[("connection", "close")]),
        with(&GET, &[("transfer-encoding", "chunked")]),
        with(&GET, &[("keep-alive", "1")]),
        with(&GET, &[("proxy-connection", "x")]),
        with(&GET, &[("upgrade", "h2c")]),
        with(&GET, &[("te", "gzip")]),
        with(&GET, &[("x", "y"), (":path", "/b")]),
        with(&GET, &[(":path", "/b")]),
        with(&GET, &[(":status", "200")]),
        with(&GET, &[("content-length", "5")]),
        with(&GET[..3], &[(":authority", "a b")]),
        block(&[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")]),
        block(&[(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y"), (":authority", "a")]),
        block(&[(":method", "G T"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
        with(&GET, &[(":protocol", "websocket")]),
        block(&[(":method", "CONNECT"), (":protocol", "websocket"), (":authority", "a")]),
        block(&[(":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ] {
        let mut client = begin(&node);
        client.send(frame(1, 0x5, 1, &headers));
        let text = String::from_utf8_lossy(&headers);
        // The stream is reset; or the connection ends, where the headers themselves cannot be read.
        let codes = [Reason::PROTOCOL_ERROR, Reason::COMPRESSION_ERROR].map(|reason| vec![0, 0, 0, reason.into_u8()]);
        let (kind, payload) = await_end(&mut client, 1);
        assert!(codes.contains(&payload[payload.len().saturating_sub(4)..].to_vec()), "{text}: {payload:?}");
        if kind == 3 {
            client.send(frame(6, 0, 0, b"12345678"));
            assert_eq!(await_frame(&mut client, 6, 0), b"12345678");
        }
        assert!(wait.try_recv().is_err(), "{text}");
    }
    // A body that is not as long as was said is never whole.
    for (body, flags) in [("abc", 1), ("abcdefg", 0)] {
        let mut client = begin(&node);
        client.send(frame(1, 0x4, 1, &with(&POST, &[("content-length", "5")])));
        client.send(frame(0, flags, 1, body.as_bytes()));
        assert_eq!(await_frame(&mut client, 3, 1), [0, 0, 0, Reason::PROTOCOL_ERROR.into_u8()], "{body}");
        if let Ok(bytes) = wait.recv_timeout(Duration::from_millis(300)) {
            assert!(bytes.len() < 5, "{bytes:?}");
        }
    }
}

trait Code {
    fn into_u8(self) -> u8;
}

impl Code for Reason {
    fn into_u8(self) -> u8 {
        u32::from(self) as u8
    }
}

#[test]
fn floods_end_the_connection() {
    let settings =
        Settings { http2_max_resets: 20, http2_max_control_frames: 30, http2_max_streams: 100, ..settings() };
    let node = Node::with(settings, &respond());
    let opened_and_reset = |n: u32| {
        let mut both = frame(1, 0x5, 0, &block(&GET));
        let mut reset = frame(3, 0, 0, &[0, 0, 0, 8]);
        both[5..9].copy_from_slice(&(2 * n + 1).to_be_bytes());
        reset[5..9].copy_from_slice(&(2 * n + 1).to_be_bytes());
        [both, reset].concat()
    };
    let rapid: Vec<u8> = (0..30).flat_map(opened_and_reset).collect();
    let bomb: Vec<u8> = block(&[("x", &"y".repeat(100))]).repeat(2000);
    let bombs = bomb.chunks(16_000).map(|piece| frame(9, 0, 1, piece)).collect::<Vec<_>>().concat();
    for (name, bytes, reason) in [
        ("resets", rapid, Some("http2_resets")),
        ("pings", frame(6, 0, 0, b"12345678").repeat(40), Some("http2_control_frames")),
        ("settings", frame(4, 0, 0, b"").repeat(40), Some("http2_control_frames")),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(40), Some("http2_control_frames")),
        (
            "empty data",
            [frame(1, 0x4, 1, &block(&POST)), frame(0, 0, 1, b"").repeat(40)].concat(),
            Some("http2_control_frames"),
        ),
        ("updates of a window", frame(8, 0, 0, &[0, 0, 0, 1]).repeat(80), Some("http2_control_frames")),
        ("what nobody knows", frame(0xbb, 0, 0, b"").repeat(40), Some("http2_control_frames")),
        ("continuations", [frame(1, 0, 1, b""), frame(9, 0, 1, b"").repeat(500)].concat(), None),
        ("a bomb of headers", [frame(1, 0, 1, b""), bombs].concat(), None),
    ] {
        let mut client = begin(&node);
        // The rest of it may find the connection closed.
        client.try_send(&bytes);
        let end = client.read_to_end();
        assert!(end.windows(5).any(|part| part[3] == 7) || end.is_empty(), "{name}: no GOAWAY in {end:?}");
        if let Some(reason) = reason {
            node.await_counts(|counts| counts.failures.keys().any(|(_, failure, _)| *failure == reason));
        }
    }
    // Nobody else notices.
    run(async {
        let client = connect(&node).await;
        assert_eq!(ask(&client, request("GET", "/"), &[]).await.unwrap().status(), 200);
    });
}

#[test]
fn too_many_headers_are_refused() {
    let node = Node::with(Settings { max_headers: 10, ..settings() }, &respond());
    let sent = run(async {
        let client = connect(&node).await;
        let mut many = request("GET", "/");
        for n in 0..11 {
            many = many.header(format!("x-{n}"), "1");
        }
        let half = "y".repeat(40_000);
        let refused = [
            (many, "too_many_headers"),
            (request("GET", "/").header("x", &half).header("y", &half), "head_too_large"),
            (request("GET", &format!("/{half}")).header("x", &half), "head_too_large"),
        ];
        let mut sent = Vec::new();
        for (request, reason) in refused {
            let answer = ask(&client, request, &[]).await.unwrap();
            assert_eq!(answer.status(), 431);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let id = answer.header("x-request-id").unwrap().to_string();
            assert!(answer.text().contains(&id) && answer.text().contains(reason), "{}", answer.text());
            sent.push((id, reason));
        }
        // What is far beyond the limit is not even read.
        let huge = request("GET", "/").header("x", "y".repeat(300_000));
        let answer = ask(&client, huge, &[]).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
        sent
    });
    let log = node.log();
    let logged = log.iter().map(|line| (line["request_id"].as_str().unwrap(), line["reason"].as_str().unwrap()));
    assert!(logged.eq(sent.iter().map(|(id, reason)| (id.as_str(), *reason))), "{log:?}");
}

#[test]
fn a_head_is_as_large_as_it_may_be() {
    // Authority, path, and one field: a name, a value and what every field counts.
    let room = 8192 - "a.example".len() - "/".len() - "x".len() - 32;
    let node = Node::with(Settings { max_header_bytes: 8192, ..settings() }, &respond());
    run(async {
        let client = connect(&node).await;
        for (len, status) in [(room, 200), (room + 1, 431)] {
            let answer = ask(&client, request("GET", "/").header("x", "y".repeat(len)), &[]).await.unwrap();
            assert_eq!(answer.status(), status, "{len}");
        }
    });
}

#[test]
fn a_client_has_to_say_something_in_time() {
    let short = Duration::from_millis(150);
    let node = Node::with(Settings { header_timeout: short, keep_alive_timeout: short, ..settings() }, &respond());
    let half = [PREFACE, &frame(4, 0, 0, b""), &frame(1, 0x4, 1, &block(&GET))[..20]].concat();
    let open = [PREFACE, &frame(4, 0, 0, b""), &frame(1, 0x1, 1, &block(&GET))].concat();
    let idle = [PREFACE, &frame(4, 0, 0, b""), &frame(1, 0x5, 1, &block(&GET))].concat();
    for bytes in [&PREFACE[..10], PREFACE, &half, &open, &idle] {
        let start = Instant::now();
        let mut client = node.connect();
        client.send(bytes);
        client.read_to_end();
        assert!(start.elapsed() >= short && start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
    }
}

#[test]
fn a_stream_that_is_reset_cancels_its_request() {
    let (asked, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        asked.send(()).unwrap();
        conn.is_closed();
        asked.send(()).unwrap();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = begin(&node);
    client.send(frame(1, 0x5, 1, &block(&GET)));
    wait.recv_timeout(DEADLINE).unwrap();
    client.send(frame(3, 0, 1, &[0, 0, 0, 8]));
    wait.recv_timeout(DEADLINE).unwrap();
    // So does the end of the connection.
    client.send(frame(1, 0x5, 3, &block(&GET)));
    wait.recv_timeout(DEADLINE).unwrap();
    drop(client);
    wait.recv_timeout(DEADLINE).unwrap();
    let log = node.log();
    assert!(log.iter().all(|line| line["reason"] == "client_closed") && log.len() == 2, "{log:?}");
}

#[test]
fn an_answer_that_is_cut_off_is_reset() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        conn.finish();
    });
    let node = Node::start(&forward(&[backend.address]));
    run(async {
        let client = connect(&node).await;
        let error = ask(&client, request("GET", "/"), &[]).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn a_drain_loses_no_stream() {
    let (backend, wait, go) = Backend::held();
    let node = Node::start(&forward(&[backend.address]));
    let mut client = begin(&node);
    client.send(frame(4, 1, 0, b""));
    client.send(frame(1, 0x5, 1, &block(&GET)));
    wait.recv_timeout(DEADLINE).unwrap();
    let drain = node.drain(DEADLINE);
    assert_eq!(await_frame(&mut client, 7, 0)[4..], [0, 0, 0, 0], "a GOAWAY without an error");
    go.send(()).unwrap();
    assert_eq!(await_frame(&mut client, 0, 1), b"done");
    client.read_to_end();
    assert_eq!(drain.join().unwrap().len(), 1);
}

#[test]
fn answers_to_head_and_without_a_body_end_at_once() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nkeep-alive: x\r\n\r\n");
    let node = Node::start(&forward(&[backend.address]));
    run(async {
        let client = connect(&node).await;
        for _ in 0..2 {
            let answer = ask(&client, request("HEAD", "/"), &[]).await.unwrap();
            assert_eq!((answer.status(), answer.header("content-length"), answer.body.len()), (200, Some("5"), 0));
            assert_eq!(answer.header("keep-alive"), None);
        }
    });
}
