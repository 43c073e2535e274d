//! Admission: the first thing that happens to a request, and the strictest.
//!
//! Two programs that read one request differently are how requests are smuggled and policies are escaped. So what is
//! ambiguous is refused, what has several forms gets one, and what belongs to one connection does not travel on.

use super::{forwarded, record::VIA, upgrade};
use crate::{
    context::{
        Authority, Context, Peer, X_REQUEST_ID, is_forwarding, is_hop_by_hop, is_identity, strip_hop_by_hop,
        strip_identity, take_over_trace,
    },
    error::Error,
};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, uri::PathAndQuery};
use proto::path::normalise;
use std::borrow::Cow;

/// How often a request may come through this gateway.
const MAX_PASSES: usize = 10;
/// The longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

// What one pass over the headers finds.
#[derive(Debug, Default)]
struct Seen {
    hosts: usize,
    vias: usize,
    // Any that belongs to one connection.
    hop_by_hop: bool,
    upgrade: bool,
    forwarding: bool,
    identity: bool,
    request_id: bool,
    trace: bool,
    expect: bool,
    origin: bool,
    // One of those that frame the body, with an underscore for the dash: many servers take them for the same.
    disguised: bool,
}

/// Judges the request, and makes of its head what the upstream may see. `uri` is the whole target, which may be more than
/// a path. What comes back is the protocol that the client asks for by HTTP/1.1.
pub(super) fn admit(
    context: &mut Context,
    uri: &Uri,
    version: Version,
    peer: &Peer,
) -> Result<Option<HeaderValue>, Error> {
    let seen = Seen::in_headers(&context.headers);
    if seen.request_id
        && peer.trusted
        && let Some(id) = kept_id(&context.headers)
    {
        context.request_id = id;
    }
    target(context, uri, &seen)?;
    // HTTP/1.0 knows no such wish, and HTTP/2 has another way (RFC 9110, 7.8).
    let wish = match seen.upgrade && version == Version::HTTP_11 {
        true => upgrade::wish(&context.headers),
        false => None,
    };
    if seen.expect {
        expectation(&mut context.headers)?;
    }
    if seen.hop_by_hop {
        strip_hop_by_hop(&mut context.headers);
    }
    if seen.identity && !(peer.trusted || peer.listener.trusts_identity) {
        strip_identity(&mut context.headers);
    }
    if seen.origin {
        context.origin = origin(&context.headers);
    }
    if seen.trace {
        take_over_trace(context, peer.trusted || peer.listener.trusts_traces);
    }
    if seen.vias > 0 {
        passes(&context.headers)?;
    }
    forwarded::apply(context, peer, seen.forwarding);
    // Added last: nothing that the client says takes away what the gateway says.
    let headers = &mut context.headers;
    headers.insert(header::HOST, context.host.value().clone());
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    headers.append(header::VIA, VIA);
    Ok(wish)
}

impl Seen {
    fn in_headers(headers: &HeaderMap) -> Seen {
        let mut seen = Seen::default();
        for name in headers.keys() {
            match *name {
                header::HOST => seen.hosts = headers.get_all(name).iter().count(),
                header::VIA => seen.vias = headers.get_all(name).iter().count(),
                header::EXPECT => seen.expect = true,
                header::ORIGIN => seen.origin = true,
                header::UPGRADE => (seen.upgrade, seen.hop_by_hop) = (true, true),
                header::FORWARDED => seen.forwarding = true,
                _ if name.as_str().starts_with('x') => {
                    seen.forwarding |= is_forwarding(name);
                    seen.identity |= is_identity(name);
                    seen.request_id |= *name == X_REQUEST_ID;
                }
                _ => {
                    seen.hop_by_hop |= is_hop_by_hop(name);
                    seen.identity |= is_identity(name);
                    seen.disguised |= matches!(name.as_str(), "content_length" | "transfer_encoding");
                    seen.trace |= matches!(name.as_str(), "traceparent" | "tracestate" | "baggage");
                }
            }
        }
        seen
    }
}

