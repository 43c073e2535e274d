//! The head of a request, out of bytes.
//!
//! Two programs that read one head differently are how requests are smuggled. So what is not exactly a head is refused,
//! whatever other servers make of it: a bare line feed, several lengths, a space before a colon. The verdict does not
//! depend on how the bytes were cut into packets.

use crate::{
    error::Error,
    inbound::BodyFraming,
    settings::{MOST_HEADERS, Settings},
};
use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// The longest target (RFC 9110, 4.1, asks for 8,000 at least).
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// What a head may be, at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In bytes.
    pub(super) bytes: usize,
    /// In headers.
    pub(super) headers: usize,
}

/// A head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) framing: BodyFraming,
    /// Whether the client wants the connection to go on.
    pub(super) keep_alive: bool,
    /// Whether it waits for leave to send the body.
    pub(super) expects: bool,
}

/// What is no head, and what is known of it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) request: Request<()>,
}

/// Where the parts of headers stand in a head; kept, so that no head costs its memory again.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Field>);

#[derive(Clone, Copy, Debug)]
struct Field {
    name: (u32, u32),
    value: (u32, u32),
}

// What the headers say about the body and the connection.
#[derive(Debug, Default)]
struct Signs {
    lengths: usize,
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

/// Takes a head out of the bytes that came; `None` when it is not whole yet. Without a line feed more, the verdict is the
/// same again.
pub(super) fn decode(bytes: &mut BytesMut, limits: Limits, fields: &mut Fields) -> Result<Option<Head>, Box<Refused>> {
    // One empty line is forgiven: some clients send one behind a body (RFC 9112, 2.2).
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let seen = &bytes[start..bytes.len().min(limits.bytes.max(start))];
    let is_full = bytes.len() >= limits.bytes;
    let waits = |error| if is_full { Err(Refused::unknown(error)) } else { Ok(None) };
    match seen {
        [] | [b'\r'] if start == 0 => return Ok(None),
        [] => return waits(Error::HeadTooLarge),
        [b'\r' | b'\n', ..] => return Err(Refused::unknown(Error::Malformed("it begins with empty lines"))),
        [..] => {}
    }
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let headers = &mut headers[..limits.headers.min(MOST_HEADERS)];
    let len = match ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, seen, headers) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => {
            return waits(if seen.contains(&b'\n') { Error::HeadTooLarge } else { Error::TargetTooLong });
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::unknown(Error::TooManyHeaders)),
        Err(httparse::Error::Version) => {
            return match seen.iter().position(|byte| *byte == b'\n') {
                Some(end) => Err(Refused::unknown(version(&seen[..=end]))),
                None => waits(Error::TargetTooLong),
            };
        }
        Err(error) => return Err(Refused::unknown(Error::Malformed(because(error)))),
    };
    // The parser takes a bare line feed for the end of a line. Each line ends where the name of the next begins.
    let at = |part: &[u8]| (part.as_ptr().addr() - seen.as_ptr().addr()) as u32;
    let span = |part: &[u8]| (at(part), at(part) + part.len() as u32);
    fields.0.clear();
    fields.0.extend(
        parsed.headers.iter().map(|header| Field { name: span(header.name.as_bytes()), value: span(header.value) }),
    );
    let ends = |end: usize| seen[..end].ends_with(b"\r\n");
    if !seen[..len].ends_with(b"\r\n\r\n") || !fields.0.iter().all(|field| ends(field.name.0 as usize)) {
        return Err(Refused::unknown(Error::Malformed("a line ends without a carriage return")));
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes());
    let target = span(parsed.path.unwrap_or_default().as_bytes());
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    bytes.advance(start);
    let head = bytes.split_to(len).freeze();
    let part = |(from, to): (u32, u32)| head.slice(from as usize..to as usize);

    let mut request = Request::new(());
    *request.version_mut() = version;
    *request.method_mut() = match method {
        Ok(method) => method,
        Err(_) => return Err(Refused::unknown(Error::Malformed("the method is not a token"))),
    };
    *request.headers_mut() = HeaderMap::with_capacity(fields.0.len() + 8);
    let mut signs = Signs::default();
    for field in &fields.0 {
        // The value shares the memory that was read into.
        let name = HeaderName::from_bytes(&head[field.name.0 as usize..field.name.1 as usize]);
        let value = HeaderValue::from_maybe_shared(part(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Refused::of(request, Error::Malformed("a header has characters that it may not have")));
        };
        signs.read(&name, &value);
        request.headers_mut().append(name, value);
    }
    if (target.1 - target.0) as usize > MAX_TARGET {
        return Err(Refused::of(request, Error::TargetTooLong));
    }
    match Uri::from_maybe_shared(part(target)) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return Err(Refused::of(request, Error::Target)),
    }
    match signs.framing(version) {
        Ok(framing) => Ok(Some(Head {
            framing,
            keep_alive: !signs.close && (version == Version::HTTP_11 || signs.keep_alive),
            expects: signs.expects && version == Version::HTTP_11,
            request,
        })),
        Err(error) => Err(Refused::of(request, error)),
    }
}

// A version that there is, but not here; or a line that is none.
fn version(line: &[u8]) -> Error {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', b'\n']), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Error::Version
        }
        (..) => Error::Malformed("its first line is not a method, a target and a version"),
    }
}

fn because(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name has characters that it may not have, or none",
        httparse::Error::HeaderValue => "a header's value has characters that it may not have",
        httparse::Error::NewLine => "a line does not end where it should",
        httparse::Error::Token
        | httparse::Error::Status
        | httparse::Error::Version
        | httparse::Error::TooManyHeaders => "its first line is not a method, a target and a version",
    }
}

// === impl Limits ===

impl Limits {
    /// Those of a node.
    pub(super) fn of(settings: &Settings) -> Limits {
        Limits { bytes: settings.max_header_bytes, headers: settings.max_headers }
    }
}

// === impl Refused ===

impl Refused {
    /// What is known is what follows.
    pub(super) fn of(request: Request<()>, error: Error) -> Box<Refused> {
        Box::new(Refused { error, request })
    }

    /// Nothing is known.
    pub(super) fn unknown(error: Error) -> Box<Refused> {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("*");
        *request.method_mut() = Method::from_bytes(b"_OTHER").unwrap_or_default();
        Refused::of(request, error)
    }
}

// === impl Signs ===

impl Signs {
    fn read(&mut self, name: &HeaderName, value: &HeaderValue) {
        let value = value.as_bytes();
        match *name {
            header::CONTENT_LENGTH => {
                self.lengths += 1;
                self.length = length(value);
            }
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            header::CONNECTION => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            header::EXPECT => self.expects |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }

    // RFC 9112, 6.3, where it leaves a choice: no.
    fn framing(&self, version: Version) -> Result<BodyFraming, Error> {
        match (self.codings, self.lengths, self.length) {
            (0, 0, _) => Ok(BodyFraming::Length(0)),
            (0, 1, Some(length)) => Ok(BodyFraming::Length(length)),
            (0, 1, None) => Err(Error::Framing("the Content-Length is not a number")),
            (0, _, _) => Err(Error::Framing("several Content-Length headers")),
            (_, 1.., _) => Err(Error::Framing("both Transfer-Encoding and Content-Length")),
            (_, 0, _) if version == Version::HTTP_10 => Err(Error::Framing("HTTP/1.0 has no transfer codings")),
            (1, 0, _) if self.chunked => Ok(BodyFraming::Chunked),
            (_, 0, _) => Err(Error::TransferCoding),
        }
    }
}

// Digits and nothing else: others read a sign, a list or a space in their own ways.
fn length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
