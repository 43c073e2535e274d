//! What is asked about a request, checked: the description of a request, and that request as a client would write it.

use crate::{
    fields::check_reference,
    invalid::Faults,
    matching::{Scheme, scheme},
    name::Name,
    pb, quantity,
};
use http::{HeaderName, Method};
use std::net::{IpAddr, Ipv4Addr};

/// The most headers of a description.
const MAX_HEADERS: usize = 100;
/// The most bytes that the parts of a description have together.
const MAX_LEN: usize = 64 * 1024;
/// Whom a request is for that does not say it.
const DEFAULT_HOST: &str = "localhost";

/// A request that can be asked about. It need not be one that is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// How the client comes.
    pub scheme: Scheme,
    /// The name of the listener.
    pub listener: String,
    /// The client's address.
    pub client: IpAddr,
    /// How many bytes the body has.
    pub body: u64,
    /// Whose it is, where that is told.
    pub consumer: Option<Name>,
    // The head, as it would be written.
    head: String,
}

// === impl Description ===

impl Description {
    /// Checks what was said; the faults are noted.
    pub fn check(message: Option<&pb::RequestDescription>, faults: &mut Faults) -> Option<Description> {
        let Some(message) = message else {
            faults.note("a request is missing; give at least its `url`");
            return None;
        };
        let before = faults.count();
        let method = match message.method.as_str() {
            "" => "GET",
            text if Method::from_bytes(text.as_bytes()).is_ok() => text,
            text => {
                faults.note_at("method", format!("{text:?} is not a method"));
                text
            }
        };
        let url = faults.at("url", |faults| Url::split(&message.url, faults));
        let scheme = faults.at("scheme", |faults| match message.scheme.as_str() {
            "" => Some(url.scheme),
            text => faults.take(scheme(text)),
        })?;
        let listener = match message.listener.as_str() {
            "" => scheme.as_str().to_string(),
            text => check_reference("listener", text, faults)?.to_string(),
        };
        let client = match message.client.as_str() {
            "" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            text => faults.at("client", |faults| {
                faults.take(text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address")))
            }),
        };
        let body = match message.body_size.as_str() {
            "" => Some(0),
            text => faults.at("body_size", |faults| faults.take(quantity::size(text))),
        };
        let consumer = match message.consumer.as_str() {
            "" => None,
            text => check_reference("consumer", text, faults),
        };
        let host = match message.host.as_str() {
            "" => url.host.unwrap_or(DEFAULT_HOST),
            text => text,
        };
        faults.at("host", |faults| check_line(host, faults));
        check_headers(&message.headers, faults);
        let head = head(method, url.target, host, &message.headers, body?);
        if head.len() > MAX_LEN {
            faults.note("the request is longer than 64KiB");
        }
        (faults.count() == before).then_some(Description {
            scheme,
            listener,
            client: client?.to_canonical(),
            body: body?,
            consumer,
            head,
        })
    }

    /// The head of the request, as a client writes it by HTTP/1.1.
    pub fn head(&self) -> &str {
        &self.head
    }
}

/// The parts of a URL, as they were written.
struct Url<'a> {
    scheme: Scheme,
    host: Option<&'a str>,
    target: &'a str,
}

// === impl Url ===

