//! Who the client is, and what the upstream is told about it.
//!
//! Forwarding headers are believed only from trusted peers: from anybody else they are taken out before the gateway's own
//! are put in, so that an upstream that reads them cannot be lied to.

use crate::context::{Context, Peer, is_forwarding};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use proto::matching::Scheme;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Finds the client, and makes the forwarding headers true.
pub(super) fn apply(context: &mut Context, peer: &Peer, claimed: bool) {
    let headers = &mut context.headers;
    if claimed && !peer.trusted {
        strip(headers);
    }
    if !(claimed && peer.trusted) {
        headers.insert(X_FORWARDED_FOR, peer.text.clone());
        headers.insert(X_FORWARDED_PROTO, scheme(peer.listener.scheme));
        headers.insert(X_FORWARDED_HOST, context.host.value().clone());
        headers.insert(X_FORWARDED_PORT, peer.listener.port.clone());
        return;
    }
    let chain = chain(headers);
    context.client = client(&chain, peer.address.ip(), &peer.trusted_blocks);
    let chain = if chain.is_empty() { peer.text.clone() } else { join(&chain, &peer.text) };
    headers.insert(X_FORWARDED_FOR, chain);
    match headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") => context.scheme = Scheme::Https,
        Some(b"http") => context.scheme = Scheme::Http,
        Some(_) | None => drop(headers.insert(X_FORWARDED_PROTO, scheme(peer.listener.scheme))),
    }
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| context.host.value().clone());
    headers.entry(X_FORWARDED_PORT).or_insert_with(|| peer.listener.port.clone());
}

fn strip(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_forwarding(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

fn scheme(scheme: Scheme) -> HeaderValue {
    match scheme {
        Scheme::Http => HeaderValue::from_static("http"),
        Scheme::Https => HeaderValue::from_static("https"),
    }
}

// All values of X-Forwarded-For as one.
fn chain(headers: &HeaderMap) -> Vec<u8> {
    let values: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    values.join(&b", "[..])
}

fn join(chain: &[u8], peer: &HeaderValue) -> HeaderValue {
    // Both halves were header values.
    HeaderValue::from_bytes(&[chain, peer.as_bytes()].join(&b", "[..])).unwrap_or_else(|_| peer.clone())
}

// From the right, past everyone who is trusted: the first who is not is the client. What cannot be read ends the walk,
// for nobody trusted wrote it.
fn client(chain: &[u8], peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in chain.rsplit(|byte| *byte == b',') {
        let hop = std::str::from_utf8(hop.trim_ascii()).ok().and_then(|hop| hop.parse::<IpAddr>().ok());
        let Some(hop) = hop else { break };
        client = hop.to_canonical();
        if !trusted.iter().any(|block| block.contains(&client)) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let check = |chain: &str, expect: &str| {
            let found = client(chain.as_bytes(), "10.0.0.1".parse().unwrap(), &trusted);
            assert_eq!(found, expect.parse::<IpAddr>().unwrap(), "{chain}");
        };
        check("", "10.0.0.1");
        check("1.2.3.4", "1.2.3.4");
        check("6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4");
        check("6.6.6.6, 1.2.3.4, fd00::1 ,10.0.0.2", "1.2.3.4");
        check("10.0.0.3, 10.0.0.2", "10.0.0.3");
        check("1.2.3.4, junk, 10.0.0.2", "10.0.0.2");
        check("1.2.3.4, ", "10.0.0.1");
        check("::ffff:1.2.3.4", "1.2.3.4");
    }
}
