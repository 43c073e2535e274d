//! Headers that belong to one connection, and so do not travel on (RFC 9110, 7.6.1).

use super::identity::is_identity;
use http::{HeaderMap, HeaderName, HeaderValue, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Whether the header belongs to one connection, whatever `Connection` says.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        // The names that have no constant of their own are compared byte by byte: look at the first one before.
        _ => matches!(name.as_str().as_bytes()[0], b'k' | b'p') && (*name == KEEP_ALIVE || *name == PROXY_CONNECTION),
    }
}

/// Whether a header claims to know where the request comes from. Many servers take an underscore for a dash.
pub(crate) fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    let begins = |with: &str| {
        name.len() >= with.len() && name.bytes().zip(with.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    name == "forwarded" || begins("x-forwarded-") || (name.len() == 9 && begins("x-real-ip"))
}

/// Whether a trailer of that name may be passed on: not what frames or routes a message, says who sends it, or says how to
/// read it, for some take trailers for headers (RFC 9110, 6.5.1).
fn is_trailer(name: &HeaderName) -> bool {
    let banned = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::HOST,
        header::MAX_FORWARDS,
        header::RANGE,
        header::SET_COOKIE,
    ];
    !is_hop_by_hop(name) && !banned.contains(name) && !is_forwarding(name) && !is_identity(name)
}

/// Takes out what belongs to one connection by its name alone: HTTP/2 has no `Connection` that could name more.
pub(crate) fn strip_known(headers: &mut HeaderMap) {
    let known: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    known.iter().for_each(|name| drop(headers.remove(name)));
}

/// Takes out of trailers what may not be passed on.
pub(crate) fn strip_untrailable(trailers: &mut HeaderMap) {
    let banned: Vec<HeaderName> = trailers.keys().filter(|name| !is_trailer(name)).cloned().collect();
    banned.iter().for_each(|name| drop(trailers.remove(name)));
}

/// Takes out what belongs to one connection: the known names, and those that `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let options: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    options.iter().for_each(|options| strip_named(headers, options.as_bytes()));
    let trailers = headers.get_all(header::TE).iter().any(|codings| {
        let mut codings = codings.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes out what a value of `Connection` names.
pub(crate) fn strip_named(headers: &mut HeaderMap, options: &[u8]) {
    for option in options.split(|byte| *byte == b',') {
        let Ok(name) = HeaderName::from_bytes(option.trim_ascii()) else { continue };
        // To frame the message, to name the host or to say who sends it is not the connection's business: a proxy that passes
        // a client's `Connection` on would lose its own word about that client.
        let told = is_forwarding(&name) || is_identity(&name);
        if name != header::CONTENT_LENGTH && name != header::HOST && !told {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        lines.iter().map(header).collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect()
    }

    #[test]
    fn what_belongs_to_one_connection_does_not_travel_on() {
        let mut all = headers(&[
            ("connection", "x-a, Keep-Alive"),
            ("connection", "x-b , content-length,host, bad name"),
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
            ("host", "h"),
            ("content-length", "0"),
            ("keep-alive", "timeout=1"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip, Trailers"),
            ("trailer", "x"),
            ("upgrade", "websocket"),
        ]);
        strip_hop_by_hop(&mut all);
        assert_eq!(all, headers(&[("x-c", "3"), ("host", "h"), ("content-length", "0"), ("te", "trailers")]));
        for name in ["x-c", "priority", "pragma", "accept"] {
            assert!(!is_hop_by_hop(&name.parse().unwrap()), "{name}");
        }
        for (name, may) in [
            ("grpc-status", true),
            ("server-timing", true),
            ("te", false),
            ("x_forwarded-for", false),
            ("x-user", false),
        ] {
            assert_eq!(is_trailer(&name.parse().unwrap()), may, "{name}");
        }
    }
    #[test]
    fn an_underscore_is_no_way_around() {
        let names = ["x-forwarded-for", "x_forwarded_for", "x-forwarded_proto", "x_real-ip", "x-real-ip", "forwarded"];
        for name in names {
            assert!(is_forwarding(&name.parse().unwrap()), "{name}");
        }
        for name in ["x-forwarded", "x-real-ips", "x-request-id"] {
            assert!(!is_forwarding(&name.parse().unwrap()), "{name}");
        }
    }
}
