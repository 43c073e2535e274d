//! What a request carries through the gateway: its head, admitted, and who sent it.

mod body;
mod certificate;
mod cookie;
mod decision;
mod header_change;
mod hop;
mod identity;
mod routed;
mod scheme;
mod streamed;
mod told;
mod trace;
mod upload;
mod values;
mod whole;

pub(crate) use body::RequestBody;
pub(crate) use certificate::{ClientAuth, ClientCertificate};
pub(crate) use cookie::{cookie, strip_cookie};
pub(crate) use decision::{Decision, Made};
pub(crate) use header_change::{HeaderChange, Placing};
pub(crate) use hop::{is_forwarding, is_hop_by_hop, strip_hop_by_hop, strip_known, strip_named, strip_untrailable};
pub(crate) use identity::{is_identity, remove_alike, strip_identity};
pub(crate) use routed::{Routed, variables};
pub(crate) use scheme::after_scheme;
pub(crate) use told::TOLD;
pub(crate) use trace::{TRACEPARENT, TRACESTATE, Trace, hex, take_over_trace};
pub(crate) use upload::{BodyCopy, Upload, UploadBody, UploadFault, room};
pub(crate) use values::Values;
pub(crate) use whole::{Reading, Whole};

use crate::{
    consumers::Consumers,
    limiter::{Allowance, Taken},
    principal::Principals,
    wire::Wire,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, header, uri::PathAndQuery};
use ipnet::IpNet;
use proto::{
    consumer::Consumer,
    matching::{Captures, Head, Scheme},
};
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

/// The header that holds the id of a request.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's head. Until it is admitted it is what the client sent, afterwards what the upstream may see.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The method.
    pub(crate) method: Method,
    /// The path, in its normal form, and the query.
    pub(crate) target: PathAndQuery,
    /// The host that was asked for.
    pub(crate) host: Authority,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The address of the client, which behind trusted proxies is not the peer's.
    pub(crate) client: IpAddr,
    /// How the client came, maybe to a trusted proxy.
    pub(crate) scheme: Scheme,
    /// Its id.
    pub(crate) request_id: HeaderValue,
    /// The trace that it belongs to.
    pub(crate) trace: Trace,
    /// What the client showed when it connected.
    pub(crate) certificate: Option<Rc<ClientCertificate>>,
    /// The `Origin` that the client named; policies change the headers, and not this.
    pub(crate) origin: Option<HeaderValue>,
    /// Its route, once it has one.
    pub(crate) routed: Option<Rc<Routed>>,
    /// What its path captures.
    pub(crate) captures: Captures,
    /// Whose it is, as far as that is proven.
    pub(crate) principals: Principals,
    /// Whose it may be.
    pub(crate) consumers: Consumers,
    /// Which policies refused it, or would have.
    pub(crate) decisions: Vec<Decision>,
    /// What the limit leaves it that leaves it least, and the address of the filter that says so.
    pub(crate) allowance: Option<(usize, Allowance)>,
    /// What those who were asked about it have to say to the client, each with the address of the filter that asked.
    pub(crate) for_client: Vec<(usize, HeaderChange)>,
    /// Where it counts as one of several at once, until it is over.
    pub(crate) seats: Taken,
}

/// A host, maybe with a port, as the `Host` header has it.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    value: HeaderValue,
    // The length of the name in the value, if that is in lower case there.
    len: u16,
    // The name in lower case, otherwise.
    lower: Option<Box<str>>,
}

/// Who is at the other end of a client's connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where it connected to.
    pub(crate) listener: Rc<Door>,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Its IP address as text.
    pub(crate) text: HeaderValue,
    /// Whether its forwarding headers are believed.
    pub(crate) trusted: bool,
    /// All whose are.
    pub(crate) trusted_blocks: Rc<[IpNet]>,
    /// What it showed when it connected.
    pub(crate) certificate: Option<Rc<ClientCertificate>>,
    /// The connection, or a stream of it.
    pub(crate) wire: Wire,
}

/// A listener as requests see it.
#[derive(Debug)]
pub(crate) struct Door {
    /// Its name.
    pub(crate) name: String,
    /// Its port as text.
    pub(crate) port: HeaderValue,
    /// How clients come through it.
    pub(crate) scheme: Scheme,
    /// Whether each connection begins by saying who the client is.
    pub(crate) proxy_protocol: bool,
    /// Whether traces that come through it go on.
    pub(crate) trusts_traces: bool,
    /// Whether what clients that come through it say of who they are is passed on.
    pub(crate) trusts_identity: bool,
    /// Whether clients are asked for a certificate.
    pub(crate) client_auth: ClientAuth,
}

/// An answer that the gateway makes itself.
pub(crate) type Answer = Response<Bytes>;

// === impl Context ===

impl Context {
    /// What came from that peer; it may be one of these consumers'.
    pub(crate) fn begin(
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        peer: &Peer,
        identity: (HeaderValue, Trace),
        consumers: Consumers,
    ) -> Context {
        let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let (client, scheme) = (peer.address.ip(), peer.listener.scheme);
        Context {
            certificate: peer.certificate.clone(),
            ..Context::new((method, target), headers, (client, scheme), identity, consumers)
        }
    }

