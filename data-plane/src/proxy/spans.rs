//! What a trace is told of a request: a span of the request itself, and one of each try of it, named and described by
//! OpenTelemetry's stable conventions for HTTP.
//!
//! They are made out of the record, once it is over and only of a trace that is recorded: until then a trace costs a
//! request nothing but its ids.

use super::record::Record;
use crate::{
    compose::Called,
    context::{Made, TRACESTATE},
    pool::{Attempts, Try, TryEnd},
    telemetry::{counters::method_label, version_label},
};
use http::{Method, header};
use otel::span::{Kind, Link, Span, Status, Text, Value};
use std::{
    iter,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The longest of the client's texts that is kept.
const MAX_TEXT: usize = 1024;

// Tells when something was, by both clocks at one moment.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    nanoseconds: u64,
}

/// What is known when the record is over.
pub(super) struct End<'r> {
    pub(super) now: Instant,
    pub(super) status: u16,
    pub(super) upstream: Option<&'r str>,
    /// Why it was not answered as the client wished.
    pub(super) reason: Option<&'static str>,
    /// The calls of a composition.
    pub(super) calls: &'r [Called],
}

// One call, and what there is to tell of it.
#[derive(Clone, Copy)]
struct Asked<'r> {
    attempts: &'r Attempts,
    method: &'r Method,
    upstream: Option<&'r str>,
    // The part of a composition.
    part: Option<&'r str>,
    // When all of the answer was there.
    ended: Instant,
}

/// The spans of the request, that of the request itself last.
pub(super) fn spans<'r>(record: &'r Record, end: &'r End<'r>) -> impl Iterator<Item = Span> {
    let clock = Clock::read(end.now);
    let request = server(record, end, &clock);
    let own = Asked {
        attempts: &record.attempts,
        method: &record.context.method,
        upstream: end.upstream,
        part: None,
        ended: end.now,
    };
    let of_part = |called: &'r Called| {
        let part = record.part(called.part);
        let (attempts, method, ended) = (&called.attempts, &called.method, called.ended);
        let upstream = part.map(|part| part.pool.name().as_str());
        Asked { attempts, method, upstream, part: part.map(|part| &*part.spec.name), ended }
    };
    let asked = iter::once(own).chain(end.calls.iter().map(of_part));
    let clients = asked.flat_map(move |asked| {
        let clock = clock;
        asked.attempts.tries().enumerate().map(move |each| client(record, &asked, &clock, each))
    });
    clients.chain([request])
}

