//! The PROXY protocol, versions 1 and 2: what a balancer in front of the node says about whom it speaks for.
//!
//! Only listeners that say `proxy+` read it, and on them every connection has to begin with it: an address that a client
//! could give itself is worse than none. What is not exactly a header ends the connection without an answer.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const MAX_LINE: usize = 107;
/// The most bytes that version 2 may put behind its fixed part.
const MAX_REST: usize = 4096;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// How many bytes it has.
    pub(super) len: usize,
    /// The client; none when the balancer speaks for itself, as in its health checks.
    pub(super) client: Option<SocketAddr>,
}

/// It is not a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The header at the beginning of the bytes; `None` when it is not whole yet.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes {
        [b'P', ..] => version_1(bytes),
        [b'\r', ..] => version_2(bytes),
        [] => Ok(None),
        [..] => Err(Malformed),
    }
}

/// The length of a header and the client, for whom this is all private.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode_for_fuzzers(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, ()> {
    decode(bytes).map(|header| header.map(|header| (header.len, header.client))).map_err(|Malformed| ())
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const PREFIX: &[u8] = b"PROXY ";
    let seen = &bytes[..bytes.len().min(PREFIX.len())];
    if !PREFIX.starts_with(seen) {
        return Err(Malformed);
    }
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(Malformed) };
    };
    let line = bytes[..end].strip_prefix(PREFIX).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    let client = match words.next() {
        // What follows means nothing.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut word = || words.next().ok_or(Malformed);
            let source = address(family, word()?)?;
            address(family, word()?)?;
            let client = SocketAddr::new(source, port(word()?)?);
            port(word()?)?;
            if words.next().is_some() {
                return Err(Malformed);
            }
            Some(client)
        }
        Some(_) | None => return Err(Malformed),
    };
    Ok(Some(Header { len: end + 1, client }))
}

fn address(family: &str, word: &str) -> Result<IpAddr, Malformed> {
    match (family, word.parse()) {
        ("TCP4", Ok(address @ IpAddr::V4(_))) | ("TCP6", Ok(address @ IpAddr::V6(_))) => Ok(address),
        (_, Ok(_) | Err(_)) => Err(Malformed),
    }
}

fn port(word: &str) -> Result<u16, Malformed> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().map_err(|_| Malformed) } else { Err(Malformed) }
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let seen = &bytes[..bytes.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(seen) {
        return Err(Malformed);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || len > MAX_REST {
        return Err(Malformed);
    }
    let Some(rest) = rest.get(..len) else { return Ok(None) };
    let (client, extensions) = match (command, family) {
        // The balancer itself; the family and the addresses mean nothing.
        (0x20, _) => (None, &[][..]),
        (_, 0x00) => (None, rest),
        (_, 0x11) => {
            let (addresses, extensions) = rest.split_first_chunk::<12>().ok_or(Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (Some(SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low]))), extensions)
        }
        (_, 0x21) => {
            let (addresses, extensions) = rest.split_first_chunk::<36>().ok_or(Malformed)?;
            let (source, ports) = addresses.split_first_chunk::<16>().ok_or(Malformed)?;
            let port = u16::from_be_bytes([ports[16], ports[17]]);
            (Some(SocketAddr::new((*source).into(), port)), extensions)
        }
        // A datagram or a local socket is not how anybody comes here.
        (..) => return Err(Malformed),
    };
    check_extensions(extensions)?;
    Ok(Some(Header { len: 16 + len, client }))
}

// Each has a kind, a length and so many bytes. Nobody here wants to know what they say.
fn check_extensions(mut bytes: &[u8]) -> Result<(), Malformed> {
    while let [_, high, low, rest @ ..] = bytes {
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).ok_or(Malformed)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    // Every part of it is not whole, and what follows it does not matter.
    #[track_caller]
    fn check(bytes: &[u8], client: Option<&str>) {
        let client = client.map(|client| client.parse().unwrap());
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Ok(None), "{len} of {bytes:?}");
        }
        let header = Header { len: bytes.len(), client };
        assert_eq!(decode(bytes), Ok(Some(header)));
        assert_eq!(decode(&[bytes, b"GET / HTTP/1.1\r\n\r\n"].concat()), Ok(Some(header)));
    }

    const V4: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 0x30, 0x39, 0, 80];

    #[test]
    fn a_header_says_who_the_client_is() {
        check(b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 80\r\n", Some("1.2.3.4:12345"));
        check(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", Some("[2001:db8::1]:0"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff:f...f:ffff what ever\r\n", None);
        check(&v2(0x21, 0x11, &V4), Some("1.2.3.4:12345"));
        check(&v2(0x21, 0x11, &[&V4[..], &[4, 0, 2, 0, 0]].concat()), Some("1.2.3.4:12345"));
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 7);
        check(&v2(0x21, 0x21, &v6), Some("[::1]:7"));
        check(&v2(0x21, 0x00, b""), None);
        check(&v2(0x20, 0x11, &V4), None);
        check(&v2(0x20, 0x00, b"any"), None);
    }

    #[test]
    fn what_is_not_exactly_a_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"PROXY\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 80\n",
            b"PROXY  TCP4 1.2.3.4 5.6.7.8 12345 80\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 80 \r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 12345\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 012 80\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 80\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
            b"PROXY tcp4 1.2.3.4 5.6.7.8 1 80\r\n",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 80\r\n",
            b"\r\n\r\n\0\r\nQUIT\r\n",
            long.as_bytes(),
            &v2(0x11, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x12, &V4),
            &v2(0x21, 0x31, &[0; 216]),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x11, &[&V4[..], &[4, 0, 3, 0, 0]].concat()),
            &v2(0x21, 0x11, &[&V4[..], &[4, 0]].concat()),
            &v2(0x21, 0x11, &[0; MAX_REST + 1]),
        ] {
            assert_eq!(decode(bytes), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..60), command in 0x1f_u8..0x23) {
            let _ = decode(&rest);
            let _ = decode(&[&SIGNATURE[..], &[command], &rest].concat());
            let _ = decode(&[b"PROXY TCP4 ", &rest[..]].concat());
        }
    }
}
