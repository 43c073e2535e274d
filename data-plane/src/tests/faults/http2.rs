//! Upstreams of HTTP/2 that answer what they may not.

use super::{
    Expect::{self, Cut, Refused, Whole},
    Fate::{self, Closed, Doubted, Kept},
    GET, HEAD, Protocol, Trial, head_seens, try_all, upstream,
};
use crate::tests::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, block, frame, read,
    },
    harness::{Backend, Conn},
};
use serde_json::json;
use socket2::SockRef;
use std::{sync::Mutex, time::Duration};

/// One step of an upstream.
#[derive(Clone, Debug)]
enum Step {
    /// Sends.
    Send(Vec<u8>),
    /// Waits until the client has seen the head.
    HeadSeen,
    /// Resets the connection.
    Reset,
    /// Ends it.
    End,
    /// Does nothing more, in an upstream that is not waited for for long.
    Silence,
}

use Step::{End, HeadSeen, Reset, Send, Silence};

type Row = (&'static str, &'static str, Vec<Step>, Expect, Fate);

/// The fields of a head.
type Fields = Vec<(&'static str, &'static str)>;

/// The first stream of a connection.
const S: u8 = 1;
const BAD: Expect = Refused(502, "bad_response");
const GONE: Expect = Refused(502, "closed");
const RESET: Expect = Refused(502, "reset");
const TRUNCATED: Expect = Cut("upstream_body_truncated");
const OK: (&str, &str) = (":status", "200");
const LAST: u8 = END_HEADERS | END_STREAM;

fn head(flags: u8, fields: &[(&str, &str)]) -> Step {
    Send(frame(HEADERS, flags, S, &block(fields)))
}

fn data(flags: u8, bytes: &str) -> Step {
    Send(frame(DATA, flags, S, bytes.as_bytes()))
}

fn reset(code: u8) -> Step {
    Send(frame(RST_STREAM, 0, S, &[0, 0, 0, code]))
}