// One host, one path in its normal form, and a query without what belongs escaped.
fn target(context: &mut Context, uri: &Uri, seen: &Seen) -> Result<(), Error> {
    match context.method {
        Method::CONNECT => return Err(Error::Connect),
        // Its answer would be the request with all that is added to it (RFC 9110, 9.3.8).
        Method::TRACE => return Err(Error::Trace),
        _ => {}
    }
    if seen.disguised {
        return Err(Error::Framing("a header that some take for the length or the coding of the body"));
    }
    if seen.hosts != 1 {
        return Err(Error::HostCount);
    }
    let host = context.headers.get(header::HOST).ok_or(Error::HostCount)?;
    let host = Authority::parse(host).ok_or(Error::HostInvalid)?;
    context.host = match uri.scheme_str() {
        None if uri.authority().is_some() => return Err(Error::Target),
        None => host,
        Some("http" | "https") => absolute(uri)?,
        Some(_) => return Err(Error::Target),
    };
    if uri.path() == "*" {
        return match context.method == Method::OPTIONS {
            true => asterisk(context),
            false => Err(Error::Asterisk),
        };
    }
    let query = context.target.query();
    if query.is_some_and(|query| query.bytes().any(|byte| !(0x21..0x7f).contains(&byte))) {
        return Err(Error::Query);
    }
    match normalise(context.target.path())? {
        Cow::Owned(path) => context.target = path_and_query(path, query).ok_or(Error::Target)?,
        // An absolute target may have a query and no path: the root is meant.
        Cow::Borrowed(path) if !context.target.as_str().starts_with('/') => {
            context.target = path_and_query(path.into(), query).ok_or(Error::Target)?;
        }
        Cow::Borrowed(_) => {}
    }
    Ok(())
}

// The server as a whole is asked: the gateway's routes are, at their root.
fn asterisk(context: &mut Context) -> Result<(), Error> {
    context.target = PathAndQuery::from_static("/");
    Ok(())
}

// An absolute target wins over Host (RFC 9112, 3.2.2).
fn absolute(uri: &Uri) -> Result<Authority, Error> {
    let authority = uri.authority().ok_or(Error::Target)?;
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::Target)?;
    Authority::parse(&value).ok_or(Error::Target)
}

/// Puts a path and a query together.
pub(super) fn path_and_query(mut path: String, query: Option<&str>) -> Option<PathAndQuery> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).ok()
}

// Whoever reads the body says `100 Continue` when it is first asked for.
fn expectation(headers: &mut HeaderMap) -> Result<(), Error> {
    let understood = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(header::EXPECT).iter().all(understood) {
        return Err(Error::Expectation);
    }
    headers.remove(header::EXPECT);
    Ok(())
}

// A browser names one.
fn origin(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none()).cloned()
}

fn passes(headers: &HeaderMap) -> Result<(), Error> {
    let values = headers.get_all(header::VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    match values.filter(|via| via.trim_ascii() == VIA.as_bytes()).count() {
        n if n >= MAX_PASSES => Err(Error::Loop),
        _ => Ok(()),
    }
}

// A trusted peer's id, if it is one that can stand in a log.
fn kept_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(X_REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
    (visible && !id.is_empty() && id.len() <= MAX_REQUEST_ID).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    #[test]
    fn a_loop_is_noticed() {
        let once = headers(&[("via", "1.1 portico"), ("via", "1.1 other, 1.0 portico")]);
        assert!(passes(&once).is_ok());
        let vias = ["1.1 portico"; MAX_PASSES].join(", ");
        assert!(passes(&headers(&[("via", &vias)])).is_err());
    }

    #[test]
    fn an_id_is_kept_only_if_it_can_stand_in_a_log() {
        let long = "a".repeat(MAX_REQUEST_ID + 1);
        for (id, kept) in [("abc-1", true), ("", false), ("a b", false), (long.as_str(), false)] {
            assert_eq!(kept_id(&headers(&[("x-request-id", id)])).is_some(), kept, "{id}");
        }
        assert!(kept_id(&headers(&[("x-request-id", "1"), ("x-request-id", "2")])).is_none());
    }
}
