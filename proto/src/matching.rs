//! The whole semantics of matching: which requests a route means, and which of two routes is the better.
//!
//! A node finds its route through an index; this file is what the index must agree with. Everything that can fail does
//! so here, when a route is checked: expressions are compiled, hosts and paths are in their normal form.

mod host;
mod path;
mod value;

pub use host::HostPattern;
pub(crate) use host::host_name;
pub use path::{Captures, MAX_VARIABLES, PathPattern, PathRegex, PathTemplate, Segment};
pub use value::{HeaderCondition, QueryCondition, ValueCondition, parameter};

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

/// How good a match is; the greater wins. The last word has the name, the lesser of which wins: compare that apart.
///
/// All that counts stands in two numbers, so that comparing costs next to nothing: priority, host and the class of the
/// path in the first; the length of the path, method, headers and query in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64, u64);

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

    /// Whether the request is meant, through which of the hosts, and what its path captures.
    pub fn find<'m>(&'m self, head: &Head<'_>) -> Option<(&'m HostPattern, Captures)> {
        let host = self.hosts.iter().filter(|host| host.matches(head.host)).max_by_key(|host| host.rank())?;
        let captures = self.path.matches(head.path)?;
        self.predicates.hold(head).then_some((host, captures))
    }

    /// How good a match through that host is.
    pub fn rank(&self, priority: i32, host: &HostPattern) -> Rank {
        let count = |n: usize| u64::from(u8::try_from(n).unwrap_or(u8::MAX));
        // The lowest priority becomes 0.
        let priority = u64::from(priority.cast_unsigned() ^ (1 << 31));
        let ((host, host_length), (path, path_length)) = (host.rank(), self.path.rank());
        let predicates = &self.predicates;
        Rank(
            priority << 32 | u64::from(host) << 24 | u64::from(host_length) << 8 | u64::from(path),
            u64::from(path_length) << 32
                | u64::from(!predicates.methods.is_empty()) << 16
                | count(predicates.headers.len()) << 8
                | count(predicates.query.len()),
        )
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
    /// Whether all of them hold.
    pub fn hold(&self, head: &Head<'_>) -> bool {
        // Each list is asked for its emptiness first: most routes have none of them.
        (self.methods.is_empty() || self.methods.contains(head.method))
            && (self.headers.is_empty() || self.headers.iter().all(|condition| condition.holds(head.headers)))
            && (self.query.is_empty() || self.query.iter().all(|condition| condition.holds(head.query)))
            && (self.listeners.is_empty() || self.listeners.iter().any(|listener| listener == head.listener))
            && (self.schemes.is_empty() || self.schemes.contains(&head.scheme))
            && (self.client_addresses.is_empty() || self.client_addresses.iter().any(|net| net.contains(&head.client)))
    }
}

fn list<T>(items: &[String], field: &str, faults: &mut Faults, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    faults.at(field, |faults| {
        if items.len() > MAX_CONDITIONS {
            faults.note(format!("at most {MAX_CONDITIONS} can be given"));
        }
        let parsed = items.iter().enumerate().filter_map(|(at, text)| faults.at(at, |faults| faults.take(parse(text))));
        parsed.collect()
    })
}

fn method(text: &str) -> Result<Method, String> {
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

fn address(text: &str) -> Result<IpNet, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_ordered_as_documented() {
        use pb::path_match::Kind;
        let rank = |priority: i32, host: &str, kind: Kind, methods: &[&str], headers: usize, query: usize| {
            let header = pb::HeaderMatch { name: "a".into(), kind: Some(pb::header_match::Kind::Present(true)) };
            let condition = pb::QueryMatch { name: "a".into(), kind: Some(pb::query_match::Kind::Present(true)) };
            let message = pb::Match {
                path: Some(pb::PathMatch { kind: Some(kind) }),
                methods: methods.iter().map(|method| method.to_string()).collect(),
                headers: vec![header; headers],
                query: vec![condition; query],
                ..Default::default()
            };
            let mut faults = Faults::default();
            let checked = Match::check(Some(&message), &mut faults);
            assert_eq!(faults.into_found(), []);
            checked.rank(priority, &HostPattern::parse(host).expect("a host"))
        };
        let prefix = |path: &str| Kind::Prefix(path.into());
        let (exact, template) = (Kind::Exact("/a".into()), Kind::Template("/{a}".into()));
        let ranks = [
            rank(i32::MIN, "a", exact.clone(), &["GET"], 64, 64),
            rank(-1, "a", exact.clone(), &["GET"], 64, 64),
            rank(0, "*", Kind::Regex(".*".into()), &["GET"], 64, 64),
            rank(0, "*", prefix("/"), &[], 0, 0),
            rank(0, "*", prefix("/"), &[], 0, 1),
            rank(0, "*", prefix("/"), &[], 1, 0),
            rank(0, "*", prefix("/"), &["GET"], 0, 0),
            rank(0, "*", prefix("/a"), &[], 0, 0),
            rank(0, "*", prefix("/aa"), &[], 0, 0),
            rank(0, "*", template.clone(), &[], 0, 0),
            rank(0, "*", exact.clone(), &[], 0, 0),
            rank(0, "*.aa", prefix("/"), &[], 0, 0),
            rank(0, "*.aaa", prefix("/"), &[], 0, 0),
            rank(0, "aaaa", prefix("/"), &[], 0, 0),
            rank(1, "*", prefix("/"), &[], 0, 0),
            rank(i32::MAX, "*", prefix("/"), &[], 0, 0),
        ];
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }
}
