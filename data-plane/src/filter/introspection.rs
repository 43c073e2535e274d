//! Who a request is from, by a token that its issuer is asked about.
//!
//! A token is good only while the issuer says so, which was at most the policy's `cache` ago, and never beyond the token's
//! own end. An issuer that does not answer lets nobody pass: nobody knows whether the token is good.

use super::{
    Attached,
    asking::{Question, Unanswered, ask},
    sequence::{Caller, Lent},
    verdict::{Challenge, Said as Outcome, Verdict},
};
use crate::{
    context::{Context, Trace},
    error::{Fault, Refusal},
    introspected::{Digest, Introspected, Said},
    pool::{DownloadBody, Pool},
    principal::{Principal, Whom},
    states::States,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use proto::{
    claims::Claims,
    jose::{Limits, parse_object},
    name::Name,
    policy::{ConsumerClaim, Introspection, form},
};
use serde_json::Value;
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::timeout;

/// The largest token.
const MAX_TOKEN: usize = 8 * 1024;
/// The largest answer, and how much may be in it.
const MAX_ANSWER: usize = 64 * 1024;
const LIMITS: Limits = Limits { depth: 16, members: 2048 };
/// How long it is remembered at most that a token is not good: it may be one that is about to be.
const INACTIVE: Duration = Duration::from_secs(10);
/// When whoever is told to come again may do so.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct IntrospectionFilter {
    name: Name,
    policy: Arc<Introspection>,
    // `None` only where nobody is asked.
    pool: Option<Arc<Pool>>,
    introspected: Arc<Introspected>,
    challenge: HeaderValue,
    invalid: HeaderValue,
}

/// What a request carries.
enum Carried<'h> {
    Nothing,
    Malformed,
    Token(&'h str),
}

// === impl IntrospectionFilter ===

