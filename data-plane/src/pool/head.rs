//! Heads: the request's as bytes, and the response's out of bytes.
//!
//! Where a response ends must be beyond doubt, or the next client gets the rest of it. So a response whose framing could
//! be read in two ways is refused, and its connection closed.

use super::call::Outgoing;
use crate::{
    context::{TRACEPARENT, is_hop_by_hop, strip_named},
    encoding,
};
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// The most headers of a response.
const MAX_HEADERS: usize = 128;
/// The longest head of a response.
pub(super) const MAX_HEAD: usize = 128 * 1024;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFraming {
    /// There is none.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    Close,
}

/// The head of a response, without what belongs to the connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection can be used again afterwards.
    pub(super) keep_alive: bool,
    /// Of a 101 that names one protocol.
    pub(super) switches_to: Option<Box<HeaderValue>>,
}

/// It is not HTTP that can be forwarded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadHead;

// What the headers say about framing and the connection.
#[derive(Debug, Default)]
struct Signs {
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    close: bool,
    upgrade: bool,
    upgrades: usize,
    // The last one.
    protocol: Option<HeaderValue>,
    // Of `Connection`, if it names headers.
    named: Vec<HeaderValue>,
}

// Where a name and a value stand in the head.
#[derive(Clone, Copy)]
struct Field {
    name: (usize, usize),
    value: (usize, usize),
}

