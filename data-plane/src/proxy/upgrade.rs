//! The wish of a client to switch to another protocol: what it is, and whether the route grants it.
//!
//! A wish that is not granted is no fault (RFC 9110, 7.8): the request is answered as if it had none.

use crate::{context::Context, encoding::base64, error::Error, pool::Upgrade, router::Side};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header};

const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SEC_WEBSOCKET_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

/// What a request by HTTP/2 asks to become, as an extension of it (RFC 8441). It is a GET then, as by HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct Wish(pub(crate) HeaderValue);

/// What a request asks to become.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wished<'a> {
    /// Nothing else.
    Nothing,
    /// A protocol, or else it is an ordinary request.
    Protocol(&'a HeaderValue),
    /// A protocol and nothing else: it opens a tunnel.
    Tunnel(&'a HeaderValue),
}

// === impl Wished ===

impl<'a> Wished<'a> {
    /// What a request with this wish asks to become.
    pub(super) fn of(wish: Option<&'a HeaderValue>, version: Version) -> Wished<'a> {
        match wish {
            None => Wished::Nothing,
            Some(wish) if version == Version::HTTP_2 => Wished::Tunnel(wish),
            Some(wish) => Wished::Protocol(wish),
        }
    }

    /// Whether whoever asks takes every success for a tunnel.
    pub(super) fn opens_tunnel(self) -> bool {
        matches!(self, Wished::Tunnel(_))
    }

    fn parts(self) -> Option<(&'a HeaderValue, bool)> {
        match self {
            Wished::Nothing => None,
            Wished::Protocol(protocol) => Some((protocol, false)),
            Wished::Tunnel(protocol) => Some((protocol, true)),
        }
    }
}

/// The one protocol that a client by HTTP/1.1 asks for. Whoever offers a choice wishes nothing.
pub(super) fn wish(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut options =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    if !options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    only(headers, &header::UPGRADE).cloned()
}

/// What the upstream is asked for: the wish, where the route has that protocol and the request is such that it can be
/// switched to.
pub(super) fn grant(
    context: &mut Context,
    wish: Wished<'_>,
    side: &Side,
    has_body: bool,
) -> Result<Option<Box<Upgrade>>, Error> {
    let Some((wish, opens_tunnel)) = wish.parts().filter(|_| !has_body) else { return Ok(None) };
    let wished = |protocol: &&HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(wish.as_bytes());
    // As the operator wrote it: nothing of what the client wrote goes on.
    let Some(protocol) = side.upgrades.protocols.iter().find(wished).cloned() else { return Ok(None) };
    if protocol != "websocket" {
        return Ok(Some(Box::new(Upgrade::to(protocol))));
    }
    if opens_tunnel {
        // There it has no key.
        let key = HeaderValue::from_bytes(&base64::<24>(&fastrand::u128(..).to_ne_bytes()));
        context.headers.insert(SEC_WEBSOCKET_KEY, key.map_err(|_| Error::Panic)?);
    }
    websocket(protocol, &context.method, &context.headers).map(|upgrade| Some(Box::new(upgrade)))
}

/// Makes of the upstream's 101 the gateway's own.
pub(super) fn agree<B>(response: &mut Response<B>, upgrade: &Upgrade) {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, upgrade.protocol().clone());
}

// RFC 6455, 4.2.1. Which versions there are is for the server to say: it answers 426 with those that it speaks.
fn websocket(protocol: HeaderValue, method: &Method, headers: &HeaderMap) -> Result<Upgrade, Error> {
    if *method != Method::GET {
        return Err(Error::WebSocket("it is a GET"));
    }
    let version = only(headers, &SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if !version.is_some_and(|version| (1..=3).contains(&version.len()) && version.iter().all(u8::is_ascii_digit)) {
        return Err(Error::WebSocket("it has one Sec-WebSocket-Version, a number"));
    }
    match only(headers, &SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes) {
        Some(key) if is_key(key) => Ok(Upgrade::to_websocket(protocol, key)),
        Some(_) | None => Err(Error::WebSocket("it has one Sec-WebSocket-Key, 16 bytes in base64")),
    }
}

fn is_key(key: &[u8]) -> bool {
    let digits = key.strip_suffix(b"==").unwrap_or_default();
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_wish_is_one_protocol() {
        let check = |lines: &[(&str, &str)], expect: Option<&str>| {
            assert_eq!(wish(&headers(lines)).as_ref().map(|wish| wish.to_str().unwrap()), expect, "{lines:?}");
        };
        check(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], Some("websocket"));
        check(&[("connection", "close"), ("connection", "upgrade"), ("upgrade", "x/1")], Some("x/1"));
        check(&[("connection", "upgrades"), ("upgrade", "websocket")], None);
        check(&[("upgrade", "websocket")], None);
        check(&[("connection", "upgrade")], None);
        check(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "websocket")], None);
    }

    #[test]
    fn a_key_is_16_bytes_in_base64() {
        for (key, expect) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("++++++++++//////////zz==", true),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25j ZQ==", false),
            ("dGhlIHNhbXBsZSBub25jZ-==", false),
            ("==", false),
            ("", false),
        ] {
            assert_eq!(is_key(key.as_bytes()), expect, "{key:?}");
        }
    }
}