impl IntrospectionFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<Introspection>, states: &States) -> IntrospectionFilter {
        let name = attached.policy.name.clone();
        // Whoever asks somebody else, or as somebody else, may be told something else.
        let asker = policy.authorization.as_ref().map_or(Digest::of(b""), |value| Digest::of(value.as_bytes()));
        let asking = format!("{} {} {asker:?}", policy.upstream, policy.path);
        let challenge = |more: &str| HeaderValue::try_from(format!("Bearer realm=\"{name}\"{more}"));
        IntrospectionFilter {
            challenge: challenge("").unwrap_or(HeaderValue::from_static("Bearer")),
            invalid: challenge(", error=\"invalid_token\"").unwrap_or(HeaderValue::from_static("Bearer")),
            introspected: Introspected::inherit(states, &name, &asking),
            name,
            policy: policy.clone(),
            pool: attached.asks.cloned(),
        }
    }

    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    pub(super) fn depends_on(&self) -> String {
        format!("what upstream {} says of a token, which {} asks", self.policy.upstream, self.name)
    }

    pub(super) fn request<'a>(&'a self, context: &'a mut Context, lent: Lent<'a>) -> Verdict<'a> {
        let token = match carried(&context.headers) {
            Carried::Nothing if self.policy.optional => return Verdict::CONTINUE,
            Carried::Nothing => return Verdict::Now(Outcome::Absent(Challenge(self.challenge.clone()))),
            Carried::Malformed => return Verdict::Now(self.refuse()),
            Carried::Token(token) => token,
        };
        let digest = Digest::of(token.as_bytes());
        if let Some(said) = self.introspected.find(&digest, lent.now) {
            return Verdict::Now(self.judge(&said, context));
        }
        let body = Bytes::from(format!("token={}&token_type_hint=access_token", form(token)));
        Verdict::Wait(Box::pin(async move {
            let (this, trace) = (self, context.trace.clone());
            let ask =
                || async { this.ask(&body, &trace, lent.caller).await.unwrap_or((Said::Nothing, Duration::ZERO)) };
            let said = self.introspected.learn(digest, self.policy.timeout, ask).await;
            self.judge(&said, context)
        }))
    }

    // What the issuer says, and how long that counts.
    async fn ask(
        &self,
        body: &Bytes,
        trace: &Trace,
        caller: Option<Caller<'_>>,
    ) -> Result<(Said, Duration), Unanswered> {
        let (pool, caller) = self.pool.as_ref().zip(caller).ok_or(Unanswered)?;
        let policy = &self.policy;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, policy.host.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.extend(policy.authorization.iter().map(|value| (header::AUTHORIZATION, value.clone())));
        let question = Question {
            pool,
            method: &Method::POST,
            target: &policy.path,
            headers: &headers,
            body: Some(body.clone()),
            within: policy.timeout,
            trace,
        };
        let asking = async {
            let (parts, body) = ask(question, caller).await?.into_parts();
            if parts.status != StatusCode::OK {
                return Err(Unanswered);
            }
            read(body).await
        };
        let answer = timeout(policy.timeout, asking).await.map_err(|_| Unanswered)??;
        let claims = parse_object(&answer, LIMITS).map_err(|_| Unanswered)?;
        Ok(self.weigh(claims, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    // Whether the answer makes a token good, and how long it counts.
    fn weigh(&self, claims: Claims, now: Duration) -> (Said, Duration) {
        let inactive = (Said::Inactive, self.policy.cache.min(INACTIVE));
        let time = |name| claims.get(name).and_then(Value::as_f64);
        let is_good = claims.get("active") == Some(&Value::Bool(true))
            // What is there and is no time, is no token.
            && ["exp", "nbf"].iter().all(|name| claims.get(*name).is_none_or(Value::is_number))
            && time("nbf").is_none_or(|from| from <= now.as_secs_f64())
            && subject(&claims).is_some();
        if !is_good {
            return inactive;
        }
        let left = time("exp").map_or(self.policy.cache.as_secs_f64(), |until| until - now.as_secs_f64());
        match Duration::try_from_secs_f64(left) {
            Ok(left) if !left.is_zero() => (Said::Active(Arc::new(claims)), left.min(self.policy.cache)),
            Ok(_) | Err(_) => inactive,
        }
    }

    fn judge(&self, said: &Said, context: &mut Context) -> Outcome {
        let claims = match said {
            Said::Active(claims) => claims,
            Said::Inactive => return self.refuse(),
            Said::Nothing => return unavailable(),
        };
        let Some(subject) = subject(claims).filter(|_| self.is_meant(claims)) else { return self.refuse() };
        if self.policy.strip {
            context.headers.remove(header::AUTHORIZATION);
        }
        context.principals.add(Rc::new(Principal {
            method: "introspection",
            policy: self.name.clone(),
            subject: subject.into(),
            consumer: self.whom(claims),
            claims: Claims::clone(claims),
        }));
        Outcome::Continue
    }

    fn whom(&self, claims: &Claims) -> Whom {
        let Some(ConsumerClaim { issuer, claim }) = &self.policy.consumer else { return Whom::Nobody };
        let is_theirs = claims.get("iss").is_none_or(|said| said == issuer.as_str());
        match claim.find(claims).and_then(Value::as_str).filter(|_| is_theirs) {
            Some(called) => Whom::Called(format!("{issuer}#{called}").into()),
            None => Whom::Nobody,
        }
    }

    fn is_meant(&self, claims: &Claims) -> bool {
        let accepts = |audience: &Value| self.policy.audiences.iter().any(|one| audience == one.as_str());
        self.policy.audiences.is_empty()
            || match claims.get("aud") {
                Some(Value::Array(audiences)) => audiences.iter().any(accepts),
                Some(audience) => accepts(audience),
                None => false,
            }
    }

    fn refuse(&self) -> Outcome {
        Outcome::Refuse(Box::new(Refusal {
            status: StatusCode::UNAUTHORIZED,
            fault: Fault::Client,
            reason: "token_inactive",
            detail: "the token is not good, or not for this; get another one".into(),
            headers: vec![(header::WWW_AUTHENTICATE, self.invalid.clone())],
        }))
    }
}

fn unavailable() -> Outcome {
    Outcome::Refuse(Box::new(Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        fault: Fault::Upstream,
        reason: "introspection_unavailable",
        detail: "whoever issued the token does not say whether it is good; try again later".into(),
        headers: vec![(header::RETRY_AFTER, RETRY_AFTER)],
    }))
}

// Who it is: the first of these that is there (RFC 7662, 2.2).
fn subject(claims: &Claims) -> Option<&str> {
    let name = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    name("sub").or_else(|| name("username")).or_else(|| name("client_id"))
}

// `Authorization: Bearer`, and nothing that a token cannot have (RFC 6750, 2.1).
fn carried(headers: &HeaderMap) -> Carried<'_> {
    const SCHEME: &str = "bearer";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, several) = match (values.next(), values.next()) {
        (None, _) => return Carried::Nothing,
        (Some(value), second) => (value, second.is_some()),
    };
    let Ok(text) = value.to_str() else { return Carried::Malformed };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if several {
        return Carried::Malformed;
    }
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Carried::Nothing;
    }
    let token = token.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    match (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(plain) {
        true => Carried::Token(token),
        false => Carried::Malformed,
    }
}

async fn read(mut body: DownloadBody) -> Result<BytesMut, Unanswered> {
    let mut answer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(|_| Unanswered)?.into_data() {
            if answer.len() + piece.len() > MAX_ANSWER {
                return Err(Unanswered);
            }
            answer.extend_from_slice(&piece);
        }
    }
    Ok(answer)
}
