//! The span of a request to the API. A trace that the client speaks of goes on; all others begin here, and are recorded:
//! such requests are few.

use axum::extract::Request;
use http::{HeaderMap, StatusCode, header};
use otel::{
    OpenSpan, Spans, TraceContext,
    span::{Kind, Text, Value},
};

/// The longest `tracestate` that is kept.
const MAX_TRACESTATE: usize = 512;

/// The span of a request for that route; none when nobody wants it.
pub(super) fn span(spans: &Spans, request: &Request, route: &str) -> Option<OpenSpan> {
    let headers = request.headers();
    let parent = one(headers, "traceparent").and_then(|text| TraceContext::parse(text.as_bytes()));
    let method = request.method().as_str();
    let mut span = spans.begin(parent, format!("{method} {route}"), Kind::Server)?;
    span.set("http.request.method", method.to_owned());
    span.set("http.route", route.to_owned());
    span.set("url.path", request.uri().path().to_owned());
    if let Some(agent) = one(headers, header::USER_AGENT.as_str()) {
        span.set("user_agent.original", agent[..agent.floor_char_boundary(256)].to_owned());
    }
    let state = one(headers, "tracestate").filter(|state| parent.is_some() && state.len() <= MAX_TRACESTATE);
    span.set_tracestate(state.map_or(Text::default(), |state| Text::from(state.to_owned())));
    Some(span)
}

/// How it ended.
pub(super) fn answered(span: &mut OpenSpan, status: StatusCode) {
    span.set("http.response.status_code", Value::Int(status.as_u16().into()));
    if status.is_server_error() {
        span.set("error.type", status.as_str().to_owned());
        span.fail("");
    }
}

// A header that stands once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}
