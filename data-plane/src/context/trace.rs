//! The trace that a request belongs to (W3C Trace Context, level 1).
//!
//! A trace of somebody who is trusted goes on here; everybody else's begins anew, so that no client chooses what is
//! recorded, and the new one only says where it came from. Every request has a trace, recorded or not: its id stands in
//! the log and goes to the upstream.

use super::Context;
use http::{HeaderMap, HeaderName};
use otel::TraceContext;

/// The header that says which trace a request belongs to.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors say of the trace.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What applications say along the trace.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// How long the value of a `traceparent` is that this gateway writes.
const TRACEPARENT_LEN: usize = 55;
/// The longest `tracestate` that goes on; vendors have to bear that a longer one is dropped (W3C Trace Context, 3.3.1.5).
const MAX_TRACESTATE: usize = 512;
/// The longest baggage that goes on (W3C Baggage, 3.3.2).
const MAX_BAGGAGE: usize = 8192;

// The two hexadecimal digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let (mut digits, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        digits[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
        byte += 1;
    }
    digits
};

/// The trace of a request.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Its id, not 0.
    pub(crate) id: u128,
    /// The span of the request here, not 0.
    pub(crate) span: u64,
    /// The span that the request comes from, when the trace goes on.
    pub(crate) parent: Option<TraceContext>,
    /// The trace that the request came from, when a new one began.
    pub(crate) link: Option<Box<TraceContext>>,
    /// Whether it is recorded.
    pub(crate) sampled: bool,
}

// === impl Trace ===

impl Trace {
    /// A new one.
    pub(crate) fn new(id: u128, span: u64) -> Trace {
        Trace { id, span: span.max(1), parent: None, link: None, sampled: false }
    }

    /// The value of a `traceparent` for whoever is called within that span.
    pub(crate) fn traceparent(&self, span: u64) -> [u8; TRACEPARENT_LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(self.id, &mut text[3..35]);
        hex(u128::from(span), &mut text[36..52]);
        text[54] = b'0' + u8::from(self.sampled);
        text
    }
}

/// Takes over what the headers say of a trace, as far as they are trusted, and leaves in them only what may travel on.
pub(crate) fn take_over_trace(context: &mut Context, trusted: bool) {
    let (headers, trace) = (&mut context.headers, &mut context.trace);
    let parent = parent(headers);
    headers.remove(TRACEPARENT);
    match parent {
        Some(parent) if trusted => {
            (trace.id, trace.parent, trace.sampled) = (parent.id, Some(parent), parent.sampled);
        }
        Some(parent) => trace.link = Some(Box::new(parent)),
        None => {}
    }
    let fits = |headers: &HeaderMap, name, max| {
        // A comma between any two.
        headers.get_all(name).iter().map(|value| value.len() + 1).sum::<usize>() <= max + 1
    };
    if trace.parent.is_none() || !fits(headers, TRACESTATE, MAX_TRACESTATE) {
        headers.remove(TRACESTATE);
    }
    if !trusted || !fits(headers, BAGGAGE, MAX_BAGGAGE) {
        headers.remove(BAGGAGE);
    }
}

/// A number in hexadecimal digits, as many as there is room for, which is an even number of them.
pub(crate) fn hex(number: u128, out: &mut [u8]) {
    // By bytes: to shift 128 bits for each digit costs several times as much.
    let bytes = number.to_be_bytes();
    for (byte, digits) in bytes.iter().rev().zip(out.rchunks_exact_mut(2)) {
        digits.copy_from_slice(&DIGITS[usize::from(*byte)]);
    }
}

fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    TraceContext::parse(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn after(lines: &[(&'static str, &str)], trusted: bool) -> Context {
        let mut context = Context::of_request(Method::GET, "/");
        for (name, value) in lines {
            context.headers.append(*name, value.parse().unwrap());
        }
        take_over_trace(&mut context, trusted);
        context
    }

    #[test]
    fn only_a_well_formed_parent_is_one() {
        let parent = TraceContext { id: 0x0af7651916cd43dd8448eb211c80319c, span: 0xb7ad6b7169203331, sampled: true };
        assert_eq!(TraceContext::parse(PARENT.as_bytes()), Some(parent));
        let unsampled = TraceContext { sampled: false, ..parent };
        assert_eq!(TraceContext::parse(PARENT.replace("-01", "-02").as_bytes()), Some(unsampled));
        assert_eq!(TraceContext::parse(PARENT.replace("00-0af", "cc-0af").as_bytes()), Some(parent));
        assert_eq!(
            TraceContext::parse(format!("{}-what-comes", PARENT.replace("00-0af", "cc-0af")).as_bytes()),
            Some(parent)
        );
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-"),
            &format!("{PARENT}0"),
            &PARENT.replace("00-0af", "ff-0af"),
            &PARENT.replace("00-0af", "cc-0af").replace("-01", "-01x"),
            &PARENT.to_uppercase(),
            &PARENT.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_trace_that_is_trusted_goes_on() {
        let context = after(&[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "k=v")], true);
        assert!(context.trace.sampled);
        assert_eq!(context.trace.traceparent(0xb7ad6b7169203331), *PARENT.as_bytes().first_chunk().unwrap());
        assert!(!context.headers.contains_key("traceparent"));
        assert!(context.headers.contains_key("tracestate") && context.headers.contains_key("baggage"));
    }

    #[test]
    fn a_trace_that_is_not_begins_anew() {
        let context = after(&[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "k=v")], false);
        assert!(context.headers.is_empty() && context.trace.parent.is_none() && !context.trace.sampled);
        assert_eq!(context.trace.link.unwrap().span, 0xb7ad6b7169203331);
    }

    #[test]
    fn what_cannot_be_read_does_not_travel_on() {
        let long = "a".repeat(MAX_TRACESTATE + 1);
        for lines in [
            &[("traceparent", "00-1"), ("tracestate", "a=1")][..],
            &[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")],
            &[("traceparent", PARENT), ("tracestate", &long)],
            &[("baggage", &"b".repeat(MAX_BAGGAGE)), ("baggage", "k=v")],
        ] {
            let context = after(lines, true);
            assert!(context.headers.is_empty(), "{:?}", context.headers);
        }
    }
}