impl<'a> Url<'a> {
    // As clients do it: nothing is made better.
    fn split(text: &'a str, faults: &mut Faults) -> Url<'a> {
        if text.is_empty() {
            faults.note("a url is missing, as in \"https://api.example.com/orders\" or \"/orders\"");
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            faults.note("a url has no spaces and no control characters; percent-encode them");
        }
        // A fragment is not sent.
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            // A target, or what admission will not take for one.
            Some(_) | None => return Url { scheme: Scheme::Http, host: None, target: text },
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let target = match &rest[at..] {
            "" => "/",
            target => target,
        };
        Url { scheme, host: Some(&rest[..at]), target }
    }
}

fn check_headers(headers: &[pb::RequestHeader], faults: &mut Faults) {
    faults.at("headers", |faults| {
        if headers.len() > MAX_HEADERS {
            faults.note(format!("at most {MAX_HEADERS} headers can be given"));
        }
        for (at, header) in headers.iter().enumerate() {
            faults.at(at, |faults| {
                if HeaderName::from_bytes(header.name.as_bytes()).is_err() {
                    faults.note_at("name", format!("{:?} is not a header name", header.name));
                }
                faults.at("value", |faults| check_line(&header.value, faults));
            });
        }
    });
}

// What would end a line early would be another request.
fn check_line(text: &str, faults: &mut Faults) {
    if text.contains(['\r', '\n', '\0']) {
        faults.note("a header has no line breaks");
    }
}

fn head(method: &str, target: &str, host: &str, headers: &[pb::RequestHeader], body: u64) -> String {
    let has = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let host = (!has("host")).then(|| ("host", host.to_string()));
    let is_framed = has("content-length") || has("transfer-encoding");
    let length = (body > 0 && !is_framed).then(|| ("content-length", body.to_string()));
    let given = headers.iter().map(|header| (header.name.as_str(), header.value.clone()));
    for (name, value) in host.into_iter().chain(given).chain(length) {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(&value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(message: pb::RequestDescription) -> Result<Description, String> {
        let mut faults = Faults::default();
        let description = Description::check(Some(&message), &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        description.ok_or_else(|| found.join(" "))
    }

    #[test]
    fn a_description_is_written_as_a_client_would() {
        let url = |url: &str| pb::RequestDescription { url: url.into(), ..Default::default() };
        let check = |message: pb::RequestDescription, scheme: Scheme, head: &str| {
            let description = described(message).expect("it is right");
            assert_eq!((description.scheme, description.head()), (scheme, head));
        };
        check(url("https://a.example/x?y#z"), Scheme::Https, "GET /x?y HTTP/1.1\r\nhost: a.example\r\n\r\n");
        check(url("http://a.example:8080"), Scheme::Http, "GET / HTTP/1.1\r\nhost: a.example:8080\r\n\r\n");
        check(url("/x/../y"), Scheme::Http, "GET /x/../y HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let header = |name: &str, value: &str| pb::RequestHeader { name: name.into(), value: value.into() };
        let more = pb::RequestDescription {
            method: "POST".into(),
            host: "b".into(),
            headers: vec![header("X-A", "1")],
            body_size: "1KiB".into(),
            ..url("http://a/")
        };
        check(more.clone(), Scheme::Http, "POST / HTTP/1.1\r\nhost: b\r\nX-A: 1\r\ncontent-length: 1024\r\n\r\n");
        let more = pb::RequestDescription { headers: vec![header("Host", "c"), header("Content-Length", "7")], ..more };
        check(more, Scheme::Http, "POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 7\r\n\r\n");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let right = pb::RequestDescription { url: "/".into(), ..Default::default() };
        assert!(described(right.clone()).is_ok());
        let header = |name: &str, value: &str| vec![pb::RequestHeader { name: name.into(), value: value.into() }];
        for (message, pointer) in [
            (pb::RequestDescription { url: String::new(), ..right.clone() }, "/url"),
            (pb::RequestDescription { url: "/a b".into(), ..right.clone() }, "/url"),
            (pb::RequestDescription { method: "G T".into(), ..right.clone() }, "/method"),
            (pb::RequestDescription { host: "a\r\nx: y".into(), ..right.clone() }, "/host"),
            (pb::RequestDescription { scheme: "ftp".into(), ..right.clone() }, "/scheme"),
            (pb::RequestDescription { client: "a".into(), ..right.clone() }, "/client"),
            (pb::RequestDescription { listener: "?".into(), ..right.clone() }, "/listener"),
            (pb::RequestDescription { body_size: "much".into(), ..right.clone() }, "/body_size"),
            (pb::RequestDescription { headers: header("a b", ""), ..right.clone() }, "/headers/0/name"),
            (pb::RequestDescription { headers: header("a", "b\nc"), ..right.clone() }, "/headers/0/value"),
        ] {
            assert_eq!(described(message), Err(pointer.into()));
        }
    }
}
