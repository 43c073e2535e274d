//! What a client of HTTP/2 may try besides floods: heads that could be read in two ways, bombs of headers, stalls.

use super::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, block, frame, read,
    },
    harness::{Backend, Conn, DEADLINE, Node, forward, ok, respond, settings},
};
use crate::settings::Settings;
use http::Request;
use socket2::{Domain, Socket, Type};
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

const LAST: u8 = END_HEADERS | END_STREAM;

fn begin(node: &Node, settings: &[u8]) -> Conn {
    let mut client = node.connect();
    client.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
    client
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its status (by its place in the static table), or none where it is written out.
    Answered(Option<u16>),
    Reset(u8),
    /// The connection went, with this code.
    Gone(u8),
    Closed,
}

fn end(client: &mut Conn, stream: u8) -> End {
    while let Some(came) = read(client) {
        match came.kind {
            HEADERS if came.stream == stream => {
                let known = [(0x88, 200), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
                return End::Answered(
                    known.iter().find(|(byte, _)| came.payload[0] == *byte).map(|(_, status)| *status),
                );
            }
            RST_STREAM if came.stream == stream => return End::Reset(came.payload[3]),
            GOAWAY => return End::Gone(came.payload[7]),
            _ => {}
        }
    }
    End::Closed
}

#[test]
fn a_head_that_could_be_read_in_two_ways_reaches_nobody() {
    let (seen, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        if let Some(head) = conn.request() {
            seen.send(head.line).unwrap();
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    let head = |method: &'static str, scheme: &'static str, path: &'static str, authority: &'static str| {
        vec![(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    };
    let get = |path| head("GET", "http", path, "a");
    for fields in [
        get("*"),
        get("b"),
        get("?b"),
        get("http://b/"),
        get("/b c"),
        get("/b\tc"),
        get("/%2e%2e%2fb"),
        get("/b%00"),
        get("/b\\c"),
        head("GET", "http", "/", "u@a"),
        head("GET", "http", "/", "a:b"),
        head("GET", "http", "/", "a/b"),
        head("GET", "http", "/", ""),
        head("GET", "ftp", "/", "a"),
        head("GET", "", "/", "a"),
        head("TRACE", "http", "/", "a"),
        head("CONNECT", "http", "/", "a"),
        [get("/"), vec![("host", "b")]].concat(),
        [get("/"), vec![("host", "")]].concat(),
        [get("/"), vec![("content_length", "3")]].concat(),
        [get("/"), vec![("transfer_encoding", "chunked")]].concat(),
        [get("/"), vec![("content-length", "+0")]].concat(),
        [get("/"), vec![("content-length", "0"), ("content-length", "0")]].concat(),
        [get("/"), vec![("", "x")]].concat(),
        [get("/"), vec![("expect", "y 100-continue")]].concat(),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "u@a")],
    ] {
        let mut client = begin(&node, b"");
        client.send(frame(HEADERS, LAST, 1, &block(&fields)));
        let end = end(&mut client, 1);
        assert_ne!(end, End::Answered(Some(200)), "{fields:?}");
        assert_ne!(end, End::Closed, "{fields:?}");
        // In the order of the events: had it been sent, it would be here.
        assert_eq!(wait.try_recv().ok(), None, "{fields:?}");
    }
}

#[test]
fn frames_out_of_place_end_the_connection() {
    let node = Node::start(&respond());
    let get = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    for (name, bytes) in [
        ("data on a stream that is none", frame(DATA, END_STREAM, 1, b"x")),
        ("data on stream 0", frame(DATA, END_STREAM, 0, b"x")),
        ("headers on stream 0", frame(HEADERS, LAST, 0, &get)),
        ("a stream of the server", frame(HEADERS, LAST, 2, &get)),
        ("a stream twice", [frame(HEADERS, LAST, 5, &get), frame(HEADERS, LAST, 3, &get)].concat()),
        ("headers within headers", [frame(HEADERS, END_STREAM, 1, &get[..9]), frame(HEADERS, LAST, 3, &get)].concat()),
        ("a ping within headers", [frame(HEADERS, END_STREAM, 1, &get[..9]), frame(PING, 0, 0, b"12345678")].concat()),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &get)),
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get[..]].concat())),
        ("a ping that is too short", frame(PING, 0, 0, b"1234567")),
        ("settings that are cut off", frame(SETTINGS, 0, 0, b"12345")),
        ("an acknowledgement with settings", frame(SETTINGS, ACK, 0, b"123456")),
        ("a window beyond all numbers", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("a frame size that is too small", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("an update by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("updates beyond all numbers", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
        ("a frame that is too large", frame(DATA, 0, 1, &[0; 16_385])),
        ("padding beyond the frame", frame(HEADERS, LAST | 0x8, 1, &[&[0xff], &get[..]].concat())),
        ("headers that cannot be decoded", frame(HEADERS, LAST, 1, &[0xff; 20])),
        ("an index of nothing", frame(HEADERS, LAST, 1, &[0xfe])),
        ("a table that is too large", frame(HEADERS, LAST, 1, &[&[0x3f, 0xe1, 0xff, 0x03], &get[..]].concat())),
    ] {
        let mut client = begin(&node, b"");
        client.try_send(&bytes);
        let mut went = false;
        while let Some(came) = read(&mut client) {
            went |= came.kind == GOAWAY && came.payload[7] != 0;
        }
        assert!(went, "{name}");
    }
}

#[test]
fn a_small_head_that_becomes_large_is_refused() {
    let node = Node::start(&respond());
    // One large header is remembered, and then named many times by one byte each: 16 KiB become 48 MiB.
    let large = [&[0x40, 1, b'x', 0x7f, 0xb9, 0x16][..], &[b'y'; 3000]].concat();
    let get = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let bomb = [&get[..], &large, &[0xbe; 13_000]].concat();
    for _ in 0..20 {
        let mut client = begin(&node, b"");
        client.try_send(&frame(HEADERS, LAST, 1, &bomb));
        assert_ne!(end(&mut client, 1), End::Answered(Some(200)));
    }
}

#[test]
fn uploads_that_nobody_reads_hold_up_nobody_else() {
    const STREAMS: usize = 12;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Accepted sockets inherit it: not much is on the way.
    listener.set_recv_buffer_size(16 * 1024).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(64).unwrap();
    let (_over, go) = channel::<()>();
    let go = Mutex::new(go);
    let backend = Backend::on(listener.into(), move |_, mut conn| {
        let Some(head) = conn.head() else { return };
        if head.line.starts_with("POST /small") {
            conn.try_read(1);
            conn.send(ok("done"));
        }
        // Nothing is read any more, until all is over.
        go.lock().unwrap().recv().ok();
    });
    let settings = Settings { http2_max_streams: STREAMS as u32 + 1, ..settings() };
    let node = Node::with(settings, &forward(&[backend.address]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let post = |path: &str| Request::post(format!("http://a{path}")).body(()).unwrap();
        let sent = Arc::<AtomicUsize>::default();
        for _ in 0..STREAMS {
            let mut client = client.clone().ready().await.unwrap();
            let (response, mut upload) = client.send_request(post("/large"), false).unwrap();
            let sent = sent.clone();
            tokio::spawn(async move {
                let _response = response;
                loop {
                    upload.reserve_capacity(64 * 1024);
                    let Some(Ok(room)) = poll_fn(|cx| upload.poll_capacity(cx)).await else { return };
                    sent.fetch_add(room, SeqCst);
                    upload.send_data(vec![b'x'; room].into(), false).unwrap();
                }
            });
        }
        // All of them wait for room.
        let (mut before, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_millis(500) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = sent.load(SeqCst);
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        assert!(before > STREAMS * 128 * 1024, "{before}");
        let mut client = client.clone().ready().await.unwrap();
        let (response, mut upload) = client.send_request(post("/small"), false).unwrap();
        upload.send_data("x".into(), true).unwrap();
        let response = tokio::time::timeout(DEADLINE, response).await.expect("an answer").unwrap();
        assert_eq!(response.status(), 200);
    });
}

#[test]
fn a_client_that_gives_no_room_is_let_go() {
    let short = Duration::from_millis(200);
    let node = Node::with(Settings { idle_timeout: short, ..settings() }, &respond());
    let get = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    // A window of nothing: the head comes, the body never can.
    let mut client = begin(&node, &[0, 4, 0, 0, 0, 0]);
    let start = Instant::now();
    for stream in [1, 3, 5] {
        client.send(frame(HEADERS, LAST, stream, &get));
    }
    let mut resets = 0;
    while resets < 3 {
        let came = read(&mut client).expect("the connection goes on");
        resets += usize::from(came.kind == RST_STREAM);
    }
    assert!(start.elapsed() >= short);
    client.send(frame(PING, 0, 0, b"12345678"));
    while read(&mut client).expect("an answer").kind != PING {}
}
