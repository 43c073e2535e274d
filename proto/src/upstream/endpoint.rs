//! Endpoints, checked: where they are, and how names are resolved.

use super::duration;
use crate::{invalid::Faults, matching::host_name, pb};
use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

/// The most endpoints of one upstream.
const MAX_ENDPOINTS: usize = 1000;
/// The highest priority number.
const MAX_PRIORITY: u32 = 100;
/// Names are not asked for more often.
const MIN_TTL: Duration = Duration::from_millis(100);

/// What was written as one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub place: Place,
    /// Its share, 0 to 1000.
    pub weight: u32,
    /// The lowest takes the traffic.
    pub priority: u32,
}

/// Where an endpoint is, as it was written: its identity. Names are resolved by each node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// At an address; a name may have several.
    Address(Address),
    /// Where the SRV records of this name say.
    Srv(String),
}

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How names are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Addresses are taken for true so long at least.
    pub min_ttl: Duration,
    /// And at most.
    pub max_ttl: Duration,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn check_list(messages: &[pb::Endpoint], faults: &mut Faults) -> Vec<Endpoint> {
        faults.at("endpoints", |faults| {
            match messages.len() {
                0 => faults.note("an upstream needs at least one endpoint: [{address: \"host:port\"}]"),
                n if n > MAX_ENDPOINTS => faults.note(format!("an upstream has at most {MAX_ENDPOINTS} endpoints")),
                _ => {}
            }
            let mut seen = BTreeSet::new();
            let mut endpoints = Vec::new();
            for (at, message) in messages.iter().enumerate() {
                faults.at(at, |faults| {
                    let Some(endpoint) = Endpoint::check(message, faults) else { return };
                    if !seen.insert(endpoint.place.clone()) {
                        let advice = format!("{} stands twice; use `weight` for a larger share", endpoint.place);
                        faults.note_at(endpoint.place.field(), advice);
                    }
                    endpoints.push(endpoint);
                });
            }
            if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.weight == 0) {
                faults.note("no endpoint has a weight above 0, so none would take traffic");
            }
            endpoints
        })
    }

    fn check(message: &pb::Endpoint, faults: &mut Faults) -> Option<Endpoint> {
        let weight = message.weight.unwrap_or(1);
        if weight > 1000 {
            faults.note_at("weight", "a weight is 0 to 1000");
        }
        let priority = message.priority.unwrap_or(0);
        if priority > MAX_PRIORITY {
            faults.note_at("priority", format!("a priority is 0 to {MAX_PRIORITY}"));
        }
        let place = match (message.address.as_str(), message.srv.as_str()) {
            (address, "") => faults.at("address", |faults| faults.take(Address::parse(address))).map(Place::Address),
            ("", srv) => faults.at("srv", |faults| faults.take(srv_name(srv))).map(Place::Srv),
            (_, _) => {
                faults.note_at("srv", "an endpoint has an `address` or is found by `srv`, not both");
                None
            }
        };
        Some(Endpoint { place: place?, weight, priority })
    }
}

fn srv_name(text: &str) -> Result<String, String> {
    let is_ip = text.parse::<IpAddr>().is_ok() || text.starts_with('[');
    match host_name(text.trim_end_matches('.')) {
        Ok(()) if !is_ip => Ok(text.to_ascii_lowercase()),
        Ok(()) | Err(_) => {
            Err(format!("{text:?} is not a name with SRV records, as in \"_http._tcp.orders.example.com\""))
        }
    }
}

// === impl Place ===

impl Place {
    /// The address, where it was written.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Place::Address(address) => Some(address),
            Place::Srv(_) => None,
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Place::Address(_) => "address",
            Place::Srv(_) => "srv",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address(address) => address.fmt(f),
            Place::Srv(name) => f.write_str(name),
        }
    }
}

// === impl Address ===

impl Address {
    /// Parses `host:port`.
    pub fn parse(text: &str) -> Result<Address, String> {
        let advice = || format!("{text:?} is not host:port, as in \"orders:8080\" or \"[::1]:8080\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(advice)?;
        let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or_else(advice)?;
        host_name(host).map_err(|_| advice())?;
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        Ok(Address { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

// === impl Dns ===

impl Dns {
    pub(super) fn check(message: Option<&pb::Dns>, faults: &mut Faults) -> Dns {
        let default = pb::Dns::default();
        let message = message.unwrap_or(&default);
        let min_ttl = duration("min_ttl", &message.min_ttl, faults).unwrap_or(Duration::from_secs(1));
        if min_ttl < MIN_TTL {
            faults.note_at("min_ttl", "names are asked for again after 100ms at the soonest");
        }
        let max_ttl = duration("max_ttl", &message.max_ttl, faults).unwrap_or(Duration::from_secs(10).max(min_ttl));
        if max_ttl < min_ttl {
            faults.note_at("max_ttl", "is not shorter than `min_ttl`");
        }
        Dns { min_ttl, max_ttl }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_port() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(Address::parse(text).ok().map(|a| a.to_string()).as_deref(), expect, "{text}");
        };
        check("orders:8080", Some("orders:8080"));
        check("Orders.Example:1", Some("orders.example:1"));
        check("[::1]:80", Some("[::1]:80"));
        check("10.0.0.1:80", Some("10.0.0.1:80"));
        for bad in ["orders", "orders:", "orders:0", "orders:65536", ":80", "::1:80", "http://a:80", "a b:80", "a:+80"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn an_endpoint_is_at_one_place() {
        let check = |address: &str, srv: &str| {
            let message = pb::Endpoint { address: address.into(), srv: srv.into(), ..Default::default() };
            let mut faults = Faults::default();
            let endpoint = Endpoint::check(&message, &mut faults);
            let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
            (endpoint.map(|endpoint| endpoint.place.to_string()), found.join(" "))
        };
        assert_eq!(check("a:1", ""), (Some("a:1".into()), String::new()));
        assert_eq!(check("", "_http._tcp.A.example"), (Some("_http._tcp.a.example".into()), String::new()));
        for (address, srv, pointer) in [
            ("", "", "/address"),
            ("a:1", "_http._tcp.a", "/srv"),
            ("", "10.0.0.1", "/srv"),
            ("", "a:80", "/srv"),
            ("", "a b", "/srv"),
        ] {
            assert_eq!(check(address, srv), (None, pointer.into()), "{address} {srv}");
        }
    }
}
