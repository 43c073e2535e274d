//! Tokens of issuers: who a request is from, by the signature of somebody whom the configuration trusts.
//!
//! A token that a worker has seen is not checked again until it expires or the keys change. One whose key is not known has
//! the issuer asked, at most so often; it waits for that, and is refused only when the issuer has answered and does not know
//! the key either. While the issuer cannot say, the request is told to come again: a token that may be good is never
//! called bad.

mod bearer;
mod seen;

pub(crate) use seen::token_counts;

use super::{
    Attached,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    context::Context,
    error::{Fault, Refusal},
    issuer_keys::IssuerKeys,
    jose::{Demands, Jws, TokenFault},
    principal::{Principal, Whom},
    remote::Looked,
    states::States,
};
use bearer::Carried;
use http::{HeaderName, HeaderValue, StatusCode, header};
use proto::{
    claims::Claims,
    jose::KeySet,
    name::Name,
    policy::{Issuer, Jwt, Keys},
};
use seen::Seen;
use serde_json::Value;
use std::{
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// When whoever is told to come again may do so.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// What a token is where it does not say so, and what it may say.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct JwtFilter {
    policy: Arc<Jwt>,
    name: Name,
    // Of each issuer.
    keys: Vec<Source>,
    challenge: HeaderValue,
}

#[derive(Debug)]
enum Source {
    Given(Arc<KeySet>),
    Remote(Arc<IssuerKeys>),
}

/// Why a token is not taken.
enum Fail {
    /// It is wrong.
    Token(TokenFault),
    /// Nobody can say: there are no keys of the issuer now.
    NoKeys,
}

// A token whose claims are as they must be, by an issuer of the policy.
struct Claimed<'t> {
    jws: Jws<'t>,
    claims: Claims,
    issuer: usize,
    until: u64,
}

impl From<TokenFault> for Fail {
    fn from(fault: TokenFault) -> Fail {
        Fail::Token(fault)
    }
}

// === impl JwtFilter ===