fn table() -> Vec<Row> {
    // What is no header at all costs the connection, for the codec cannot tell how to read on.
    let doubtful: Vec<(&str, Fields, Fate)> = vec![
        ("no status", vec![("x", "y")], Kept),
        ("an empty status", vec![(":status", "")], Closed),
        ("a status of letters", vec![(":status", "abc")], Closed),
        ("a status of two digits", vec![(":status", "20")], Closed),
        ("two statuses", vec![OK, OK], Kept),
        ("a status behind a header", vec![("x", "y"), OK], Kept),
        ("a pseudo-header of nobody's", vec![OK, (":x", "y")], Closed),
        ("a name in capitals", vec![OK, ("X-A", "y")], Closed),
        ("a space in a name", vec![OK, ("x y", "z")], Closed),
        ("a carriage return in a value", vec![OK, ("x", "a\rb")], Closed),
        ("a line feed in a value", vec![OK, ("x", "a\r\ny: z")], Closed),
        ("NUL in a value", vec![OK, ("x", "a\0b")], Closed),
        ("Connection", vec![OK, ("connection", "close")], Kept),
        ("a coding", vec![OK, ("transfer-encoding", "chunked")], Kept),
        ("Keep-Alive", vec![OK, ("keep-alive", "timeout=5")], Kept),
        ("an upgrade", vec![OK, ("upgrade", "websocket")], Kept),
        ("two lengths", vec![OK, ("content-length", "2"), ("content-length", "3")], Kept),
        ("the same length twice", vec![OK, ("content-length", "2"), ("content-length", "2")], Kept),
        ("a negative length", vec![OK, ("content-length", "-2")], Kept),
        ("a length with a sign", vec![OK, ("content-length", "+2")], Kept),
        ("a list of lengths", vec![OK, ("content-length", "2, 2")], Kept),
        ("a length beyond all numbers", vec![OK, ("content-length", "18446744073709551616")], Kept),
        ("a switch", vec![(":status", "101")], Closed),
    ];
    let mut rows: Vec<Row> = doubtful
        .into_iter()
        .map(|(name, fields, fate)| (name, GET, vec![head(END_HEADERS, &fields), data(END_STREAM, "ok")], BAD, fate))
        .collect();
    let interim = head(END_HEADERS, &[(":status", "103"), ("link", "x")]);
    let zero = || vec![head(END_HEADERS, &[OK, ("content-length", "1")]), data(END_STREAM, "0")];
    let many = block(&[("x", &"y".repeat(200))]).repeat(1000);
    let bomb = many.chunks(16_000).map(|piece| frame(CONTINUATION, 0, S, piece)).collect::<Vec<_>>().concat();
    rows.extend([
        ("interim answers without end", GET, [vec![interim.clone(); 40], zero()].concat(), BAD, Kept),
        ("a few interim answers", GET, [vec![interim; 3], zero()].concat(), Whole(200, "0"), Kept),
        // The frames.
        ("data without a head", GET, vec![data(END_STREAM, "ok")], BAD, Closed),
        ("headers that cannot be decoded", GET, vec![Send(frame(HEADERS, LAST, S, &[0xff; 20]))], BAD, Closed),
        ("a frame that is too large", GET, vec![Send(frame(DATA, 0, S, &[0; 20_000]))], BAD, Closed),
        ("a bomb of headers", GET, vec![Send(frame(HEADERS, 0, S, &block(&[OK]))), Send(bomb)], BAD, Closed),
        (
            "continuations without end",
            GET,
            vec![Send(frame(HEADERS, 0, S, b"")), Send(frame(CONTINUATION, 0, S, b"").repeat(2000))],
            BAD,
            Closed,
        ),
        (
            "a push",
            GET,
            vec![Send(frame(PUSH_PROMISE, END_HEADERS, S, &[&[0, 0, 0, 2][..], &block(&[OK])].concat()))],
            BAD,
            Closed,
        ),
        (
            "a window beyond all numbers",
            GET,
            vec![Send(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2))],
            BAD,
            Closed,
        ),
        ("HTTP/1", GET, vec![Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())], BAD, Closed),
        // What has no body, and what is behind the end.
        (
            "no content, and some",
            GET,
            vec![head(END_HEADERS, &[(":status", "204")]), data(END_STREAM, "evil")],
            Whole(204, ""),
            Kept,
        ),
        (
            "nothing new, and its length",
            GET,
            vec![head(LAST, &[(":status", "304"), ("content-length", "9")])],
            Whole(304, ""),
            Kept,
        ),
        (
            "a body to HEAD",
            HEAD,
            vec![head(END_HEADERS, &[OK, ("content-length", "4")]), data(END_STREAM, "evil")],
            Whole(200, ""),
            Kept,
        ),
        (
            "more than was said",
            GET,
            vec![head(END_HEADERS, &[OK, ("content-length", "2")]), HeadSeen, data(END_STREAM, "okevil")],
            TRUNCATED,
            Kept,
        ),
        (
            "less than was said",
            GET,
            vec![head(END_HEADERS, &[OK, ("content-length", "8")]), HeadSeen, data(END_STREAM, "half")],
            TRUNCATED,
            Kept,
        ),
        (
            "trailers too early",
            GET,
            vec![
                head(END_HEADERS, &[OK, ("content-length", "8")]),
                HeadSeen,
                data(0, "half"),
                head(LAST, &[("x", "y")]),
            ],
            TRUNCATED,
            Kept,
        ),
        // What ends, or goes silent, before there is an answer.
        ("a reset", GET, vec![reset(2)], RESET, Kept),
        ("a reset without an error", GET, vec![reset(0)], RESET, Kept),
        ("calm down", GET, vec![reset(11)], RESET, Kept),
        ("nothing, and the end", GET, vec![End], GONE, Closed),
        ("nothing, and a reset of the connection", GET, vec![Reset], GONE, Closed),
        (
            "half a head, and the end",
            GET,
            vec![Send(frame(HEADERS, END_HEADERS, S, &block(&[OK]))[..12].to_vec()), End],
            GONE,
            Closed,
        ),
        ("go away, for an error", GET, vec![Send(frame(GOAWAY, 0, 0, &[0, 0, 0, S, 0, 0, 0, 2])), End], GONE, Closed),
        ("silence", GET, vec![Silence], Refused(504, "response_timeout"), Doubted),
        (
            "pings, and silence",
            GET,
            vec![Send(frame(PING, 0, 0, b"12345678").repeat(20)), Silence],
            Refused(504, "response_timeout"),
            Doubted,
        ),
        // What ends, or goes silent, in the body.
        (
            "half a body, and a reset",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "half"), HeadSeen, reset(2)],
            TRUNCATED,
            Kept,
        ),
        (
            "a body, and a reset without an error",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "all?"), HeadSeen, reset(0)],
            TRUNCATED,
            Kept,
        ),
        (
            "half a body, and the end",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "half"), HeadSeen, End],
            TRUNCATED,
            Closed,
        ),
        (
            "half a body, and a reset of the connection",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "half"), HeadSeen, Reset],
            TRUNCATED,
            Closed,
        ),
        (
            "half a body, and silence",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "half"), HeadSeen, Silence],
            Cut("upstream_body_timeout"),
            Doubted,
        ),
        (
            "empty data without end, and silence",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "half"), HeadSeen, Send(frame(DATA, 0, S, b"").repeat(50)), Silence],
            Cut("upstream_body_timeout"),
            Doubted,
        ),
        // What the codec passes over; it does not travel on.
        (
            "a path in an answer",
            GET,
            vec![head(END_HEADERS, &[OK, (":path", "/")]), data(END_STREAM, "0")],
            Whole(200, "0"),
            Kept,
        ),
        (
            "a status among trailers",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "all"), HeadSeen, head(LAST, &[(":status", "500")])],
            Whole(200, "all"),
            Kept,
        ),
        // As it should be.
        (
            "a body up to its end",
            GET,
            vec![head(END_HEADERS, &[OK]), data(0, "a"), data(END_STREAM, "ll")],
            Whole(200, "all"),
            Kept,
        ),
        ("nothing but a head", GET, vec![head(LAST, &[OK])], Whole(200, ""), Kept),
    ]);
    rows
}

