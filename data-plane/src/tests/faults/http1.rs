//! Upstreams of HTTP/1 that answer what they may not.

use super::{
    Expect::{self, Cut, Refused, Whole},
    Fate::{self, Closed, Kept},
    GET, HEAD, Protocol, Trial, head_seens, try_all, upstream,
};
use crate::tests::harness::{Backend, Conn, ok};
use serde_json::json;
use socket2::SockRef;
use std::{borrow::Cow, sync::Mutex, time::Duration};

use Then::{End, EndsInTheBody, Hold, HoldsForEver, Reset, ResetsInTheBody};

/// What follows the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing: whatever is asked next is answered.
    Hold,
    /// Nothing, in an upstream that is not waited for for long.
    HoldsForEver,
    /// The end of the connection.
    End,
    /// A reset.
    Reset,
    /// The end, when the client has seen the head.
    EndsInTheBody,
    /// A reset, when the client has seen the head.
    ResetsInTheBody,
}

type Row = (&'static str, &'static str, Cow<'static, str>, Then, Expect, Fate);

const BAD: Expect = Refused(502, "bad_response");
const GONE: Expect = Refused(502, "closed");
const TRUNCATED: Expect = Cut("upstream_body_truncated");

// The head of an answer, with `|` for the ends of its lines, and what is behind it.
fn says(text: &str) -> Cow<'static, str> {
    text.replace('|', "\r\n").into()
}

fn chunked(body: &str) -> Cow<'static, str> {
    says(&format!("HTTP/1.1 200 OK|transfer-encoding: chunked||{body}"))
}

fn with(field: &str) -> Cow<'static, str> {
    says(&format!("HTTP/1.1 200 OK|{field}|content-length: 2||ok"))
}

