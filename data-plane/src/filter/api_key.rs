//! API keys: a key leads to its consumer, or nowhere.
//!
//! Whatever is wrong with a key is told alike, so that nobody learns of one that it was good once. A key is read where the
//! policy says, and taken out of all of these places before anybody behind the gateway could see it.

use super::{
    Attached,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    consumers::Known,
    context::{Context, after_scheme, cookie, strip_cookie},
    error::{Fault, Refusal},
    principal::{Principal, Whom},
};
use http::{HeaderValue, StatusCode, header, uri::PathAndQuery};
use proto::{
    matching::parameter,
    name::Name,
    policy::{ApiKeyPlace, ApiKeyPolicy},
};
use std::{
    borrow::Cow,
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What is longer is no key.
const MAX_KEY: usize = 255;

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ApiKeyFilter {
    policy: Arc<ApiKeyPolicy>,
    name: Name,
    challenge: HeaderValue,
}

/// What a request carries.
enum Carried<'c> {
    Nothing,
    Key(Cow<'c, [u8]>),
    /// More than one in one place: one of them might be meant for somebody else.
    Several,
}

// === impl ApiKeyFilter ===

impl ApiKeyFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<ApiKeyPolicy>) -> ApiKeyFilter {
        let name = attached.policy.name.clone();
        let scheme = if policy.from.contains(&ApiKeyPlace::Bearer) { "Bearer" } else { "ApiKey" };
        let challenge = HeaderValue::try_from(format!("{scheme} realm=\"{name}\""));
        ApiKeyFilter { policy: policy.clone(), name, challenge: challenge.unwrap_or(HeaderValue::from_static(scheme)) }
    }

    pub(super) fn request(&self, context: &mut Context) -> Verdict<'static> {
        self.hide(context);
        let known = match self.read(context) {
            Carried::Nothing if self.policy.optional => return Verdict::CONTINUE,
            Carried::Nothing => return Verdict::Now(Said::Absent(Challenge(self.challenge.clone()))),
            Carried::Key(key) if key.len() <= MAX_KEY => context.consumers.find(&key, now()),
            Carried::Key(_) | Carried::Several => None,
        };
        let Some(Known { consumer, credential }) = known else { return Verdict::refuse(self.refusal()) };
        if self.policy.strip {
            self.policy.from.iter().for_each(|place| strip(place, context));
        }
        let subject = format!("{}/{}", consumer.name, consumer.credential_id(credential)).into();
        let known = Principal::new("api_key", self.name.clone(), subject);
        context.principals.add(Rc::new(Principal { consumer: Whom::Known(consumer), ..known }));
        Verdict::CONTINUE
    }

    // Good or not, what stands there is for no log.
    fn hide(&self, context: &mut Context) {
        for place in &self.policy.from {
            let name = match place {
                ApiKeyPlace::Header(name) => name,
                ApiKeyPlace::Bearer => &header::AUTHORIZATION,
                ApiKeyPlace::Cookie(_) | ApiKeyPlace::Query(_) => continue,
            };
            if let header::Entry::Occupied(mut values) = context.headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    // The key at the first place that has one.
    fn read<'c>(&self, context: &'c Context) -> Carried<'c> {
        for place in &self.policy.from {
            match place {
                ApiKeyPlace::Header(name) => {
                    let mut values = context.headers.get_all(name).iter();
                    match (values.next(), values.next()) {
                        (None, _) => {}
                        (Some(value), None) => return Carried::Key(value.as_bytes().into()),
                        (Some(_), Some(_)) => return Carried::Several,
                    }
                }
                ApiKeyPlace::Bearer => {
                    let values = context.headers.get_all(header::AUTHORIZATION);
                    match (values.iter().find_map(bearer), values.iter().nth(1)) {
                        (None, _) => {}
                        (Some(key), None) => return Carried::Key(key.into()),
                        (Some(_), Some(_)) => return Carried::Several,
                    }
                }
                ApiKeyPlace::Cookie(name) => {
                    if let Some(key) = cookie(&context.headers, name) {
                        return Carried::Key(key.into());
                    }
                }
                ApiKeyPlace::Query(name) => {
                    let Some(query) = context.target.query() else { continue };
                    let mut pairs = query.split('&').filter_map(|pair| parameter(pair, name));
                    match (pairs.next(), pairs.next()) {
                        (None, _) => {}
                        (Some(key), None) => return Carried::Key(key.into()),
                        (Some(_), Some(_)) => return Carried::Several,
                    }
                }
            }
        }
        Carried::Nothing
    }

    fn refusal(&self) -> Refusal {
        Refusal {
            status: StatusCode::UNAUTHORIZED,
            fault: Fault::Client,
            reason: "api_key_invalid",
            detail: "the API key is none that is good here".into(),
            headers: vec![(header::WWW_AUTHENTICATE, self.challenge.clone())],
        }
    }
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    after_scheme(value.as_bytes(), b"Bearer")
}

