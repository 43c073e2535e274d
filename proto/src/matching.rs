//! The whole semantics of matching: which requests a route means, and which of two routes is the better.
//!
//! A node finds its route through an index; this file is what the index must agree with. Everything that can fail does
//! so here, when a route is checked: expressions are compiled, hosts and paths are in their normal form.

mod host;
mod path;
mod rank;
mod value;

pub use host::HostPattern;
pub(crate) use host::host_name;
pub use path::{Captures, MAX_VARIABLES, PathPattern, PathRegex, PathTemplate, Segment};
pub use rank::{Precedence, Rank};
pub use value::{HeaderCondition, QueryCondition, ValueCondition, decode_form, parameter};

use crate::{invalid::Faults, name::Name, pb};
use http::{HeaderMap, Method};
use ipnet::IpNet;
use std::net::IpAddr;

/// The most hosts, methods, header or query conditions of one route.
pub const MAX_CONDITIONS: usize = 64;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

/// The head of a request, admitted: what matching looks at.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The name of the listener.
    pub listener: &'a str,
    /// How the client came.
    pub scheme: Scheme,
    /// The client's address.
    pub client: IpAddr,
    /// The host in lower case, without port and without a final dot.
    pub host: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The path in its normal form.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Conditions that all have to hold.
#[derive(Clone, Debug)]
pub struct Match {
    /// Never empty; [`HostPattern::Any`] where none was given.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The rest.
    pub predicates: Predicates,
}

/// The conditions besides host and path. An empty list holds always.
#[derive(Clone, Debug, Default)]
pub struct Predicates {
    /// Any of these methods.
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<HeaderCondition>,
    /// All of these.
    pub query: Vec<QueryCondition>,
    /// Any of these listeners.
    pub listeners: Vec<String>,
    /// Any of these schemes.
    pub schemes: Vec<Scheme>,
    /// Any of these blocks.
    pub client_addresses: Vec<IpNet>,
}

/// The first condition that does not hold.
#[derive(Clone, Copy, Debug)]
pub enum Miss<'m> {
    /// None of the hosts is the request's.
    Host,
    /// The path is another.
    Path,
    /// None of the methods is the request's.
    Method,
    /// This one, on a header.
    Header(&'m HeaderCondition),
    /// This one, on a query parameter.
    Query(&'m QueryCondition),
    /// The request came through another listener.
    Listener,
    /// The request came by the other scheme.
    Scheme,
    /// The client is in none of the blocks.
    Client,
}

// === impl Scheme ===

impl Scheme {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

// === impl Match ===

impl Match {
    /// Checks what was said; the faults are noted.
    pub fn check(message: Option<&pb::Match>, faults: &mut Faults) -> Match {
        let default = pb::Match::default();
        let message = message.unwrap_or(&default);
        let mut hosts = list(&message.hosts, "hosts", faults, HostPattern::parse);
        if message.hosts.is_empty() {
            hosts.push(HostPattern::Any);
        }
        let path = faults.at("path", |faults| PathPattern::check(message.path.as_ref(), faults));
        let methods = list(&message.methods, "methods", faults, method);
        let schemes = list(&message.schemes, "schemes", faults, scheme);
        let client_addresses = list(&message.client_addresses, "client_addresses", faults, address);
        let listeners =
            list(&message.listeners, "listeners", faults, |text| Name::parse(text).map(|name| name.to_string()));
        let headers = value::check_headers(&message.headers, faults);
        let query = value::check_query(&message.query, faults);
        Match { hosts, path, predicates: Predicates { methods, headers, query, listeners, schemes, client_addresses } }
    }

    /// Through which of the hosts the request is meant and what its path captures, or why it is not meant.
    pub fn find<'m>(&'m self, head: &Head<'_>) -> Result<(&'m HostPattern, Captures), Miss<'m>> {
        let hosts = self.hosts.iter().filter(|host| host.matches(head.host));
        let host = hosts.max_by_key(|host| host.rank()).ok_or(Miss::Host)?;
        let captures = self.path.matches(head.path).ok_or(Miss::Path)?;
        self.predicates.hold(head).map(|()| (host, captures))
    }

    /// For each host, a text that two matches share exactly if they match the same.
    pub fn normal_forms(&self, priority: i32) -> Vec<String> {
        let p = &self.predicates;
        let rest = format!(
            "{priority} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.path.normal_form(),
            sorted(p.methods.iter().map(Method::to_string)),
            sorted(p.headers.iter().map(HeaderCondition::normal_form)),
            sorted(p.query.iter().map(QueryCondition::normal_form)),
            sorted(p.listeners.iter().cloned()),
            sorted(p.schemes.iter().copied()),
            sorted(p.client_addresses.iter().copied()),
        );
        sorted(self.hosts.iter().map(|host| format!("{host} {rest}")))
    }
}

// === impl Predicates ===

impl Predicates {
    /// Whether all of them hold, or the first that does not.
    #[inline]
    pub fn hold(&self, head: &Head<'_>) -> Result<(), Miss<'_>> {
        if !(self.methods.is_empty() || self.methods.contains(head.method)) {
            return Err(Miss::Method);
        }
        if let Some(condition) = self.headers.iter().find(|condition| !condition.holds(head.headers)) {
            return Err(Miss::Header(condition));
        }
        if let Some(condition) = self.query.iter().find(|condition| !condition.holds(head.query)) {
            return Err(Miss::Query(condition));
        }
        if !(self.listeners.is_empty() || self.listeners.iter().any(|listener| listener == head.listener)) {
            return Err(Miss::Listener);
        }
        if !(self.schemes.is_empty() || self.schemes.contains(&head.scheme)) {
            return Err(Miss::Scheme);
        }
        if !(self.client_addresses.is_empty() || self.client_addresses.iter().any(|net| net.contains(&head.client))) {
            return Err(Miss::Client);
        }
        Ok(())
    }
}

fn list<T>(items: &[String], field: &str, faults: &mut Faults, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    faults.each(field, items, MAX_CONDITIONS, |text, faults| faults.take(parse(text)))
}

/// Parses a method.
pub(crate) fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    if text != upper {
        return Err(format!("methods are written in upper case: {upper:?}"));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("CONNECT opens a tunnel and is not routed".into()),
        Ok(method) => Ok(method),
        Err(_) => Err(format!("{text:?} is not a method")),
    }
}

/// Parses `http` or `https`.
pub(crate) fn scheme(text: &str) -> Result<Scheme, String> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(format!("{text:?} is not a scheme; write \"http\" or \"https\"")),
    }
}

/// An address or a CIDR block.
pub(crate) fn address(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| format!("{text:?} is not an address or a CIDR block such as \"10.0.0.0/8\""))?;
    if net.trunc() != net {
        return Err(format!("{text:?} has bits set behind its prefix; write {:?}", net.trunc().to_string()));
    }
    Ok(net)
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items.dedup();
    items
}
