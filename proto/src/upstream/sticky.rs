//! The cookie by which a client stays with its endpoint, checked.

use super::duration;
use crate::{hash_key::cookie_name, invalid::Faults, pb, secret};
use std::{fmt, time::Duration};

/// What stands in a name of a cookie that clients take only if it is `Secure`.
const SECURE_NAMES: [&str; 2] = ["__Secure-", "__Host-"];

/// The cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// What follows the value, but for `Secure`: `; Path=/` and so on.
    pub attributes: String,
    /// Whether it is `Secure` however the client came.
    pub always_secure: bool,
    /// What the digests of addresses are made with; empty where nothing was given.
    pub secret: StickySecret,
}

/// What digests are made with.
#[derive(Clone, PartialEq, Eq)]
pub struct StickySecret(Box<[u8]>);

// === impl StickyCookie ===

impl StickyCookie {
    pub(super) fn check(message: &pb::StickyCookie, upstream: &str, faults: &mut Faults) -> Option<StickyCookie> {
        let name = match message.name.as_str() {
            "" => Some(format!("portico-{upstream}")),
            text => faults.at("name", |faults| faults.take(cookie_name(text))),
        };
        let ttl = duration("ttl", &message.ttl, faults);
        if ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            faults.note_at("ttl", "a cookie lives for whole seconds: 1s or longer");
        }
        let path = match message.path.as_str() {
            "" => "/",
            path => path,
        };
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            faults.note_at("path", format!("{path:?} is not a path that a cookie can have, as \"/orders\""));
        }
        if name.as_ref().is_some_and(|name| name.starts_with("__Host-")) && path != "/" {
            faults.note_at("path", "clients take a cookie whose name begins with __Host- only with the path \"/\"");
        }
        let same_site = match message.same_site.as_str() {
            "" | "lax" => "Lax",
            "strict" => "Strict",
            "none" => "None",
            other => {
                faults.note_at("same_site", format!("{other:?} is none of \"strict\", \"lax\" and \"none\""));
                "Lax"
            }
        };
        let key = message.secret.as_ref();
        let key = key.and_then(|key| faults.at("secret", |faults| secret::check(Some(key), faults)));
        let name = name?;
        let mut attributes = format!("; Path={path}");
        if let Some(ttl) = ttl {
            attributes.push_str(&format!("; Max-Age={}", ttl.as_secs()));
        }
        if message.http_only.unwrap_or(true) {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str("; SameSite=");
        attributes.push_str(same_site);
        let always_secure = same_site == "None" || SECURE_NAMES.iter().any(|prefix| name.starts_with(prefix));
        Some(StickyCookie {
            name,
            attributes,
            always_secure,
            secret: StickySecret(key.unwrap_or_default().as_bytes().into()),
        })
    }
}

// === impl StickySecret ===

impl StickySecret {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for StickySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickySecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: pb::StickyCookie) -> Result<StickyCookie, Vec<String>> {
        let mut faults = Faults::default();
        let cookie = StickyCookie::check(&message, "orders", &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        cookie.filter(|_| found.is_empty()).ok_or(found)
    }

    #[test]
    fn the_defaults_are_safe() {
        let cookie = check(pb::StickyCookie::default()).unwrap();
        assert_eq!((cookie.name.as_str(), cookie.always_secure), ("portico-orders", false));
        assert_eq!(cookie.attributes, "; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn what_was_said_stands_in_the_cookie() {
        let secret = Some(pb::Secret { source: Some(pb::secret::Source::Value("hush".into())) });
        let cookie = check(pb::StickyCookie {
            name: "__Secure-id".into(),
            ttl: "2h".into(),
            path: "/orders".into(),
            same_site: "strict".into(),
            http_only: Some(false),
            secret,
        });
        let cookie = cookie.unwrap();
        assert_eq!((cookie.name.as_str(), cookie.always_secure), ("__Secure-id", true));
        assert_eq!(cookie.attributes, "; Path=/orders; Max-Age=7200; SameSite=Strict");
        assert_eq!(cookie.secret.as_bytes(), b"hush");
        assert!(!format!("{cookie:?}").contains("hush"));
        assert!(check(pb::StickyCookie { same_site: "none".into(), ..Default::default() }).unwrap().always_secure);
    }

    #[test]
    fn nothing_can_be_written_into_the_header() {
        let check = |name: &str, ttl: &str, path: &str, same_site: &str, pointer: &str| {
            let (name, ttl, path, same_site) = (name.into(), ttl.into(), path.into(), same_site.into());
            let found = check(pb::StickyCookie { name, ttl, path, same_site, ..Default::default() }).unwrap_err();
            assert_eq!(found, [pointer]);
        };
        check("a;b", "", "", "", "/name");
        check("a=b", "", "", "", "/name");
        check("", "10ms", "", "", "/ttl");
        check("", "", "orders", "", "/path");
        check("", "", "/a; Domain=example.com", "", "/path");
        check("", "", "/a\r\nX: y", "", "/path");
        check("", "", "", "Lax; x", "/same_site");
        check("__Host-id", "", "/a", "", "/path");
    }
}