// Takes out what stands at that place; everything else stays as it is, byte for byte.
fn strip(place: &ApiKeyPlace, context: &mut Context) {
    match place {
        ApiKeyPlace::Header(name) => drop(context.headers.remove(name)),
        ApiKeyPlace::Bearer => {
            // What has another word before it is for somebody else.
            if context.headers.get_all(header::AUTHORIZATION).iter().any(|value| bearer(value).is_some()) {
                context.headers.remove(header::AUTHORIZATION);
            }
        }
        ApiKeyPlace::Cookie(name) => strip_cookie(&mut context.headers, name),
        ApiKeyPlace::Query(name) => {
            let Some(query) = context.target.query() else { return };
            // However its name is written, as it was found.
            let is_it = |pair: &&str| parameter(pair, name).is_some();
            if !query.split('&').any(|pair| is_it(&pair)) {
                return;
            }
            let left: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
            let path = context.target.path();
            let target = if left.is_empty() { path.into() } else { format!("{path}?{}", left.join("&")) };
            // What is left of a target is one.
            if let Ok(target) = PathAndQuery::try_from(target) {
                context.target = target;
            }
        }
    }
}

// Seconds since 1970; a read of the clock costs less than a hundredth of what a key costs.
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{consumers::Consumers, filter::Place};
    use http::{HeaderName, Method};
    use proto::{
        json,
        policy::{Policy, PolicyKind},
        resource::{Change, Kind},
        snapshot::Snapshot,
    };
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const KEY: &str = "the-key-of-acme-1";

    fn consumers() -> Consumers {
        let put = |kind, value: Value| Change::Put(json::read(kind, &value).unwrap());
        let credential =
            |id: &str, key: &str, end: &str| json!({"id": id, "expires_at": end, "api_key": {"key": {"value": key}}});
        let credentials = [
            credential("one", &format!("{KEY}!"), ""),
            credential("old", "an-old-key-of-acme", "2020-01-01T00:00:00Z"),
        ];
        let changes = [
            put(Kind::Keyring, json!({"name": "api-keys", "pepper": {"value": "p".repeat(32)}})),
            put(Kind::Consumer, json!({"name": "acme", "credentials": credentials})),
        ];
        Consumers::of(Snapshot::empty().with(changes).unwrap().directory())
    }

    fn filter(strip: bool, optional: bool) -> ApiKeyFilter {
        let from = vec![
            ApiKeyPlace::Header(HeaderName::from_static("x-api-key")),
            ApiKeyPlace::Query("key".into()),
            ApiKeyPlace::Cookie("key".into()),
            ApiKeyPlace::Bearer,
        ];
        let kind = Arc::new(ApiKeyPolicy { from, strip, optional });
        let policy = Policy {
            name: Name::parse("keys").unwrap(),
            labels: BTreeMap::new(),
            global: false,
            shadow: false,
            kind: PolicyKind::ApiKey(kind.clone()),
        };
        ApiKeyFilter::build(
            &Attached { place: Place::Route, owner: None, route: None, policy: &policy, asks: None },
            &kind,
        )
    }

    fn context(target: &'static str, headers: &[(&'static str, &str)]) -> Context {
        let mut context = Context::of_request(Method::GET, target);
        context.consumers = consumers();
        for (name, value) in headers {
            context.headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        context
    }

    // What it says: the consumer, or how it is refused.
    fn said(filter: &ApiKeyFilter, context: &mut Context) -> String {
        match filter.request(context) {
            Verdict::Now(Said::Continue) => {
                context.principals.iter().map(|principal| principal.subject.to_string()).collect()
            }
            Verdict::Now(Said::Absent(Challenge(value))) => format!("absent {value:?}"),
            Verdict::Now(Said::Refuse(refusal)) => {
                format!("{} {}: {}", refusal.status.as_u16(), refusal.reason, refusal)
            }
            Verdict::Now(Said::Answer(_)) | Verdict::Wait(_) => panic!("it does neither"),
        }
    }

    #[test]
    fn a_key_is_found_in_each_place_and_taken_out_of_all() {
        let good = format!("{KEY}!");
        let keep = filter(false, false);
        for (target, headers, left) in [
            ("/a?b=c&b", vec![("x-api-key", good.as_str())], "/a?b=c&b"),
            ("/a?b=%20&key=the-key-of-acme-1%21&&c=+", vec![], "/a?b=%20&&c=+"),
            ("/a?%6bey=the-key-of-acme-1!", vec![], "/a"),
            ("/a?x=key", vec![("cookie", "a=b; key=the-key-of-acme-1!; c=d")], "/a?x=key"),
            ("/a?b", vec![("authorization", "bearer  the-key-of-acme-1!")], "/a?b"),
            ("/a?key=another", vec![("x-api-key", good.as_str()), ("cookie", "key=x")], "/a"),
        ] {
            let mut context = context(target, &headers);
            assert_eq!(said(&filter(true, false), &mut context), "acme/one", "{target}");
            assert_eq!(context.target, left);
            assert!(context.headers.get("x-api-key").is_none() && context.headers.get("authorization").is_none());
            assert!(!context.headers.get("cookie").is_some_and(|value| value.to_str().unwrap().contains("key")));
            assert_eq!(context.consumer().unwrap().name.as_str(), "acme");
            let mut context = super::tests::context(target, &headers);
            assert_eq!(said(&keep, &mut context), "acme/one");
            assert_eq!((context.target.to_string(), context.headers.len()), (target.into(), headers.len()));
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_key_is_told_alike() {
        let long = "x".repeat(MAX_KEY + 1);
        let mut told = Vec::new();
        for key in ["", "unknown-key-of-nobody", KEY, "the-key-of-acme-1!!", "an-old-key-of-acme", long.as_str()] {
            let mut context = context("/", &[("x-api-key", key)]);
            told.push(said(&filter(true, true), &mut context));
            assert!(!context.principals.is_known());
        }
        let good = format!("{KEY}!");
        told.push(said(&filter(true, true), &mut context("/", &[("x-api-key", &good), ("x-api-key", &good)])));
        told.push(said(&filter(true, true), &mut context("/?key=the-key-of-acme-1!&key=x", &[])));
        for other in ["Bearer x", "Basic YTpi"] {
            let both = [("authorization", "Bearer the-key-of-acme-1!"), ("authorization", other)];
            told.push(said(&filter(true, true), &mut context("/", &both)));
        }
        // The first place counts, and a good key behind a wrong one saves nobody.
        told.push(said(&filter(true, true), &mut context("/?key=the-key-of-acme-1!", &[("x-api-key", "wrong")])));
        told.dedup();
        assert_eq!(told, ["401 api_key_invalid: the API key is none that is good here"]);
        // Nobody has a key where there is no keyring.
        let mut context = Context::of_request(Method::GET, "/");
        context.headers.insert("x-api-key", HeaderValue::from_str(&good).unwrap());
        assert_eq!(said(&filter(true, false), &mut context), told[0]);
    }

    #[test]
    fn without_a_key_nobody_is_known_and_that_may_be_enough() {
        assert_eq!(
            said(&filter(true, false), &mut context("/?keys=x", &[("cookie", "keys=x")])),
            "absent \"Bearer realm=\\\"keys\\\"\""
        );
        // Of another scheme, and so for somebody else; it stays.
        for other in ["Basic the-key-of-acme-1!", "the-key-of-acme-1!", "Bearerthe-key-of-acme-1!", "Bearer"] {
            let mut context = context("/", &[("authorization", other)]);
            assert_eq!(said(&filter(true, true), &mut context), "", "{other}");
            assert_eq!(context.headers.get("authorization").unwrap(), other);
        }
        assert_eq!(said(&filter(true, true), &mut context("/", &[])), "");
    }
}
