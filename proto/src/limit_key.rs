//! What a limit counts by, checked: each combination of the parts has a count of its own.

use crate::{claims::ClaimPath, hash_key::cookie_name, invalid::Faults, pb};
use http::HeaderName;

/// The most parts of a key.
const MAX_PARTS: usize = 8;
/// The longest name of a query parameter, in bytes.
const MAX_NAME: usize = 256;

/// What a limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitKey {
    /// At least one.
    pub parts: Vec<KeyPart>,
    /// Whether a request that lacks a part is not counted; otherwise all that lack it are counted together.
    pub skip_missing: bool,
    /// Whether nothing was said, and so it is the client's address.
    pub by_default: bool,
}

/// A part of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The block of so many bits that the client's address is in.
    ClientAddress {
        /// Of an IPv4 address.
        prefix4: u8,
        /// Of an IPv6 address.
        prefix6: u8,
    },
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The route.
    Route,
    /// The consumer whose request it is.
    Consumer,
    /// What a token says.
    Claim(ClaimPath),
}

// === impl LimitKey ===

impl LimitKey {
    /// Checks what was said; without parts it is the client's address.
    pub(crate) fn check(parts: &[pb::LimitKeyPart], skip_missing: bool, faults: &mut Faults) -> LimitKey {
        let by_default = parts.is_empty();
        let parts = faults.at("key", |faults| {
            if parts.len() > MAX_PARTS {
                faults.note(format!("a key has at most {MAX_PARTS} parts"));
            }
            let check = |(at, part)| faults.at(at, |faults| KeyPart::check(part, faults));
            let mut parts: Vec<KeyPart> = parts.iter().enumerate().filter_map(check).collect();
            if parts.is_empty() {
                parts.push(KeyPart::WHOLE_ADDRESS);
            }
            parts
        });
        LimitKey { parts, skip_missing, by_default }
    }

    /// Whether it is known before anything of the request is proven, and no client can choose it: its address, maybe for
    /// each route.
    pub fn is_address(&self) -> bool {
        let mut parts = self.parts.iter();
        let known = |part: &KeyPart| matches!(part, KeyPart::ClientAddress { .. } | KeyPart::Route);
        parts.clone().any(|part| matches!(part, KeyPart::ClientAddress { .. })) && parts.all(known)
    }
}

// === impl KeyPart ===

impl KeyPart {
    // Who has one IPv6 address usually has the 2⁶⁴ beside it.
    const WHOLE_ADDRESS: KeyPart = KeyPart::ClientAddress { prefix4: 32, prefix6: 64 };

    fn check(message: &pb::LimitKeyPart, faults: &mut Faults) -> Option<KeyPart> {
        use pb::limit_key_part::Kind;
        match message.kind.as_ref()? {
            Kind::ClientAddress(address) => faults.at("client_address", |faults| {
                let prefix4 = prefix("prefix4", address.prefix4, 32, 32, faults);
                let prefix6 = prefix("prefix6", address.prefix6, 64, 128, faults);
                Some(KeyPart::ClientAddress { prefix4: prefix4?, prefix6: prefix6? })
            }),
            Kind::Header(name) => {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let parsed = parsed.map_err(|_| format!("{name:?} is not a header name"));
                faults.at("header", |faults| faults.take(parsed)).map(KeyPart::Header)
            }
            Kind::Cookie(name) => faults.at("cookie", |faults| faults.take(cookie_name(name))).map(KeyPart::Cookie),
            Kind::Query(name) if name.is_empty() || name.len() > MAX_NAME => {
                faults.note_at("query", format!("the name of a parameter has 1 to {MAX_NAME} bytes"));
                None
            }
            Kind::Query(name) => Some(KeyPart::Query(name.clone())),
            Kind::Route(_) => Some(KeyPart::Route),
            Kind::Consumer(_) => Some(KeyPart::Consumer),
            Kind::Claim(path) => faults.at("claim", |faults| faults.take(ClaimPath::parse(path))).map(KeyPart::Claim),
        }
    }
}

fn prefix(field: &str, bits: u32, default: u8, most: u8, faults: &mut Faults) -> Option<u8> {
    match u8::try_from(bits) {
        Ok(0) => Some(default),
        Ok(bits) if bits <= most => Some(bits),
        Ok(_) | Err(_) => {
            faults.note_at(field, format!("a prefix has 1 to {most} bits"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::limit_key_part::Kind;

    fn check(kinds: Vec<Kind>) -> Result<LimitKey, Vec<String>> {
        let parts: Vec<_> = kinds.into_iter().map(|kind| pb::LimitKeyPart { kind: Some(kind) }).collect();
        let mut faults = Faults::default();
        let key = LimitKey::check(&parts, false, &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        if found.is_empty() { Ok(key) } else { Err(found) }
    }

    fn address(prefix4: u32, prefix6: u32) -> Kind {
        Kind::ClientAddress(pb::AddressBlock { prefix4, prefix6 })
    }

    #[test]
    fn a_key_is_the_address_or_what_is_said() {
        assert_eq!(check(vec![]).unwrap().parts, [KeyPart::WHOLE_ADDRESS]);
        let block = KeyPart::ClientAddress { prefix4: 24, prefix6: 64 };
        let parts = vec![Kind::Route(pb::RouteKey {}), address(24, 0), Kind::Header("X-Tenant".into())];
        let header = KeyPart::Header(HeaderName::from_static("x-tenant"));
        assert_eq!(check(parts).unwrap().parts, [KeyPart::Route, block, header]);
        let wrong =
            vec![address(33, 129), Kind::Header("a b".into()), Kind::Cookie(String::new()), Kind::Query(String::new())];
        assert_eq!(
            check(wrong),
            Err([
                "/key/0/client_address/prefix4",
                "/key/0/client_address/prefix6",
                "/key/1/header",
                "/key/2/cookie",
                "/key/3/query"
            ]
            .map(String::from)
            .to_vec())
        );
        assert_eq!(check(vec![address(0, 0); MAX_PARTS + 1]), Err(vec!["/key".into()]));
    }

    #[test]
    fn only_the_address_is_known_before_anything_is_proven() {
        let route = || Kind::Route(pb::RouteKey {});
        for (kinds, expect) in [
            (vec![], true),
            (vec![route(), address(0, 0)], true),
            (vec![route()], false),
            (vec![address(0, 0), Kind::Header("x-a".into())], false),
            (vec![address(0, 0), Kind::Consumer(pb::ConsumerKey {})], false),
            (vec![address(0, 0), Kind::Claim("sub".into())], false),
        ] {
            assert_eq!(check(kinds.clone()).unwrap().is_address(), expect, "{kinds:?}");
        }
    }
}
