//! The request of a part, checked.

use crate::{
    fields::{HeaderTemplate, authority, check_header_names, check_headers_within, check_reference},
    invalid::Faults,
    name::Name,
    pb,
    template::{Reference, Roots, Target, Template},
};
use http::{HeaderName, HeaderValue, Method, header};

/// A request to an upstream.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whom it goes to, proven to exist.
    pub upstream: Name,
    /// The method.
    pub method: Method,
    /// The path, and maybe a query.
    pub path: Template,
    /// The Host in place of the client's.
    pub host: Option<HeaderValue>,
    /// Headers of the client's request that are sent along.
    pub send: Vec<HeaderName>,
    /// Headers of its own, which win over those.
    pub headers: Vec<HeaderTemplate>,
    /// The body, which is JSON.
    pub body: Option<Template>,
}

// What the gateway says itself of each request, or what only fits the client's own.
const OWN: [HeaderName; 12] = [
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::MAX_FORWARDS,
    header::RANGE,
    header::VIA,
];

// === impl Call ===

impl Call {
    pub(super) fn check(message: Option<&pb::Call>, roots: Roots<'_>, faults: &mut Faults) -> Option<Call> {
        let Some(message) = message else {
            faults.note("a `call` is missing");
            return None;
        };
        let upstream = check_reference("upstream", &message.upstream, faults);
        let path = match message.path.as_str() {
            "" => Err("a path is missing; write one as \"/orders/{path.id}\"".into()),
            text => Template::parse_within(text, Target::PathAndQuery, roots),
        };
        let path = faults.at("path", |faults| faults.take(path));
        let has_body = !message.body.is_empty();
        let method = faults.at("method", |faults| faults.take(check_method(&message.method, has_body)));
        let host = faults.at("host", |faults| match message.host.as_str() {
            "" => None,
            text => faults.take(authority(text)),
        });
        let send = check_header_names("send", &message.send, faults);
        // A name that is none was told of already, and then the places are not the same.
        if send.len() == message.send.len() {
            faults.at("send", |faults| {
                send.iter().enumerate().for_each(|(at, name)| check_header_name(at, name, true, faults));
            });
        }
        let headers = check_headers_within("headers", &message.headers, roots, faults);
        if headers.len() == message.headers.len() {
            faults.at("headers", |faults| {
                for (at, header) in headers.iter().enumerate() {
                    faults.at(at, |faults| check_header_name("name", &header.name, false, faults));
                }
            });
        }
        let body = has_body.then(|| {
            let body = Template::parse_within(&message.body, Target::JsonBody, roots);
            faults.at("body", |faults| faults.take(body))
        });
        Some(Call { upstream: upstream?, method: method?, path: path?, host, send, headers, body: body.flatten() })
    }

    /// What its templates refer to.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let headers = self.headers.iter().map(|header| &header.value);
        std::iter::once(&self.path).chain(headers).chain(&self.body).flat_map(Template::references)
    }

    /// The parts whose answers it uses.
    pub(super) fn uses(&self) -> impl Iterator<Item = usize> {
        self.references().filter_map(|reference| match reference {
            Reference::Part { part, .. } => Some(*part),
            Reference::Path(_)
            | Reference::Query(_)
            | Reference::Header(_)
            | Reference::Claims(_)
            | Reference::ConsumerName
            | Reference::ClientAddress
            | Reference::Request(_)
            | Reference::Error(_)
            | Reference::Item(_) => None,
        })
    }
}

fn check_method(text: &str, has_body: bool) -> Result<Method, String> {
    let method = match text {
        "" if has_body => return Ok(Method::POST),
        "" => return Ok(Method::GET),
        text => Method::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a method"))?,
    };
    if [Method::CONNECT, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&method) {
        return Err(format!("an answer to {method} has nothing to compose; use GET or POST"));
    }
    if has_body && method == Method::GET {
        return Err("a GET has no body; leave `method` out, and it is POST".into());
    }
    Ok(method)
}

fn check_header_name(at: impl std::fmt::Display, name: &HeaderName, of_client: bool, faults: &mut Faults) {
    let text = name.as_str();
    let forwarded = text.starts_with("x-forwarded-") || matches!(text, "x-real-ip" | "x-request-id");
    if OWN.contains(name) || forwarded || matches!(text, "traceparent" | "tracestate") {
        let advice = if *name == header::HOST { "; use `host`" } else { "" };
        faults.note_at(at, format!("{text:?} is the gateway's own to say to an upstream{advice}"));
    } else if of_client && text.starts_with("content-") {
        faults.note_at(at, format!("{text:?} describes the client's body, which is not sent"));
    }
}