impl JwtFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<Jwt>, states: &States) -> JwtFilter {
        let source = |issuer: &Issuer| match &issuer.keys {
            Keys::Given(keys) => Source::Given(keys.clone()),
            Keys::Remote(place, terms) => Source::Remote(IssuerKeys::inherit(place, terms, states)),
        };
        let name = attached.policy.name.clone();
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{name}\""));
        JwtFilter {
            keys: policy.issuers.iter().map(source).collect(),
            policy: policy.clone(),
            name,
            challenge: challenge.unwrap_or(HeaderValue::from_static("Bearer")),
        }
    }

    pub(super) fn depends_on(&self) -> Option<String> {
        let is_remote = |source: &&Source| matches!(source, Source::Remote(_));
        self.keys.iter().find(is_remote).map(|_| format!("keys: the issuers of {} have them", self.name))
    }

    pub(super) fn request<'a>(&'a self, context: &'a mut Context) -> Verdict<'a> {
        bearer::hide(&self.policy.from, context);
        let (place, token) = match bearer::find(&self.policy.from, context) {
            Carried::None if self.policy.optional => return Verdict::CONTINUE,
            Carried::None => return Verdict::Now(Said::Absent(Challenge(self.challenge.clone()))),
            Carried::Several => return Verdict::Now(Said::Refuse(Box::new(self.refuse_several()))),
            Carried::Token(place, token) => (place, token),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let known = seen::find(&self.policy, &token, |issuer| self.generation(issuer), now);
        let judged = match known {
            Some(principal) => Ok(principal),
            None => match self.judge(&token, now) {
                Err(Fail::Token(TokenFault::UnknownKey)) => {
                    let token = token.into_owned();
                    return Verdict::Wait(Box::pin(async move {
                        let judged = self.ask(&token, now).await;
                        self.say(judged, place, context)
                    }));
                }
                judged => judged,
            },
        };
        Verdict::Now(self.say(judged, place, context))
    }

    fn say(&self, judged: Result<Rc<Principal>, Fail>, place: usize, context: &mut Context) -> Said {
        match judged {
            Ok(principal) => {
                if self.policy.strip {
                    bearer::strip(&self.policy.from[place], context);
                }
                context.principals.add(principal);
                Said::Continue
            }
            Err(fail) => Said::Refuse(Box::new(self.refuse(&fail))),
        }
    }

    /// Judges a token by the keys that there are.
    fn judge(&self, token: &[u8], now: u64) -> Result<Rc<Principal>, Fail> {
        let claimed = self.claimed(token, now)?;
        let generation = self.generation(claimed.issuer);
        match &self.keys[claimed.issuer] {
            Source::Given(keys) => self.verify(&claimed, keys)?,
            Source::Remote(keys) => match keys.remote.current() {
                Some(keys) => self.verify(&claimed, &keys)?,
                // The issuer has not been asked yet, or is down for longer than its keys are good.
                None => return Err(TokenFault::UnknownKey.into()),
            },
        }
        let Claimed { claims, issuer, until, .. } = claimed;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().into();
        let consumer = self.whom(&claims, issuer);
        let principal = Rc::new(Principal { claims, consumer, ..Principal::new("jwt", self.name.clone(), subject) });
        let seen = Seen { policy: self.policy.clone(), issuer, generation, until, principal: principal.clone() };
        seen::keep(token, seen);
        Ok(principal)
    }

    // What an issuer calls somebody is that issuer's, whatever another says.
    fn whom(&self, claims: &Claims, issuer: usize) -> Whom {
        let called = self.policy.consumer.as_ref().and_then(|path| path.find(claims)?.as_str());
        match (called, self.policy.issuers.get(issuer)) {
            (Some(called), Some(issuer)) => Whom::Called(format!("{}#{called}", issuer.name).into()),
            (Some(_), None) | (None, _) => Whom::Nobody,
        }
    }

    /// The same, when the issuer has been asked for a key that is not known.
    async fn ask(&self, token: &[u8], now: u64) -> Result<Rc<Principal>, Fail> {
        let claimed = self.claimed(token, now)?;
        let Source::Remote(keys) = &self.keys[claimed.issuer] else { return Err(TokenFault::UnknownKey.into()) };
        let kid = claimed.jws.kid.as_deref().unwrap_or_default();
        match keys.remote.look_for(kid).await {
            Looked::Missing => Err(TokenFault::UnknownKey.into()),
            Looked::Unknown => Err(Fail::NoKeys),
            Looked::Again => {
                let judged = self.judge(token, now);
                if let Err(Fail::Token(TokenFault::UnknownKey)) = judged {
                    keys.remote.note_missing(kid);
                }
                judged
            }
        }
    }

    // What is cheap to say no to comes first: everything but the signature.
    fn claimed<'t>(&self, token: &'t [u8], now: u64) -> Result<Claimed<'t>, Fail> {
        let policy = &self.policy;
        if token.len() > policy.max_token {
            return Err(TokenFault::TooLarge.into());
        }
        let jws = Jws::parse(token)?;
        let claims = jws.unproven()?;
        let name = claims.get("iss").and_then(Value::as_str).ok_or(TokenFault::Issuer)?;
        let (at, issuer) = policy.issuer(name).ok_or(TokenFault::Issuer)?;
        if !issuer.algorithms.contains(&jws.algorithm) {
            return Err(TokenFault::Algorithm.into());
        }
        check_type(&jws, issuer)?;
        let demands = Demands {
            issuer: &issuer.name,
            audiences: &issuer.audiences,
            may_last: issuer.may_last,
            skew: policy.clock_skew.as_secs(),
            required: &policy.required_claims,
        };
        let until = demands.check(&claims, now)?;
        Ok(Claimed { jws, claims, issuer: at, until })
    }

    fn verify(&self, claimed: &Claimed<'_>, keys: &KeySet) -> Result<(), TokenFault> {
        claimed.jws.verify(keys, &self.policy.issuers[claimed.issuer].algorithms)
    }

    // Which keys of the issuer there are.
    fn generation(&self, issuer: usize) -> u64 {
        match self.keys.get(issuer) {
            Some(Source::Remote(keys)) => keys.remote.generation(),
            Some(Source::Given(_)) | None => 0,
        }
    }

    fn refuse(&self, fail: &Fail) -> Refusal {
        match fail {
            Fail::Token(fault) => Refusal {
                status: StatusCode::UNAUTHORIZED,
                fault: Fault::Client,
                reason: fault.reason(),
                detail: fault.to_string().into(),
                headers: self.challenged("invalid_token", &fault.to_string()),
            },
            Fail::NoKeys => Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                fault: Fault::Gateway,
                reason: "token_keys_unavailable",
                detail: "the keys of the token's issuer cannot be had now; try again later".into(),
                headers: vec![(header::RETRY_AFTER, RETRY_AFTER)],
            },
        }
    }

    // An upstream might read another of them.
    fn refuse_several(&self) -> Refusal {
        let detail = "the request carries more than one token where one can be; send one";
        Refusal {
            status: StatusCode::BAD_REQUEST,
            fault: Fault::Client,
            reason: "token_repeated",
            detail: detail.into(),
            headers: self.challenged("invalid_request", detail),
        }
    }

    // RFC 6750, section 3.
    fn challenged(&self, error: &str, description: &str) -> Vec<(HeaderName, HeaderValue)> {
        let challenge =
            format!("Bearer realm=\"{}\", error=\"{error}\", error_description=\"{description}\"", self.name);
        HeaderValue::try_from(challenge).map(|value| (header::WWW_AUTHENTICATE, value)).into_iter().collect()
    }
}

// A token for one use shall not be taken for another (RFC 8725, section 3.11).
fn check_type(jws: &Jws<'_>, issuer: &Issuer) -> Result<(), TokenFault> {
    let fits = match jws.typ() {
        None => issuer.types.is_empty(),
        Some(typ) if issuer.types.is_empty() => TYPES.iter().any(|of| of.eq_ignore_ascii_case(typ)),
        Some(typ) => issuer.types.iter().any(|of| of.eq_ignore_ascii_case(typ)),
    };
    if fits { Ok(()) } else { Err(TokenFault::Type) }
}

#[cfg(test)]
mod tests;
