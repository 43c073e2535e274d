//! Cross-origin requests (CORS): preflights are answered here, before anybody is asked who he is, for browsers send no
//! credentials with them; on the way back, scripts of the right origins are let see the answer, whatever it is.

use super::verdict::{Said, Verdict};
use crate::{
    context::Context,
    error::{Fault, Refusal},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use proto::policy::{Cors, Origins};
use std::sync::Arc;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const ORIGIN: HeaderValue = HeaderValue::from_static("origin");
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What the policy says, and nobody else.
const SAID: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    ALLOW_PRIVATE_NETWORK,
];

/// Headers that a script may send with some values without asking, and so with others when it asks.
const USUAL: [HeaderName; 5] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_LANGUAGE, header::CONTENT_TYPE, header::RANGE];

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct CorsFilter {
    policy: Arc<Cors>,
    // The whole lists, so that a browser that keeps the answer need not ask again; `None`: whatever it asks for.
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
}

/// What a preflight asks for.
struct Preflight<'c> {
    method: &'c HeaderValue,
    headers: Option<&'c HeaderValue>,
}

/// The method of the request that a preflight asks about; `None` for what is none.
pub(crate) fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    let asked = preflight(method, headers)?;
    Method::from_bytes(asked.method.as_bytes()).ok()
}

fn preflight<'c>(method: &Method, headers: &'c HeaderMap) -> Option<Preflight<'c>> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Some(Preflight { method, headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) })
}

// === impl CorsFilter ===

impl CorsFilter {
    pub(super) fn build(policy: &Arc<Cors>) -> CorsFilter {
        let list = |names: Vec<&str>| HeaderValue::try_from(names.join(", ")).ok();
        let methods = policy.methods.as_ref().and_then(|methods| list(methods.iter().map(Method::as_str).collect()));
        let headers = policy.headers.as_ref();
        let headers = headers.and_then(|headers| list(USUAL.iter().chain(headers).map(HeaderName::as_str).collect()));
        CorsFilter { policy: policy.clone(), methods, headers }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        SAID.into_iter().chain([header::VARY]).collect()
    }

    pub(super) fn request(&self, context: &Context) -> Verdict<'static> {
        let Some(asked) = preflight(&context.method, &context.headers) else { return Verdict::CONTINUE };
        if let Err(detail) = self.judge(context, &asked) {
            let (status, fault) = (StatusCode::FORBIDDEN, Fault::Client);
            return Verdict::refuse(Refusal {
                status,
                fault,
                reason: "cors",
                detail: detail.into(),
                headers: Vec::new(),
            });
        }
        // What it says is written on the way back.
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Verdict::Now(Said::Answer(Box::new(answer)))
    }

    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        let policy = &*self.policy;
        SAID.iter().for_each(|name| drop(headers.remove(name)));
        let asked = preflight(&context.method, &context.headers);
        let anybody = policy.origins == Origins::Any;
        // What anybody gets does not vary.
        match (&asked, anybody) {
            (Some(_), _) => drop(headers.append(header::VARY, PREFLIGHT_VARY)),
            (None, false) => vary(headers),
            (None, true) => {}
        }
        let origin = match (anybody, &context.origin) {
            (true, _) => HeaderValue::from_static("*"),
            (false, Some(origin)) if policy.origins.matches(origin.as_bytes()) => origin.clone(),
            (false, Some(_) | None) => return,
        };
        let Some(asked) = asked else {
            self.allow(origin, headers);
            if let Some(exposed) = &policy.exposed {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
            return;
        };
        if self.judge(context, &asked).is_err() {
            return;
        }
        self.allow(origin, headers);
        let methods = self.methods.as_ref().unwrap_or(asked.method);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        if let Some(asked) = asked.headers {
            let allowed = self.headers.as_ref().unwrap_or(asked);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, policy.max_age.clone());
        if policy.private_network && context.headers.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
    }

    fn allow(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.policy.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }

    // Whether a script may send what it asks for, or what to do.
    fn judge(&self, context: &Context, asked: &Preflight<'_>) -> Result<(), String> {
        let policy = &*self.policy;
        let origin = context.origin.as_ref().ok_or("the request names no origin, or several")?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        if !policy.origins.matches(origin.as_bytes()) {
            return Err(format!("scripts of {} may not ask here; allowed origins are listed in `cors`", text(origin)));
        }
        let is_asked = |method: &Method| method.as_str().as_bytes() == asked.method.as_bytes();
        if policy.methods.as_ref().is_some_and(|methods| !methods.iter().any(is_asked)) {
            return Err(format!("scripts may not ask by {}; allowed methods are listed in `cors`", text(asked.method)));
        }
        let names = asked.headers.map(HeaderValue::as_bytes).unwrap_or_default().split(|byte| *byte == b',');
        for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            if !self.may_send(name) {
                let name = String::from_utf8_lossy(name);
                return Err(format!("scripts may not send the header {name}; allowed headers are listed in `cors`"));
            }
        }
        if context.headers.contains_key(REQUEST_PRIVATE_NETWORK) && !policy.private_network {
            return Err("pages of public networks may not ask here; `private_network` of `cors` lets them".into());
        }
        Ok(())
    }

    fn may_send(&self, name: &[u8]) -> bool {
        let Ok(name) = HeaderName::from_bytes(name) else { return false };
        match &self.policy.headers {
            None => name != header::AUTHORIZATION || self.policy.authorization,
            Some(listed) => USUAL.contains(&name) || listed.contains(&name),
        }
    }
}

