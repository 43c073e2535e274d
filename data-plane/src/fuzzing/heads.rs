//! Heads of requests and answers, read a second time.

use super::check_path;
use crate::{context::is_identity, inbound::BodyFraming, listener, pool, proxy};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use proto::path::normalise;

/// What no upstream gets: it belongs to the client's connection, or frames a body here that has none.
const NEVER: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content_length",
    "transfer_encoding",
    "forwarded",
];

/// A head in its parts.
struct Parts<'a> {
    first: [&'a str; 3],
    fields: Vec<(String, &'a [u8])>,
}

pub(super) fn request(bytes: &[u8]) {
    let Some((request, framing, len)) = listener::decode_head(bytes) else { return };
    // What the codec takes has one reading only.
    let head = bytes[..len].strip_prefix(b"\r\n").unwrap_or(&bytes[..len]);
    let parts = read(head);
    assert_eq!(parts.first[0], request.method().as_str());
    assert_eq!(parts.fields.len(), request.headers().len());
    let all = |name: &str| parts.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| *value).collect::<Vec<_>>();
    let expect = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => BodyFraming::Length(0),
        ([length], []) => BodyFraming::Length(number(length)),
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            BodyFraming::Chunked
        }
        (lengths, codings) => panic!("{lengths:?} and {codings:?} were let through"),
    };
    assert_eq!(framing, expect);
    // What is admitted is told to upstreams in one way only.
    let Some(out) = proxy::admitted(request) else { return };
    let sent = read(&out);
    assert_eq!((sent.first[0], sent.first[2]), (parts.first[0], "HTTP/1.1"));
    let (path, query) =
        sent.first[1].split_once('?').map_or((sent.first[1], None), |(path, query)| (path, Some(query)));
    check_path(path);
    assert_eq!(normalise(path).as_deref(), Ok(path));
    assert!(query.unwrap_or_default().bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{query:?}");
    assert_eq!(sent.fields.iter().filter(|(name, _)| name == "host").count(), 1);
    for (name, value) in &sent.fields {
        assert!(!NEVER.contains(&name.as_str()), "{name} was sent on");
        assert!(!HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_identity(&name)), "{name} was believed");
        assert!(name != "te" || *value == b"trailers");
        assert!(name != "content-length" || *value == b"0");
    }
    // Whoever reads it as we do sees the same.
    let (again, _, all) = listener::decode_head(&out).expect("what is sent is a head");
    assert_eq!((all, again.uri().to_string().as_str()), (out.len(), sent.first[1]));
}

pub(super) fn answer(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let Some((status, headers, framing, len)) = pool::decode_answer(bytes, &method) else { continue };
        let head = read(&bytes[..len]);
        assert!(matches!(head.first[0], "HTTP/1.1" | "HTTP/1.0"), "{:?}", head.first);
        assert_eq!(head.first[1], status.as_str());
        check_answer(&head, status, &headers);
        let all =
            |name: &str| head.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| *value).collect::<Vec<_>>();
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        let lengths: Vec<u64> = lengths.into_iter().map(number).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        assert!(codings.is_empty() || codings.len() == 1 && lengths.is_empty() && head.first[0] == "HTTP/1.1");
        let bodiless = method == Method::HEAD || status.is_informational() || matches!(status.as_u16(), 204 | 304);
        let expect = match (bodiless, lengths.first(), codings.first()) {
            (true, _, _) => "length 0".to_string(),
            (false, Some(length), None) => format!("length {length}"),
            (false, None, Some(_)) => "chunked".to_string(),
            (false, None, None) => "close".to_string(),
            (false, Some(_), Some(_)) => unreachable!("asserted above"),
        };
        assert_eq!(framing, expect);
    }
}

fn check_answer(head: &Parts<'_>, status: StatusCode, headers: &HeaderMap) {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", "te"] {
        assert!(!headers.contains_key(name), "{name} was passed on");
    }
    assert!(headers.get_all("content-length").iter().count() <= 1);
    assert!(status != StatusCode::NO_CONTENT || !headers.contains_key("content-length"));
    for (name, value) in headers {
        let is_there = head.fields.iter().any(|(n, v)| n == name.as_str() && *v == value.as_bytes());
        assert!(is_there, "{name} was made up");
    }
}

// Reads a whole head: lines that end with CR and LF, three words in the first, and names, colons and values.
fn read(head: &[u8]) -> Parts<'_> {
    let body = head.strip_suffix(b"\r\n\r\n").expect("a head ends with an empty line");
    let mut lines = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(2).position(|end| end == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    for line in &lines {
        assert!(line.iter().all(|byte| !matches!(byte, b'\r' | b'\n' | 0)), "{:?}", String::from_utf8_lossy(line));
    }
    let mut words = lines[0].splitn(3, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(words.next().unwrap_or_default()).unwrap_or_default();
    let first = [word(), word(), word()];
    let fields = lines[1..].iter().map(|line| {
        let at = line.iter().position(|byte| *byte == b':').expect("a header has a colon");
        let name = std::str::from_utf8(&line[..at]).expect("a name is ASCII");
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b)));
        (name.to_ascii_lowercase(), trim(&line[at + 1..]))
    });
    Parts { first, fields: fields.collect() }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn number(text: &[u8]) -> u64 {
    assert!(!text.is_empty() && text.iter().all(u8::is_ascii_digit), "{:?}", String::from_utf8_lossy(text));
    text.iter().fold(0_u64, |n, digit| {
        let next = n.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0')));
        next.expect("a length is a number that there is")
    })
}
