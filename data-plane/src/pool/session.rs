//! Which endpoint the cookie of a client names.
//!
//! It does so by a digest of the endpoint's address, which every node makes alike: no node keeps anything, and the address
//! stays untold. A cookie is what a client says. The most it can do is to choose among endpoints that the client could
//! have been given anyway; what is no digest, or one of nobody, is as good as none.

use super::local::LocalEndpoint;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use proto::{name::Name, upstream::StickyCookie};
use std::{collections::HashMap, fmt, rc::Rc};

/// The digest of an endpoint's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u128);

/// The endpoints that may keep their clients, as one worker has them.
#[derive(Debug)]
pub(super) struct Sessions {
    key: Key,
    upstream: Name,
    // In their order.
    endpoints: Vec<(SessionId, Rc<LocalEndpoint>)>,
    // Of all endpoints that there are, by their ids.
    ids: HashMap<u64, SessionId>,
}

// === impl SessionId ===

impl SessionId {
    /// Reads the value of a cookie: 32 digits as they are written.
    pub(crate) fn parse(value: &[u8]) -> Option<SessionId> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let text = std::str::from_utf8(value).ok().filter(|_| value.len() == 32 && value.iter().all(is_digit))?;
        u128::from_str_radix(text, 16).ok().map(SessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

// === impl Sessions ===

impl Sessions {
    /// None yet.
    pub(super) fn new(cookie: &StickyCookie, upstream: &Name) -> Sessions {
        let key = Key::new(HMAC_SHA256, cookie.secret.as_bytes());
        Sessions { key, upstream: upstream.clone(), endpoints: Vec::new(), ids: HashMap::new() }
    }

    /// From now on these may keep their clients.
    pub(super) fn set(&mut self, endpoints: impl Iterator<Item = Rc<LocalEndpoint>>) {
        let before = std::mem::take(&mut self.ids);
        self.endpoints.clear();
        for endpoint in endpoints {
            let number = endpoint.endpoint.id;
            let known = before.get(&number).copied();
            let id = known.unwrap_or_else(|| session_id(&self.key, &self.upstream, endpoint.as_str()));
            self.ids.insert(number, id);
            self.endpoints.push((id, endpoint));
        }
        self.endpoints.sort_by_key(|(id, _)| *id);
    }

    /// All that may keep their clients.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Rc<LocalEndpoint>> {
        self.endpoints.iter().map(|(_, endpoint)| endpoint)
    }

    /// The endpoint that a cookie names, if it may keep its clients.
    pub(super) fn find(&self, id: SessionId) -> Option<&Rc<LocalEndpoint>> {
        let at = self.endpoints.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.endpoints.get(at).map(|(_, endpoint)| endpoint)
    }

    /// What a cookie names this endpoint by.
    pub(super) fn id(&self, endpoint: &LocalEndpoint) -> SessionId {
        let known = self.ids.get(&endpoint.endpoint.id).copied();
        known.unwrap_or_else(|| session_id(&self.key, &self.upstream, endpoint.as_str()))
    }
}

// What comes first cannot be read as a part of what follows: a name has no NUL.
fn session_id(key: &Key, upstream: &Name, address: &str) -> SessionId {
    let tag = sign(key, &[upstream.as_str().as_bytes(), b"\0", address.as_bytes()].concat());
    SessionId(tag.as_ref()[..16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let id = SessionId(0xabc);
        let text = id.to_string();
        assert_eq!((text.len(), SessionId::parse(text.as_bytes())), (32, Some(id)));
        let upper = text.to_ascii_uppercase();
        let (long, short) = (format!("{text}0"), &text[1..]);
        for bad in ["", &upper, &long, short, &format!("+{short}"), &format!("{short} "), &format!("{short}é")] {
            assert_eq!(SessionId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(SessionId::parse(&[0xff; 32]), None);
    }

    #[test]
    fn an_id_depends_on_secret_upstream_and_address() {
        let name = |text: &str| Name::parse(text).unwrap();
        let id = |secret: &[u8], upstream: &str, address: &str| {
            session_id(&Key::new(HMAC_SHA256, secret), &name(upstream), address)
        };
        let one = id(b"a", "orders", "10.0.0.1:80");
        assert_eq!(id(b"a", "orders", "10.0.0.1:80"), one);
        for other in [
            id(b"b", "orders", "10.0.0.1:80"),
            id(b"", "orders", "10.0.0.1:80"),
            id(b"a", "users", "10.0.0.1:80"),
            id(b"a", "orders", "10.0.0.2:80"),
        ] {
            assert_ne!(other, one);
        }
    }
}