// Says that the answer depends on who asks, unless that is said.
fn vary(headers: &mut HeaderMap) {
    let says = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    };
    if !headers.get_all(header::VARY).iter().any(says) {
        headers.append(header::VARY, ORIGIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Cors {
        Cors {
            origins: Origins::Listed(vec![proto::policy::Origin::Exact("https://a.example".into())]),
            methods: Some(vec![Method::GET, Method::PUT]),
            headers: Some(vec![HeaderName::from_static("x-a")]),
            authorization: false,
            exposed: Some(HeaderValue::from_static("x-b")),
            credentials: true,
            max_age: HeaderValue::from(60),
            private_network: false,
        }
    }

    fn context(method: Method, sent: &[(&str, &'static str)]) -> Context {
        let mut context = Context::of_request(method, "/");
        for (name, value) in sent {
            context.headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        context.origin = context.headers.get(header::ORIGIN).cloned();
        context
    }

    // The verdict on a preflight, and the headers of its answer.
    fn ask(policy: Cors, sent: &[(&str, &'static str)]) -> (Result<u16, String>, Vec<String>) {
        let filter = CorsFilter::build(&Arc::new(policy));
        let context = context(Method::OPTIONS, sent);
        let verdict = match filter.request(&context) {
            Verdict::Now(Said::Answer(answer)) => Ok(answer.status().as_u16()),
            Verdict::Now(Said::Refuse(refusal)) => Err(refusal.to_string()),
            _ => Ok(0),
        };
        let mut headers = HeaderMap::new();
        filter.response(&context, &mut headers);
        let mut told: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        (verdict, told)
    }

    #[test]
    fn a_preflight_is_told_all_that_is_allowed() {
        let sent = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "X-A,content-type"),
        ];
        let (verdict, told) = ask(policy(), &sent);
        assert_eq!(verdict, Ok(204));
        let expect = [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: accept, accept-language, content-language, content-type, range, x-a",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://a.example",
            "access-control-max-age: 60",
            "vary: origin, access-control-request-method, access-control-request-headers",
        ];
        assert_eq!(told, expect);
        // Without an origin or a method it is a request like others.
        assert_eq!(ask(policy(), &sent[..1]).0, Ok(0));
        assert_eq!(ask(policy(), &sent[1..]).0, Ok(0));
    }

    #[test]
    fn a_preflight_that_is_denied_is_told_why() {
        let vary = ["vary: origin, access-control-request-method, access-control-request-headers"];
        let method = |method| ("access-control-request-method", method);
        for (origin, asked, more, why) in [
            ("https://b.example", method("PUT"), None, "scripts of https://b.example may not ask"),
            ("https://a.example", method("put"), None, "scripts may not ask by put"),
            (
                "https://a.example",
                method("GET"),
                Some(("access-control-request-headers", "x-a, x-z")),
                "scripts may not send the header x-z",
            ),
            (
                "https://a.example",
                method("GET"),
                Some(("access-control-request-private-network", "true")),
                "pages of public networks",
            ),
        ] {
            let sent: Vec<_> = [("origin", origin), asked].into_iter().chain(more).collect();
            let (verdict, told) = ask(policy(), &sent);
            assert!(verdict.unwrap_err().starts_with(why), "{why}");
            assert_eq!(told, vary);
        }
    }

    #[test]
    fn any_header_is_any_but_the_one_that_logs_in() {
        let any = |authorization| Cors { headers: None, methods: None, authorization, ..policy() };
        let sent = |headers| {
            [
                ("origin", "https://a.example"),
                ("access-control-request-method", "QUERY"),
                ("access-control-request-headers", headers),
            ]
        };
        let (verdict, told) = ask(any(false), &sent("x-whatever"));
        assert_eq!(verdict, Ok(204));
        assert!(told.contains(&"access-control-allow-headers: x-whatever".to_string()), "{told:?}");
        assert!(told.contains(&"access-control-allow-methods: QUERY".to_string()), "{told:?}");
        assert!(ask(any(false), &sent("authorization")).0.is_err());
        assert_eq!(ask(any(true), &sent("authorization")).0, Ok(204));
    }

    #[test]
    fn the_policy_alone_says_who_may_see_an_answer() {
        let check = |policy: Cors, origin: Option<&'static str>, expect: &[&str]| {
            let filter = CorsFilter::build(&Arc::new(policy));
            let sent: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let context = context(Method::GET, &sent);
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://evil.example"));
            headers.insert(header::VARY, HeaderValue::from_static("accept"));
            filter.response(&context, &mut headers);
            let mut told: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            told.sort();
            assert_eq!(told, expect);
        };
        let allowed = [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://a.example",
            "access-control-expose-headers: x-b",
            "vary: accept",
            "vary: origin",
        ];
        check(policy(), Some("https://a.example"), &allowed);
        for other in [Some("https://b.example"), Some("null"), None] {
            check(policy(), other, &["vary: accept", "vary: origin"]);
        }
        let anybody = || Cors { origins: Origins::Any, credentials: false, exposed: None, ..policy() };
        for origin in [Some("https://b.example"), None] {
            check(anybody(), origin, &["access-control-allow-origin: *", "vary: accept"]);
        }
    }
}
