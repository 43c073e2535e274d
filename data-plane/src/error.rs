//! Why a request was not answered as the client wished: whose fault it is, which status it gets, and its label.
//!
//! One table, [`Error::row`]; the answer is a problem (RFC 9457) with the id of the request, so that what a client
//! shows can be found in the log.

mod fault;
mod part_failure;
mod refusal;

pub(crate) use fault::Fault;
pub(crate) use part_failure::PartFailure;
pub(crate) use refusal::{Detail, Refusal};

use crate::{
    context::{Answer, UploadFault, X_REQUEST_ID},
    json,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use proto::{path::PathFault, policy::BodyFault, template::RenderError};

/// What HTTP calls an error of a proxy: a type of the registry of RFC 9209.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyError(pub(crate) &'static str);

/// Why.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request is not HTTP: {0}")]
    Malformed(&'static str),
    #[error("the version of HTTP is not 1.0, 1.1 or 2")]
    Version,
    #[error("the head of the request is larger than the limit")]
    HeadTooLarge,
    #[error("the request has more headers than the limit")]
    TooManyHeaders,
    #[error("the target of the request is longer than the limit")]
    TargetTooLong,
    #[error("the head of the request did not come in time")]
    HeadTimeout,
    #[error("a request has exactly one Host header")]
    HostCount,
    #[error("the Host header is not the :authority")]
    HostConflict,
    #[error("the Host header is not a host with an optional port")]
    HostInvalid,
    #[error("the request target is neither a path nor an http address")]
    Target,
    #[error("the asterisk stands for the server only with OPTIONS")]
    Asterisk,
    #[error("{0}")]
    Path(#[from] PathFault),
    #[error(
        "the path means another route to whoever merges slashes or takes parameters (`;`) out; send it without them"
    )]
    PathAmbiguous,
    #[error("the query has characters that must be percent-encoded")]
    Query,
    #[error("the framing of the body is ambiguous: {0}")]
    Framing(&'static str),
    #[error("the only transfer coding that is understood is chunked")]
    TransferCoding,
    #[error("the gateway is short of memory; try again later")]
    Overloaded,
    #[error("the gateway has as many connections as it may; try again later")]
    Connections,
    #[error("the gateway opens no such tunnel")]
    Connect,
    #[error("the handshake of WebSocket is wrong: {0}")]
    WebSocket(&'static str),
    #[error("the gateway shows nobody what it sends to upstreams")]
    Trace,
    #[error("the only expectation that is understood is 100-continue")]
    Expectation,
    #[error("the request came through this gateway too often")]
    Loop,
    #[error("{0}")]
    Upload(UploadFault),
    #[error("no route matches the request")]
    NoRoute,
    #[error("the new address cannot be made: {0}")]
    Rewrite(RenderError),
    #[error("the new path has no normal form: {0}")]
    RewrittenPath(PathFault),
    #[error("a part of the answer cannot be asked for: {0}")]
    Call(RenderError),
    /// A part without which there is no answer.
    #[error("{0}")]
    Part(Box<PartFailure>),
    #[error("the parts cannot be made into an answer: {0}")]
    Composed(&'static str),
    /// A policy says so.
    #[error("{0}")]
    Denied(Box<Refusal>),
    #[error("the body does not fit what is asked for")]
    BodyInvalid(Vec<BodyFault>),
    #[error("the gateway failed to answer")]
    Panic,
    #[error("no endpoint of the upstream takes traffic")]
    NoEndpoint,
    #[error("no endpoint of the upstream is healthy")]
    NoHealthyEndpoint,
    #[error("as many requests are under way to the upstream as may be, and as many wait")]
    QueueFull,
    #[error("as many requests are under way to the upstream as may be, and none ended in time")]
    QueueTimeout,
    #[error("the upstream gets no requests for a while, for too many of them failed")]
    CircuitOpen(u32),
    #[error("all connections to the upstream are in use")]
    Overflow,
    #[error("the upstream's name could not be resolved")]
    Resolve,
    #[error("the upstream does not accept connections")]
    ConnectRefused,
    #[error("the upstream did not accept a connection in time")]
    ConnectTimeout,
    #[error("the upstream's certificate is not trusted")]
    Untrusted,
    #[error("the upstream's certificate cannot be verified, for this node knows no authority")]
    NoAuthorities,
    #[error("the gateway and the upstream could not agree on TLS")]
    Handshake,
    #[error("the upstream does not accept the gateway's certificate, or misses one")]
    Refused,
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
    #[error("the upstream closed the connection before it answered")]
    Closed,
    #[error("the upstream reset the request before it answered")]
    Reset,
    #[error("the upstream's answer is not HTTP that can be forwarded")]
    BadResponse,
    #[error("the upstream switches to a protocol that it was not asked for, or not as the protocol has it")]
    BadSwitch,
}

// === impl Error ===

impl Error {
    /// Whose fault, which status, which label.
    fn row(&self) -> (Fault, StatusCode, &'static str) {
        use Fault::{Client, Gateway, Upstream};
        match self {
            Error::Malformed(_) => (Client, StatusCode::BAD_REQUEST, "malformed"),
            Error::Version => (Client, StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version"),
            Error::HeadTooLarge => (Client, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"),
            Error::TooManyHeaders => (Client, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers"),
            Error::TargetTooLong => (Client, StatusCode::URI_TOO_LONG, "target_too_long"),
            Error::HeadTimeout => (Client, StatusCode::REQUEST_TIMEOUT, "head_timeout"),
            Error::HostCount => (Client, StatusCode::BAD_REQUEST, "host_count"),
            Error::HostConflict => (Client, StatusCode::BAD_REQUEST, "host_conflict"),
            Error::HostInvalid => (Client, StatusCode::BAD_REQUEST, "host_invalid"),
            Error::Target => (Client, StatusCode::BAD_REQUEST, "target_invalid"),
            Error::Asterisk => (Client, StatusCode::BAD_REQUEST, "target_invalid"),
            Error::Path(_) => (Client, StatusCode::BAD_REQUEST, "path_invalid"),
            Error::PathAmbiguous => (Client, StatusCode::BAD_REQUEST, "path_ambiguous"),
            Error::Query => (Client, StatusCode::BAD_REQUEST, "query_invalid"),
            Error::Framing(_) => (Client, StatusCode::BAD_REQUEST, "framing"),
            Error::TransferCoding => (Client, StatusCode::NOT_IMPLEMENTED, "transfer_coding"),
            Error::Overloaded => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Error::Connections => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "connections"),
            Error::Connect => (Client, StatusCode::NOT_IMPLEMENTED, "connect"),
            Error::WebSocket(_) => (Client, StatusCode::BAD_REQUEST, "websocket"),
            Error::Trace => (Client, StatusCode::NOT_IMPLEMENTED, "trace"),
            Error::Expectation => (Client, StatusCode::EXPECTATION_FAILED, "expectation"),
            Error::Loop => (Client, StatusCode::LOOP_DETECTED, "loop"),
            Error::Upload(UploadFault::TooLarge) => (Client, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Error::Upload(UploadFault::Silent) => (Client, StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Error::Upload(UploadFault::Broken) => (Client, StatusCode::BAD_REQUEST, "body_broken"),
            Error::NoRoute => (Client, StatusCode::NOT_FOUND, "no_route"),
            Error::Rewrite(_) => (Client, StatusCode::BAD_REQUEST, "rewrite"),
            Error::RewrittenPath(_) => (Client, StatusCode::BAD_REQUEST, "rewrite"),
            Error::Call(_) => (Client, StatusCode::BAD_REQUEST, "call"),
            Error::Part(failure) => (Upstream, failure.status, "part_failed"),
            Error::Composed(_) => (Upstream, StatusCode::BAD_GATEWAY, "not_composed"),
            Error::Denied(refusal) => (refusal.fault, refusal.status, refusal.reason),
            Error::BodyInvalid(_) => (Client, StatusCode::UNPROCESSABLE_ENTITY, "body_invalid"),
            Error::Panic => (Gateway, StatusCode::INTERNAL_SERVER_ERROR, "panic"),
            Error::NoEndpoint => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "no_endpoint"),
            Error::NoHealthyEndpoint => (Upstream, StatusCode::SERVICE_UNAVAILABLE, "no_healthy_endpoint"),
            Error::QueueFull => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "queue_full"),
            Error::QueueTimeout => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "queue_timeout"),
            Error::CircuitOpen(_) => (Upstream, StatusCode::SERVICE_UNAVAILABLE, "circuit_open"),
            Error::Overflow => (Gateway, StatusCode::SERVICE_UNAVAILABLE, "overflow"),
            Error::Resolve => (Upstream, StatusCode::BAD_GATEWAY, "resolve"),
            Error::ConnectRefused => (Upstream, StatusCode::BAD_GATEWAY, "connect"),
            Error::ConnectTimeout => (Upstream, StatusCode::GATEWAY_TIMEOUT, "connect_timeout"),
            Error::Untrusted => (Upstream, StatusCode::BAD_GATEWAY, "tls_untrusted"),
            Error::NoAuthorities => (Gateway, StatusCode::BAD_GATEWAY, "tls_no_authorities"),
            Error::Handshake => (Upstream, StatusCode::BAD_GATEWAY, "tls_handshake"),
            Error::Refused => (Upstream, StatusCode::BAD_GATEWAY, "tls_refused"),
            Error::ResponseTimeout => (Upstream, StatusCode::GATEWAY_TIMEOUT, "response_timeout"),
            Error::Closed => (Upstream, StatusCode::BAD_GATEWAY, "closed"),
            Error::Reset => (Upstream, StatusCode::BAD_GATEWAY, "reset"),
            Error::BadResponse => (Upstream, StatusCode::BAD_GATEWAY, "bad_response"),
            Error::BadSwitch => (Upstream, StatusCode::BAD_GATEWAY, "bad_upgrade"),
        }
    }

    /// What HTTP calls it.
    pub(crate) fn proxy_error(&self) -> ProxyError {
        ProxyError(match self {
            Error::Malformed(_)
            | Error::Version
            | Error::HeadTooLarge
            | Error::TooManyHeaders
            | Error::TargetTooLong
            | Error::HeadTimeout
            | Error::HostCount
            | Error::HostConflict
            | Error::HostInvalid
            | Error::Target
            | Error::Asterisk
            | Error::Path(_)
            | Error::PathAmbiguous
            | Error::Query
            | Error::Framing(_)
            | Error::TransferCoding
            | Error::Connect
            | Error::WebSocket(_)
            | Error::Trace
            | Error::Expectation
            | Error::Upload(_)
            | Error::Rewrite(_)
            | Error::RewrittenPath(_)
            | Error::Call(_) => "http_request_error",
            Error::Part(_) | Error::Composed(_) => "http_response_incomplete",
            Error::Denied(_) | Error::BodyInvalid(_) => "http_request_denied",
            Error::Loop => "proxy_loop_detected",
            Error::NoRoute => "destination_not_found",
            Error::Overloaded | Error::Panic => "proxy_internal_error",
            Error::Connections | Error::QueueFull | Error::QueueTimeout | Error::Overflow => "connection_limit_reached",
            Error::NoEndpoint | Error::NoHealthyEndpoint | Error::CircuitOpen(_) => "destination_unavailable",
            Error::Resolve => "dns_error",
            Error::ConnectRefused => "connection_refused",
            Error::ConnectTimeout => "connection_timeout",
            Error::Untrusted => "tls_certificate_error",
            Error::NoAuthorities => "proxy_configuration_error",
            Error::Handshake => "tls_protocol_error",
            Error::Refused => "tls_alert_received",
            Error::ResponseTimeout => "http_response_timeout",
            Error::Closed | Error::Reset => "connection_terminated",
            Error::BadResponse => "http_protocol_error",
            Error::BadSwitch => "http_upgrade_failed",
        })
    }

    /// Whose fault it is.
    pub(crate) fn fault(&self) -> Fault {
        self.row().0
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.row().1
    }

    /// The label in logs and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        self.row().2
    }

    /// Whether what follows on the client's connection cannot be trusted to be a request.
    pub(crate) fn closes(&self) -> bool {
        matches!(
            self,
            Error::Malformed(_)
                | Error::Version
                | Error::HeadTooLarge
                | Error::TooManyHeaders
                | Error::TargetTooLong
                | Error::HeadTimeout
                | Error::HostCount
                | Error::HostConflict
                | Error::HostInvalid
                | Error::Target
                | Error::Framing(_)
                | Error::TransferCoding
                | Error::Connect
                | Error::Trace
                | Error::Upload(_)
        )
    }

    /// What somebody else says who was asked, in place of a problem, and its media type.
    pub(crate) fn foreign_body(&self) -> Option<(&HeaderValue, &Bytes)> {
        let Error::Denied(refusal) = self else { return None };
        let Detail::Body(media_type, body) = &refusal.detail else { return None };
        Some((media_type, body))
    }

    /// What the client gets: a problem, if nobody else says something.
    pub(crate) fn answer(&self, request_id: &HeaderValue) -> Answer {
        let (media_type, body) = match self.foreign_body() {
            Some((media_type, body)) => (media_type.clone(), body.clone()),
            None => (HeaderValue::from_static("application/problem+json"), self.problem(request_id)),
        };
        let status = self.status();
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(X_REQUEST_ID, request_id.clone());
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Error::Denied(refusal) = self {
            headers.extend(refusal.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && !headers.contains_key(header::RETRY_AFTER) {
            let seconds = if let Error::CircuitOpen(seconds) = self { *seconds } else { 1 };
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    fn problem(&self, request_id: &HeaderValue) -> Bytes {
        let (_, status, reason) = self.row();
        let title = status.canonical_reason().unwrap_or("Error");
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":\"");
        body.extend_from_slice(title.as_bytes());
        body.extend_from_slice(b"\",\"status\":");
        body.extend_from_slice(status.as_str().as_bytes());
        body.extend_from_slice(b",\"detail\":\"");
        json::escape(self.to_string().as_bytes(), |text| body.extend_from_slice(text));
        body.extend_from_slice(b"\",\"reason\":\"");
        body.extend_from_slice(reason.as_bytes());
        body.extend_from_slice(b"\",\"request_id\":\"");
        json::escape(request_id.as_bytes(), |text| body.extend_from_slice(text));
        body.push(b'"');
        if let Error::BodyInvalid(faults) = self {
            errors(faults, &mut body);
        }
        body.extend_from_slice(b"}\n");
        Bytes::from(body)
    }
}

// A member of the problem: each fault with its place in the body.
fn errors(faults: &[BodyFault], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"errors\":[");
    for (at, BodyFault { pointer, detail }) in faults.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"pointer\":\"" } else { b"{\"pointer\":\"" });
        json::escape(pointer.as_bytes(), |text| out.extend_from_slice(text));
        out.extend_from_slice(b"\",\"detail\":\"");
        json::escape(detail.as_bytes(), |text| out.extend_from_slice(text));
        out.extend_from_slice(b"\"}");
    }
    out.push(b']');
}