    fn new(
        (method, target): (Method, PathAndQuery),
        headers: HeaderMap,
        (client, scheme): (IpAddr, Scheme),
        (request_id, trace): (HeaderValue, Trace),
        consumers: Consumers,
    ) -> Context {
        Context {
            method,
            target,
            host: Authority::unknown(),
            headers,
            client,
            scheme,
            request_id,
            trace,
            certificate: None,
            origin: None,
            routed: None,
            captures: Captures::default(),
            principals: Principals::default(),
            consumers,
            decisions: Vec::new(),
            allowance: None,
            for_client: Vec::new(),
            seats: Taken::default(),
        }
    }

    /// Which consumer's request it is: the first of all who are proven.
    pub(crate) fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.principals.consumer(|id| self.consumers.find_id(id))
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        self.target.path()
    }

    /// The value of a header as the client sent it; several fields of one name are one value, joined by commas (RFC 9110,
    /// 5.3).
    pub(crate) fn header(&self, name: &HeaderName) -> Option<Cow<'_, [u8]>> {
        // Not among the headers: what is there may be what the upstream is to see.
        if *name == header::HOST {
            return Some(Cow::Borrowed(self.host.value().as_bytes()));
        }
        let mut fields = self.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = fields.next()?;
        let Some(second) = fields.next() else { return Some(Cow::Borrowed(first)) };
        let all = [first, second].into_iter().chain(fields);
        Some(Cow::Owned(all.collect::<Vec<_>>().join(&b", "[..])))
    }

    /// What matching looks at, of a request that came through that door.
    pub(crate) fn head<'a>(&'a self, listener: &'a Door) -> Head<'a> {
        Head {
            listener: &listener.name,
            scheme: self.scheme,
            client: self.client,
            host: self.host.name(),
            method: &self.method,
            path: self.target.path(),
            query: self.target.query(),
            headers: &self.headers,
        }
    }

    /// As if the route captured that part of the path by that name.
    #[cfg(test)]
    pub(crate) fn capture(&mut self, name: &str, part: std::ops::Range<usize>) {
        let name_of_route = proto::name::Name::parse("route").expect("it is a name");
        let routed = Routed { name: name_of_route, variables: Box::new([name.into()]), disabled: Box::default() };
        self.routed = Some(Rc::new(routed));
        self.captures.push(part.start, part.end);
    }

    /// A request that did not come through a connection.
    #[cfg(any(test, feature = "figures"))]
    pub(crate) fn of_request(method: Method, target: &'static str) -> Context {
        let identity = (HeaderValue::from_static("test"), Trace::new(1, 1));
        let (target, from) = (PathAndQuery::from_static(target), ([127, 0, 0, 1].into(), Scheme::Http));
        Context::new((method, target), HeaderMap::new(), from, identity, Consumers::default())
    }
}

// === impl Peer ===

impl Peer {
    /// The same, with a wire of its own: for a stream of its connection, or for what is done on its behalf.
    pub(crate) fn of_stream(&self, now: Instant) -> Peer {
        Peer {
            listener: self.listener.clone(),
            address: self.address,
            text: self.text.clone(),
            trusted: self.trusted,
            trusted_blocks: self.trusted_blocks.clone(),
            certificate: self.certificate.clone(),
            wire: Wire::new(now),
        }
    }
}

// === impl Authority ===

impl Authority {
    /// None yet.
    pub(crate) fn unknown() -> Authority {
        Authority { value: HeaderValue::from_static(""), len: 0, lower: None }
    }

    /// Parses a `Host` header; `None` when it is not one host with at most a port.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Authority> {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        let (name, port) = match text.rfind(':') {
            Some(at) if !text.ends_with(']') => (&text[..at], Some(&text[at + 1..])),
            Some(_) | None => (text, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
            return None;
        }
        match name.strip_prefix('[') {
            Some(address) => drop(address.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?),
            None if is_host_name(name) => {}
            None => return None,
        }
        // The name that routes match has no final dot.
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower = name.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| name.to_ascii_lowercase().into());
        Some(Authority { value: value.clone(), len: name.len() as u16, lower })
    }

    /// Gives it memory of its own.
    pub(crate) fn settle(&mut self) {
        if let Ok(value) = HeaderValue::from_bytes(self.value.as_bytes()) {
            self.value = value;
        }
    }

    /// As it was sent.
    pub(crate) fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// The host in lower case, without port and final dot.
    pub(crate) fn name(&self) -> &str {
        match &self.lower {
            Some(lower) => lower,
            None => self.value.to_str().map_or("", |text| &text[..usize::from(self.len)]),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=254).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_host_with_at_most_a_port() {
        let check = |text: &str, expect: Option<&str>| {
            let authority = Authority::parse(&HeaderValue::from_str(text).unwrap());
            assert_eq!(authority.as_ref().map(Authority::name), expect, "{text}");
        };
        check("a.example", Some("a.example"));
        check("A.Example:80", Some("a.example"));
        check("a.example.", Some("a.example"));
        check("a.example.:80", Some("a.example"));
        check("[::1]:80", Some("[::1]"));
        check("[::1]", Some("[::1]"));
        check("127.0.0.1:8080", Some("127.0.0.1"));
        for bad in [
            "", ":80", "a:", "a:x", "a:+1", "a:70000", "a b", "a,b", "u@a", "a/b", "[::1", "::1", "[::zz]", ".", "a..b",
        ] {
            check(bad, None);
        }
    }
}