/// Appends the head of a request that is sent within that span.
pub(super) fn encode(outgoing: &Outgoing<'_>, span: u64, framing: RequestFraming, out: &mut Vec<u8>) {
    out.extend_from_slice(outgoing.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(outgoing.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut empty = false;
    for (name, value) in outgoing.headers {
        // How the body is framed is said below, by whoever frames it.
        if *name == header::CONTENT_LENGTH {
            empty = true;
            continue;
        }
        encoding::field(name, value, out);
    }
    encoding::line(&TRACEPARENT, &outgoing.trace.traceparent(span), out);
    match framing {
        RequestFraming::None if empty => out.extend_from_slice(b"content-length: 0\r\n"),
        RequestFraming::None => {}
        RequestFraming::Length(len) => encoding::content_length(len, out),
        RequestFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if let Some(upgrade) = outgoing.upgrade {
        out.extend_from_slice(b"connection: Upgrade\r\n");
        encoding::field(&header::UPGRADE, upgrade.protocol(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Takes the head of a response out of the bytes that came; `None` when it is not whole yet.
pub(super) fn decode(bytes: &mut BytesMut, method: &Method) -> Result<Option<Head>, BadHead> {
    let (len, status, version);
    let fields: Vec<Field>;
    {
        // To fill it with nothing first would cost more than what is parsed into it.
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        match ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
            // Whatever came with one read.
            Ok(Status::Complete(n)) if n <= MAX_HEAD => len = n,
            Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(Status::Complete(_) | Status::Partial) | Err(_) => return Err(BadHead),
        }
        status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(BadHead)?;
        version = response.version.ok_or(BadHead)?;
        // The names and values are slices of the bytes; as offsets they outlive the bytes' freezing.
        let start = bytes.as_ptr().addr();
        let offset = |part: &[u8]| (part.as_ptr().addr() - start, part.as_ptr().addr() - start + part.len());
        let field = |header: &Header<'_>| Field { name: offset(header.name.as_bytes()), value: offset(header.value) };
        fields = response.headers.iter().map(field).collect();
    }
    let head = bytes.split_to(len).freeze();
    // The parser takes a bare line feed for the end of a line, and passes over empty ones; others do not. Each line ends
    // where the name of the next begins.
    let ends = |end: usize| head[..end].ends_with(b"\r\n");
    let is_strict = head.starts_with(b"HTTP/") && head.ends_with(b"\r\n\r\n");
    if !is_strict || !fields.iter().all(|field| ends(field.name.0)) {
        return Err(BadHead);
    }
    let mut headers = HeaderMap::with_capacity(fields.len() + 4);
    let mut signs = Signs::default();
    for field in &fields {
        let name = HeaderName::from_bytes(&head[field.name.0..field.name.1]).map_err(|_| BadHead)?;
        // The value shares the memory that was read into.
        let value = head.slice(field.value.0..field.value.1);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| BadHead)?;
        signs.read(&name, &value)?;
        if is_hop_by_hop(&name) {
            continue;
        }
        if name == header::CONTENT_LENGTH {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    signs.named.iter().for_each(|options| strip_named(&mut headers, options.as_bytes()));
    let framing = signs.framing(method, status, version)?;
    let switches_to = if status == StatusCode::SWITCHING_PROTOCOLS { signs.switches_to(version) } else { None };
    if status == StatusCode::NO_CONTENT {
        // It has none, whatever it says (RFC 9110, 8.6).
        headers.remove(header::CONTENT_LENGTH);
    }
    let keep_alive = version == 1 && !signs.close && framing != Framing::Close;
    Ok(Some(Head { status, headers, framing, keep_alive, switches_to }))
}

impl Signs {
    fn read(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), BadHead> {
        match *name {
            header::CONTENT_LENGTH => {
                let length = length(value.as_bytes()).ok_or(BadHead)?;
                if self.length.is_some_and(|before| before != length) {
                    return Err(BadHead);
                }
                self.length = Some(length);
            }
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
            }
            header::CONNECTION => {
                let mut options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.close |= options.clone().any(|option| option.eq_ignore_ascii_case(b"close"));
                self.upgrade |= options.clone().any(|option| option.eq_ignore_ascii_case(b"upgrade"));
                let plain =
                    |option: &[u8]| option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive");
                if !options.all(plain) {
                    self.named.push(value.clone());
                }
            }
            header::UPGRADE => {
                self.upgrades += 1;
                self.protocol = Some(value.clone());
            }
            _ => {}
        }
        Ok(())
    }

    // The one protocol that the connection speaks from now on; `None` where that is in doubt.
    fn switches_to(&self, version: u8) -> Option<Box<HeaderValue>> {
        let is_bare = self.codings == 0 && self.length.unwrap_or(0) == 0;
        let protocol =
            self.protocol.as_ref().filter(|_| version == 1 && self.upgrade && self.upgrades == 1 && is_bare)?;
        Some(Box::new(protocol.clone()))
    }

    // RFC 9112, 6.3, where it leaves a choice: no.
    fn framing(&self, method: &Method, status: StatusCode, version: u8) -> Result<Framing, BadHead> {
        if self.codings > 0 && (self.codings > 1 || !self.chunked || self.length.is_some() || version == 0) {
            return Err(BadHead);
        }
        let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || *method == Method::HEAD {
            return Ok(Framing::Length(0));
        }
        match (self.chunked, self.length) {
            (true, _) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::Close),
        }
    }
}

// Digits and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_text(text: &str, method: Method) -> Result<Option<Head>, BadHead> {
        decode(&mut BytesMut::from(text), &method)
    }

    #[test]
    fn the_end_of_a_response_is_beyond_doubt() {
        let check = |text: &str, method, expect: Result<(Framing, bool), BadHead>| {
            let text = format!("HTTP/1.{text}\r\n\r\n");
            let head = decode_text(&text, method).map(|head| head.map(|head| (head.framing, head.keep_alive)).unwrap());
            assert_eq!(head, expect, "{text:?}");
        };
        let get = Method::GET;
        check("1 200 OK\r\ncontent-length: 3", get.clone(), Ok((Framing::Length(3), true)));
        check("1 200 OK\r\ncontent-length: 3\r\nContent-Length: 3", get.clone(), Ok((Framing::Length(3), true)));
        check("1 200 OK\r\nTransfer-Encoding: Chunked", get.clone(), Ok((Framing::Chunked, true)));
        check("1 200", get.clone(), Ok((Framing::Close, false)));
        check("1 200 OK\r\ncontent-length: 3\r\nconnection: x, Close", get.clone(), Ok((Framing::Length(3), false)));
        check("0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive", get.clone(), Ok((Framing::Length(3), false)));
        check("1 204 No\r\ncontent-length: 3", get.clone(), Ok((Framing::Length(0), true)));
        check("1 304 No", get.clone(), Ok((Framing::Length(0), true)));
        check("1 200 OK\r\ncontent-length: 3", Method::HEAD, Ok((Framing::Length(0), true)));
        for bad in [
            "1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4",
            "1 200 OK\r\ncontent-length: 3, 3",
            "1 200 OK\r\ncontent-length: +3",
            "1 200 OK\r\ncontent-length:",
            "1 200 OK\r\ncontent-length: 99999999999999999999",
            "1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked",
            "1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "1 200 OK\r\ntransfer-encoding: gzip, chunked",
            "1 200 OK\r\ntransfer-encoding: identity",
            "0 200 OK\r\ntransfer-encoding: chunked",
            "1 200 OK\r\nx y: 1",
            "1 200 OK\r\nx : 1",
            "1 200 OK\r\n folded",
            "1 20 OK",
            "1 2000 OK",
            "2 200 OK",
        ] {
            check(bad, get.clone(), Err(BadHead));
        }
    }

    #[test]
    fn a_line_ends_with_carriage_return_and_line_feed() {
        assert!(decode_text("HTTP/1.1 200 OK\r\na: 1\r\n\r\n", Method::GET).is_ok());
        for bad in [
            "HTTP/1.1 200 OK\na: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\nb: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\r\n\n",
            "HTTP/1.1 200 OK\n\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(matches!(decode_text(bad, Method::GET), Err(BadHead)), "{bad:?}");
        }
    }

    #[test]
    fn only_what_may_travel_on_is_in_a_head() {
        let text = "HTTP/1.1 200 OK\r\nA: 1\r\nConnection: B, keep-alive\r\nB: 2\r\nA: 3\r\nUpgrade: x\r\n\r\nrest";
        let mut bytes = BytesMut::from(text);
        let head = decode(&mut bytes, &Method::GET).unwrap().unwrap();
        let all: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(all, [("a", "1"), ("a", "3")]);
        assert_eq!(&bytes[..], b"rest");
    }

    #[test]
    fn a_head_has_limits() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(MAX_HEADERS + 1));
        assert!(decode_text(&many, Method::GET).is_err());
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_HEAD));
        assert!(decode_text(&long, Method::GET).is_err());
        assert!(decode_text(&format!("{long}\r\n\r\n"), Method::GET).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in "HTTP/1.1 200 OK\r\n[ -~\r\n]{0,60}\r\n\r\n") {
            let _ = decode_text(&bytes, Method::GET);
        }
    }
}
