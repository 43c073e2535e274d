//! What a request has in common with others that are to go the same way.

use super::{Affinity, attempts::Attempts, call::Call, rendezvous::KeyHash, session::SessionId};
use crate::context::{Context, Values, cookie};
use http::HeaderValue;
use proto::{
    hash_key::HashKey,
    matching::{Scheme, parameter},
    upstream::Balance,
};
use std::net::IpAddr;

/// Which endpoint a request is for.
pub(crate) fn affinity(balance: &Balance, context: &Context) -> Affinity {
    match balance {
        Balance::RoundRobin | Balance::LeastRequest | Balance::Random => Affinity::None,
        Balance::ConsistentHash(balance) => {
            key_hash(&balance.key, &Values::of(context)).map_or(Affinity::None, Affinity::Key)
        }
        Balance::StickyCookie(sticky) => {
            let id = cookie(&context.headers, &sticky.name).and_then(SessionId::parse);
            id.map_or(Affinity::None, Affinity::Session)
        }
    }
}

/// The cookie by which a client stays with the endpoint that answered, unless it has that already.
pub(crate) fn session_cookie(call: &Call<'_>, scheme: Scheme, attempts: &Attempts) -> Option<HeaderValue> {
    let Balance::StickyCookie(sticky) = &call.pool.spec().balance else { return None };
    let id = call.pool.session_id(attempts.endpoint()?)?;
    if matches!(call.affinity, Affinity::Session(had) if had == id) {
        return None;
    }
    let secure = if sticky.always_secure || scheme == Scheme::Https { "; Secure" } else { "" };
    // What is in it was checked with the configuration.
    HeaderValue::try_from(format!("{}={id}{}{secure}", sticky.name, sticky.attributes)).ok()
}

/// The hash of the request's key, if it has one.
pub(crate) fn key_hash(key: &HashKey, values: &Values<'_>) -> Option<KeyHash> {
    let context = values.context();
    let hash = |key: &[u8]| (!key.is_empty()).then(|| KeyHash::of(key));
    match key {
        HashKey::Header(name) => hash(&context.header(name)?),
        HashKey::Cookie(name) => hash(cookie(&context.headers, name)?),
        HashKey::Query(name) => hash(&parameter(context.target.query()?, name)?),
        HashKey::ClientAddress => match context.client {
            IpAddr::V4(address) => hash(&address.octets()),
            IpAddr::V6(address) => hash(&address.octets()),
        },
        HashKey::Path => hash(context.path().as_bytes()),
        HashKey::Template(template) => {
            let mut text = String::new();
            template.render(values, &mut text).ok()?;
            hash(text.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, Method};
    use proto::template::{Target, Template};

    #[test]
    fn a_key_is_the_same_where_the_request_says_the_same() {
        let check = |key: HashKey, target: &'static str, headers: &[(&str, &str)], expect: Option<&[u8]>| {
            let mut context = Context::of_request(Method::GET, target);
            for (name, value) in headers {
                let name: HeaderName = name.parse().unwrap();
                context.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(key_hash(&key, &Values::of(&context)), expect.map(KeyHash::of), "{key:?} {target} {headers:?}");
        };
        let header = || HashKey::Header(HeaderName::from_static("x-user"));
        check(header(), "/", &[("x-user", "ann")], Some(b"ann"));
        check(header(), "/", &[("x-user", "ann"), ("x-user", "bob"), ("x-user", "eve")], Some(b"ann, bob, eve"));
        check(header(), "/", &[("x-user", "\u{ff}")], Some("\u{ff}".as_bytes()));
        check(header(), "/", &[("x-user", "")], None);
        check(header(), "/", &[], None);
        check(HashKey::Cookie("id".into()), "/", &[("cookie", "a=b; id=7")], Some(b"7"));
        check(HashKey::Cookie("id".into()), "/", &[("cookie", "id=")], None);
        check(HashKey::Query("q".into()), "/?a&q=x%20y", &[], Some(b"x y"));
        check(HashKey::Query("q".into()), "/", &[], None);
        check(HashKey::ClientAddress, "/", &[], Some(&[127, 0, 0, 1]));
        check(HashKey::Path, "/a/b?c", &[], Some(b"/a/b"));
        let template = || {
            let text = "{header.x-user}/{query.q}";
            HashKey::Template(Template::parse(text, Target::HeaderValue, Some(&[])).unwrap())
        };
        check(template(), "/?q=1", &[("x-user", "ann")], Some(b"ann/1"));
        check(template(), "/", &[("x-user", "ann")], None);
        check(template(), "/?q=%0a", &[("x-user", "ann")], None);
    }
}