// Does it to the first request of its first connection, and answers all others.
fn serve(mut conn: Conn, number: usize, steps: &[Step], head_seen: impl Fn()) {
    let Some(preface) = conn.try_read(PREFACE.len()) else { return };
    assert_eq!(preface, PREFACE);
    conn.try_send(&frame(SETTINGS, 0, 0, b""));
    while let Some(came) = read(&mut conn) {
        match came.kind {
            SETTINGS if came.flags & ACK == 0 => drop(conn.try_send(&frame(SETTINGS, ACK, 0, b""))),
            PING if came.flags & ACK == 0 => drop(conn.try_send(&frame(PING, ACK, 0, &came.payload))),
            HEADERS if number == 0 && came.stream == S => {
                for step in steps {
                    match step {
                        Send(bytes) => drop(conn.try_send(bytes)),
                        HeadSeen => head_seen(),
                        Silence => {}
                        End => return,
                        Reset => {
                            SockRef::from(conn.stream()).set_linger(Some(Duration::ZERO)).unwrap();
                            return;
                        }
                    }
                }
            }
            HEADERS => {
                let head = frame(HEADERS, END_HEADERS, came.stream, &block(&[OK]));
                let body = frame(DATA, END_STREAM, came.stream, number.to_string().as_bytes());
                conn.try_send(&[head, body].concat());
            }
            _ => {}
        }
    }
}

fn check(protocol: Protocol) {
    let rows = table();
    let (seens, heads) = head_seens(rows.len());
    let trials: Vec<Trial> = rows
        .into_iter()
        .zip(heads)
        .map(|((name, method, steps, expect, fate), head)| {
            let silent = steps.iter().any(|step| matches!(step, Silence));
            let head = Mutex::new(head);
            let backend = Backend::start(move |number, conn| {
                serve(conn, number, &steps, || {
                    head.lock().unwrap().recv().ok();
                });
            });
            let timeouts = if silent { json!({"response": "300ms", "idle": "300ms"}) } else { json!({}) };
            let upstream = upstream(&backend, json!({"timeouts": timeouts, "protocol": {"http2": {}}}));
            Trial { name: format!("{name} in HTTP/2"), method, upstream, expect, fate }
        })
        .collect();
    try_all(protocol, &trials, &seens);
}

#[test]
fn faults_of_an_http_2_upstream_end_in_the_same_way_for_clients_of_http_1() {
    check(Protocol::Http1);
}

#[test]
fn faults_of_an_http_2_upstream_end_in_the_same_way_for_clients_of_http_2() {
    check(Protocol::Http2);
}