fn table() -> Vec<Row> {
    let doubtful = [
        ("two lengths", "HTTP/1.1 200 OK|content-length: 3|content-length: 4||abcd"),
        ("a list of lengths", "HTTP/1.1 200 OK|content-length: 3, 3||abc"),
        ("a negative length", "HTTP/1.1 200 OK|content-length: -1||"),
        ("a length with a sign", "HTTP/1.1 200 OK|content-length: +3||abc"),
        ("a length in hexadecimal", "HTTP/1.1 200 OK|content-length: 0x3||abc"),
        ("a length with a space in it", "HTTP/1.1 200 OK|content-length: 1 2||abc"),
        ("an empty length", "HTTP/1.1 200 OK|content-length:||"),
        ("a length beyond all numbers", "HTTP/1.1 200 OK|content-length: 18446744073709551616||"),
        ("a length and a coding", "HTTP/1.1 200 OK|content-length: 3|transfer-encoding: chunked||0||"),
        ("a coding and a length", "HTTP/1.1 200 OK|transfer-encoding: chunked|content-length: 3||0||"),
        ("a coding twice", "HTTP/1.1 200 OK|transfer-encoding: chunked|transfer-encoding: chunked||0||"),
        ("chunked and identity", "HTTP/1.1 200 OK|transfer-encoding: chunked, identity||0||"),
        ("two codings", "HTTP/1.1 200 OK|transfer-encoding: gzip, chunked||0||"),
        ("chunked in two headers", "HTTP/1.1 200 OK|transfer-encoding: gzip|transfer-encoding: chunked||0||"),
        ("another coding", "HTTP/1.1 200 OK|transfer-encoding: identity||abc"),
        ("a coding that nearly is", "HTTP/1.1 200 OK|transfer-encoding: xchunked||0||"),
        ("a coding in quotes", "HTTP/1.1 200 OK|transfer-encoding: \"chunked\"||0||"),
        ("an empty coding", "HTTP/1.1 200 OK|transfer-encoding:||abc"),
        ("a vertical tab before the coding", "HTTP/1.1 200 OK|transfer-encoding:\x0bchunked||0||"),
        ("a coding in HTTP/1.0", "HTTP/1.0 200 OK|transfer-encoding: chunked||0||"),
        ("a coding and no content", "HTTP/1.1 204 No Content|transfer-encoding: chunked|content-length: 0||"),
        ("a space before the colon", "HTTP/1.1 200 OK|content-length : 2||ok"),
        ("a header without a colon", "HTTP/1.1 200 OK|content-length||"),
        ("a header without a name", "HTTP/1.1 200 OK|: 2|content-length: 0||"),
        ("a folded header", "HTTP/1.1 200 OK|x: a| b|content-length: 0||"),
        ("a folded first header", "HTTP/1.1 200 OK| x: a|content-length: 0||"),
        ("a space in a name", "HTTP/1.1 200 OK|x y: a|content-length: 0||"),
        ("NUL in a name", "HTTP/1.1 200 OK|x\0: a|content-length: 0||"),
        ("NUL in a value", "HTTP/1.1 200 OK|x: a\0b|content-length: 0||"),
        ("a carriage return in a value", "HTTP/1.1 200 OK|x: a\rb|content-length: 0||"),
        ("a bare line feed", "HTTP/1.1 200 OK|x: a\ncontent-length: 0||"),
        ("bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
        ("an escape in a value", "HTTP/1.1 200 OK|x: \x1b[2J|content-length: 0||"),
        ("an empty line before it", "|HTTP/1.1 200 OK|content-length: 0||"),
        ("a space before it", " HTTP/1.1 200 OK|content-length: 0||"),
        ("no version", "200 OK|content-length: 0||"),
        ("another protocol", "ICY 200 OK|content-length: 0||"),
        ("SSH", "SSH-2.0-OpenSSH_9.6|"),
        ("TLS", "\x15\x03\x01\0\x02\x02\x46"),
        ("a version in lower case", "http/1.1 200 OK|content-length: 0||"),
        ("HTTP/1.2", "HTTP/1.2 200 OK|content-length: 0||"),
        ("HTTP/2.0 in text", "HTTP/2.0 200 OK|content-length: 0||"),
        ("a status of two digits", "HTTP/1.1 99 OK|content-length: 0||"),
        ("a status of four digits", "HTTP/1.1 2000 OK|content-length: 0||"),
        ("a status below all", "HTTP/1.1 099 OK|content-length: 0||"),
        ("a status with a letter", "HTTP/1.1 2o0 OK|content-length: 0||"),
        ("no status", "HTTP/1.1 OK|content-length: 0||"),
        ("two spaces before the status", "HTTP/1.1  200 OK|content-length: 0||"),
        ("NUL in the reason", "HTTP/1.1 200 O\0K|content-length: 0||"),
        ("a switch that nobody asked for", "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: x||"),
    ];
    let mut rows: Vec<Row> =
        doubtful.into_iter().map(|(name, text)| (name, GET, says(text), Hold, BAD, Closed)).collect();
    let interim = "HTTP/1.1 103 Early Hints|link: x||";
    let second = "HTTP/1.1 200 OK|content-length: 6||poison";
    rows.extend([
        // What is too much.
        ("too many headers", GET, says(&format!("HTTP/1.1 200 OK|{}|", "a: 1|".repeat(129))), Hold, BAD, Closed),
        ("a head that is too large", GET, with(&format!("a: {}", "x".repeat(140_000))), Hold, BAD, Closed),
        ("a head without end", GET, says(&format!("HTTP/1.1 200 {}", "x".repeat(140_000))), Hold, BAD, Closed),
        ("interim answers without end", GET, says(&interim.repeat(40)), Hold, BAD, Closed),
        // What is as it should be, or nearly.
        ("a few interim answers", GET, says(&format!("{}{}", interim.repeat(3), ok("0"))), Hold, Whole(200, "0"), Kept),
        ("the same length twice", GET, with("content-length: 2"), Hold, Whole(200, "ok"), Kept),
        ("a length with zeros", GET, says("HTTP/1.1 200 OK|content-length: 002||ok"), Hold, Whole(200, "ok"), Kept),
        ("no reason", GET, says("HTTP/1.1 200|content-length: 2||ok"), Hold, Whole(200, "ok"), Kept),
        ("a status of nobody's", GET, says("HTTP/1.1 799 Odd|content-length: 2||ok"), Hold, Whole(799, "ok"), Kept),
        (
            "a coding in capitals",
            GET,
            says("HTTP/1.1 200 OK|Transfer-Encoding: CHUNKED||2|ok|0||"),
            Hold,
            Whole(200, "ok"),
            Kept,
        ),
        ("bytes beyond ASCII in a value", GET, with("x: \u{c3}\u{a9}"), Hold, Whole(200, "ok"), Kept),
        ("a header that Connection names", GET, with("connection: x-a|x-a: 1"), Hold, Whole(200, "ok"), Kept),
        ("a length that Connection names", GET, with("connection: content-length"), Hold, Whole(200, "ok"), Kept),
        ("the end of it all, as said", GET, with("connection: close"), End, Whole(200, "ok"), Closed),
        ("HTTP/1.0", GET, says("HTTP/1.0 200 OK|content-length: 2||ok"), Hold, Whole(200, "ok"), Closed),
        (
            "HTTP/1.0 that would go on",
            GET,
            says("HTTP/1.0 200 OK|connection: keep-alive|content-length: 2||ok"),
            Hold,
            Whole(200, "ok"),
            Closed,
        ),
        ("HTTP/1.0 without a length", GET, says("HTTP/1.0 200 OK||old"), End, Whole(200, "old"), Closed),
        ("a body up to the end", GET, says("HTTP/1.1 200 OK||all"), End, Whole(200, "all"), Closed),
        ("a chunk's extension", GET, chunked("2;a=\"b\"|ok|0||"), Hold, Whole(200, "ok"), Kept),
        (
            "trailers that are none",
            GET,
            chunked("2|ok|0|content-length: 9|host: b|x: 1||"),
            Hold,
            Whole(200, "ok"),
            Kept,
        ),
        // What has no body, and what is behind the end.
        (
            "no content, and some",
            GET,
            says("HTTP/1.1 204 No Content|content-length: 4||evil"),
            Hold,
            Whole(204, ""),
            Closed,
        ),
        (
            "no content, in chunks",
            GET,
            says("HTTP/1.1 204 No Content|transfer-encoding: chunked||0||"),
            Hold,
            Whole(204, ""),
            Closed,
        ),
        (
            "nothing new, and some",
            GET,
            says("HTTP/1.1 304 Not Modified|content-length: 4||evil"),
            Hold,
            Whole(304, ""),
            Closed,
        ),
        ("a body to HEAD", HEAD, says("HTTP/1.1 200 OK|content-length: 4||evil"), Hold, Whole(200, ""), Closed),
        ("chunks to HEAD", HEAD, chunked("4|evil|0||"), Hold, Whole(200, ""), Closed),
        ("a second answer", GET, says(&format!("{}{second}", ok("0"))), Hold, Whole(200, "0"), Closed),
        ("a second answer behind chunks", GET, chunked(&format!("1|0|0||{second}")), Hold, Whole(200, "0"), Closed),
        (
            "a second answer behind no content",
            GET,
            says(&format!("HTTP/1.1 204 No Content||{second}")),
            Hold,
            Whole(204, ""),
            Closed,
        ),
        ("one byte too many", GET, says(&format!("{}x", ok("0"))), Hold, Whole(200, "0"), Closed),
        // What ends, or goes silent, before there is an answer.
        ("nothing, and the end", GET, says(""), End, GONE, Closed),
        ("nothing, and a reset", GET, says(""), Reset, GONE, Closed),
        ("half a head, and the end", GET, says("HTTP/1.1 200 OK|x: half"), End, GONE, Closed),
        ("half a head, and a reset", GET, says("HTTP/1.1 200 OK|x: half"), Reset, GONE, Closed),
        ("an interim answer, and the end", GET, says(interim), End, GONE, Closed),
        ("silence", GET, says(""), HoldsForEver, Refused(504, "response_timeout"), Closed),
        (
            "half a head, and silence",
            GET,
            says("HTTP/1.1 200 OK|x: half"),
            HoldsForEver,
            Refused(504, "response_timeout"),
            Closed,
        ),
        // What ends, or goes silent, in the body.
        (
            "half a body, and the end",
            GET,
            says("HTTP/1.1 200 OK|content-length: 8||half"),
            EndsInTheBody,
            TRUNCATED,
            Closed,
        ),
        (
            "half a body, and a reset",
            GET,
            says("HTTP/1.1 200 OK|content-length: 8||half"),
            ResetsInTheBody,
            TRUNCATED,
            Closed,
        ),
        (
            "half a body, and silence",
            GET,
            says("HTTP/1.1 200 OK|content-length: 8||half"),
            HoldsForEver,
            Cut("upstream_body_timeout"),
            Closed,
        ),
        ("a body up to a reset", GET, says("HTTP/1.1 200 OK||all?"), ResetsInTheBody, TRUNCATED, Closed),
        ("half a chunk, and the end", GET, chunked("8|half"), EndsInTheBody, TRUNCATED, Closed),
        ("a chunk, and the end", GET, chunked("4|half|"), EndsInTheBody, TRUNCATED, Closed),
        ("a chunk, and a reset", GET, chunked("4|half|"), ResetsInTheBody, TRUNCATED, Closed),
        ("a last chunk without its end", GET, chunked("4|half|0|"), EndsInTheBody, TRUNCATED, Closed),
        ("trailers without their end", GET, chunked("4|half|0|x: 1|"), EndsInTheBody, TRUNCATED, Closed),
        ("a chunk, and silence", GET, chunked("4|half|"), HoldsForEver, Cut("upstream_body_timeout"), Closed),
    ]);
    let broken = [
        ("a size beyond all numbers", "fffffffffffffffff|a"),
        ("a size of too many digits", "0000000000000001|a|0||"),
        ("a negative size", "-1|a|0||"),
        ("a size with a sign", "+1|a|0||"),
        ("a size with a prefix", "0x1|a|0||"),
        ("no size", "|a|0||"),
        ("a size behind a space", " 1|a|0||"),
        ("a size behind a bare line feed", "1\na|0||"),
        ("a chunk that is longer", "1|ab|0||"),
        ("a chunk behind a bare line feed", "1|a\n0||"),
        ("a control character in an extension", "1;a\x01|a|0||"),
        ("a trailer without a colon", "1|a|0|no colon||"),
        ("NUL in a trailer", "1|a|0|x: a\0b||"),
        ("a space in a trailer's name", "1|a|0|x y: a||"),
        ("a folded trailer", "1|a|0|x: a| b||"),
    ];
    rows.extend(broken.map(|(name, text)| (name, GET, chunked(text), Hold, TRUNCATED, Closed)));
    rows.extend([
        ("an extension without end", GET, chunked(&format!("1;{}|a|0||", "a".repeat(5000))), Hold, TRUNCATED, Closed),
        ("too many trailers", GET, chunked(&format!("1|a|0|{}|", "x: y|".repeat(65))), Hold, TRUNCATED, Closed),
        (
            "trailers that are too large",
            GET,
            chunked(&format!("1|a|0|{}|", format!("x: {}|", "y".repeat(1000)).repeat(20))),
            Hold,
            TRUNCATED,
            Closed,
        ),
    ]);
    rows
}

// Does it on its first connection, to the first request.
fn serve(mut conn: Conn, number: usize, answer: &[u8], then: Then, head_seen: impl FnOnce()) {
    let fault = number == 0;
    if fault {
        conn.request();
        conn.try_send(answer);
        if matches!(then, EndsInTheBody | ResetsInTheBody) {
            head_seen();
        }
        match then {
            Hold | HoldsForEver => {}
            End | EndsInTheBody => return,
            Reset | ResetsInTheBody => {
                SockRef::from(conn.stream()).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
    while conn.request().is_some() {
        conn.try_send(ok(&number.to_string()).as_bytes());
    }
}

fn check(protocol: Protocol) {
    let rows = table();
    let (seens, heads) = head_seens(rows.len());
    let trials: Vec<Trial> = rows
        .into_iter()
        .zip(heads)
        .map(|((name, method, answer, then, expect, fate), head)| {
            // What is one character here is one byte there.
            let answer: Vec<u8> = answer.chars().map(|c| c as u8).collect();
            let head = Mutex::new(head);
            let backend = Backend::start(move |number, conn| {
                serve(conn, number, &answer, then, || {
                    head.lock().unwrap().recv().ok();
                });
            });
            let timeouts = if then == HoldsForEver { json!({"response": "300ms", "idle": "300ms"}) } else { json!({}) };
            let upstream = upstream(&backend, json!({"timeouts": timeouts}));
            Trial { name: name.into(), method, upstream, expect, fate }
        })
        .collect();
    try_all(protocol, &trials, &seens);
}

#[test]
fn faults_of_an_upstream_end_in_the_same_way_for_clients_of_http_1() {
    check(Protocol::Http1);
}

#[test]
fn faults_of_an_upstream_end_in_the_same_way_for_clients_of_http_2() {
    check(Protocol::Http2);
}