fn server(record: &Record, end: &End<'_>, clock: &Clock) -> Span {
    let (context, peer) = (&record.context, &record.peer);
    let method = method_label(&context.method);
    let route = record.route();
    let mut attributes: Vec<(&'static str, Value)> = Vec::with_capacity(20);
    attributes.extend([
        ("http.request.method", method.into()),
        ("http.response.status_code", i64::from(end.status).into()),
        ("url.path", text(context.target.path().as_bytes())),
        ("url.scheme", context.scheme.as_str().into()),
        ("server.address", text(context.host.name().as_bytes())),
        ("client.address", context.client.to_string().into()),
        ("network.peer.address", peer.address.ip().to_string().into()),
        ("network.peer.port", i64::from(peer.address.port()).into()),
        ("network.protocol.version", version_label(record.version).into()),
        ("portico.revision", i64::try_from(record.revision()).unwrap_or(i64::MAX).into()),
        ("portico.request_id", text(context.request_id.as_bytes())),
        ("portico.listener", peer.listener.name.clone().into()),
    ]);
    if method != context.method.as_str() {
        attributes.push(("http.request.method_original", text(context.method.as_str().as_bytes())));
    }
    if let Some(agent) = context.headers.get(header::USER_AGENT) {
        attributes.push(("user_agent.original", text(agent.as_bytes())));
    }
    if let Some((name, label)) = route {
        attributes.push(("http.route", label.to_string().into()));
        attributes.push(("portico.route", name.to_string().into()));
    }
    if let Some(upstream) = end.upstream {
        attributes.push(("portico.upstream", upstream.to_string().into()));
    }
    attributes.extend(record.variant().map(|variant| ("portico.variant", variant.to_string().into())));
    attributes.extend(end.reason.map(|reason| ("portico.reason", reason.into())));
    for decision in &context.decisions {
        let key = match decision.made {
            Made::Refused => "portico.policy.refused",
            Made::Shadowed => "portico.policy.shadowed",
            Made::FailedOpen => "portico.policy.failed_open",
        };
        attributes.push((key, format!("{}:{}", decision.policy.as_str(), decision.reason).into()));
    }
    if let Some(principal) = context.principals.iter().next() {
        attributes.push(("user.id", text(principal.subject.as_bytes())));
    }
    if let Some(consumer) = context.consumer() {
        attributes.push(("portico.consumer", consumer.name.to_string().into()));
    }
    let is_error = end.status >= 500;
    if is_error {
        attributes.push(("error.type", end.reason.map_or_else(|| status_text(end.status), Text::from).into()));
    }
    let links = context.trace.link.iter().map(|link| Link {
        trace: link.id,
        id: link.span,
        tracestate: Text::default(),
        attributes: Vec::new(),
    });
    let tracestate = context.headers.get(TRACESTATE).map_or(Text::default(), |state| owned(state.as_bytes()));
    Span {
        trace: context.trace.id,
        id: context.trace.span,
        parent: context.trace.parent.map_or(0, |parent| parent.span),
        name: route.map_or(Text::Static(method), |(_, label)| format!("{method} {label}").into()),
        kind: Kind::Server,
        start: clock.tell(record.started()),
        end: clock.tell(end.now),
        attributes,
        links: links.collect(),
        status: if is_error { Status::Error(end.reason.map_or(Text::default(), Text::from)) } else { Status::Unset },
        tracestate,
    }
}

fn client(record: &Record, asked: &Asked<'_>, clock: &Clock, (at, each): (usize, &Try)) -> Span {
    let (context, is_last) = (&record.context, at == asked.attempts.retries() as usize);
    let endpoint = each.endpoint.address();
    let mut attributes: Vec<(&'static str, Value)> = Vec::with_capacity(10);
    attributes.extend([
        ("http.request.method", method_label(asked.method).into()),
        ("server.address", endpoint.host.to_string().into()),
        ("server.port", i64::from(endpoint.port).into()),
        ("portico.endpoint", each.endpoint.as_str().to_string().into()),
    ]);
    if let Some(upstream) = asked.upstream {
        attributes.push(("portico.upstream", upstream.to_string().into()));
    }
    if let Some(part) = asked.part {
        attributes.push(("portico.part", part.to_string().into()));
    }
    if at > 0 {
        attributes.push(("http.request.resend_count", (at as i64).into()));
    }
    if let Some(connected) = each.connected {
        let took = connected.saturating_duration_since(each.begun);
        attributes.push(("portico.connect.duration", took.as_secs_f64().into()));
    }
    let mut ended = asked.ended;
    let failure = match each.ended {
        Some((_, TryEnd::Answered(status))) => {
            attributes.push(("http.response.status_code", i64::from(status.as_u16()).into()));
            // A 4xx is the caller's error, and here the gateway is the caller.
            (status.as_u16() >= 400).then(|| status_text(status.as_u16()))
        }
        Some((_, TryEnd::Failed(reason))) => Some(reason.into()),
        None => Some("client_closed".into()),
    };
    // The answer that the client gets goes on until it is whole; of all others only the head was waited for.
    match each.ended {
        Some((_, TryEnd::Answered(_))) if is_last => {}
        Some((at, _)) => ended = at,
        None => {}
    }
    if let Some(failure) = &failure {
        attributes.push(("error.type", failure.clone().into()));
    }
    Span {
        trace: context.trace.id,
        id: each.span,
        parent: context.trace.span,
        name: method_label(asked.method).into(),
        kind: Kind::Client,
        start: clock.tell(each.begun),
        end: clock.tell(ended),
        attributes,
        links: Vec::new(),
        status: failure.map_or(Status::Unset, Status::Error),
        tracestate: Text::default(),
    }
}

// === impl Clock ===

impl Clock {
    fn read(now: Instant) -> Clock {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { now, nanoseconds: u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX) }
    }

    fn tell(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at);
        self.nanoseconds.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(owned(bytes))
}

fn owned(bytes: &[u8]) -> Text {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]).into_owned().into()
}

fn status_text(status: u16) -> Text {
    status.to_string().into()
}
