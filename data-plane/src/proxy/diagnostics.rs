//! What a client is told of how it was answered, where a policy wants that: `Server-Timing` (W3C) and `Proxy-Status`
//! (RFC 9209). Both stand beside what others on the way say there.

use crate::{
    error::ProxyError,
    pool::{Attempts, Phases},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::policy::{Diagnostics, ProxyStatus};
use std::{
    fmt::Write,
    time::{Duration, Instant},
};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Appends it to the headers of an answer, of a request that began then.
pub(super) fn tell(
    told: Diagnostics,
    attempts: &Attempts,
    begun: Instant,
    error: Option<ProxyError>,
    headers: &mut HeaderMap,
) {
    if told.server_timing {
        append(headers, SERVER_TIMING, server_timing(attempts, begun, Instant::now()));
    }
    if let Some(told) = told.proxy_status {
        append(headers, PROXY_STATUS, proxy_status(told, attempts, error));
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: String) {
    // It is made of what can stand in a header; if not, the answer is worth more than this.
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}

fn server_timing(attempts: &Attempts, begun: Instant, now: Instant) -> String {
    let mut text = String::with_capacity(96);
    let mut say = |name: &str, time: Duration| {
        let between = if text.is_empty() { "" } else { ", " };
        // In milliseconds; a string takes whatever is written.
        write!(text, "{between}{name};dur={:.3}", time.as_secs_f64() * 1000.0).ok();
    };
    match attempts.phases(begun, now) {
        None => say("gateway", now.saturating_duration_since(begun)),
        // The body is still to come.
        Some(Phases { gateway, tries, connect, upstream, body: _ }) => {
            say("gateway", gateway);
            if !tries.is_zero() {
                say("tries", tries);
            }
            if let Some(connect) = connect {
                say("connect", connect);
            }
            say("upstream", upstream);
        }
    }
    text
}

fn proxy_status(told: ProxyStatus, attempts: &Attempts, error: Option<ProxyError>) -> String {
    let mut text = String::from("portico");
    if let Some(ProxyError(error)) = error {
        write!(text, "; error={error}").ok();
    }
    if let Some(status) = attempts.received_status() {
        write!(text, "; received-status={}", status.as_str()).ok();
    }
    if let Some(endpoint) = attempts.endpoint().filter(|_| told.next_hop) {
        // An address has neither quotes nor backslashes.
        write!(text, "; next-hop=\"{}\"", endpoint.as_str()).ok();
    }
    text
}
