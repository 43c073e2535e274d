//! What a token must say.

use super::TokenFault;
use proto::claims::{Claims, RequiredClaim};
use serde_json::Value;

/// Until when, where a token may say nothing of it.
const FOR_EVER: u64 = u64::MAX;

/// What the claims of a token must be.
pub(crate) struct Demands<'d> {
    /// Who must have made it.
    pub(crate) issuer: &'d str,
    /// One of whom it must be for; empty: for anybody.
    pub(crate) audiences: &'d [String],
    /// Whether it may be valid for ever.
    pub(crate) may_last: bool,
    /// How far clocks may be apart, in seconds.
    pub(crate) skew: u64,
    /// More that it must say.
    pub(crate) required: &'d [RequiredClaim],
}

// === impl Demands ===

impl Demands<'_> {
    /// Until when the claims are good, in seconds since 1970, or what is wrong with them.
    pub(crate) fn check(&self, claims: &Claims, now: u64) -> Result<u64, TokenFault> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err(TokenFault::Issuer);
        }
        if !self.audiences.is_empty() && !self.is_meant(claims.get("aud")) {
            return Err(TokenFault::Audience);
        }
        let until = match time(claims, "exp")? {
            Some(expires) => expires.saturating_add(self.skew),
            None if self.may_last => FOR_EVER,
            None => return Err(TokenFault::NoExpiry),
        };
        if now >= until {
            return Err(TokenFault::Expired);
        }
        for begin in ["nbf", "iat"] {
            if time(claims, begin)?.is_some_and(|begin| begin > now.saturating_add(self.skew)) {
                return Err(TokenFault::NotYet);
            }
        }
        match self.required.iter().all(|required| required.is_met(claims)) {
            true => Ok(until),
            false => Err(TokenFault::Required),
        }
    }

    fn is_meant(&self, audience: Option<&Value>) -> bool {
        let meant = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|one| one == text));
        match audience {
            Some(Value::Array(values)) => values.iter().any(meant),
            Some(value) => meant(value),
            None => false,
        }
    }
}

// A fraction of a second is allowed (RFC 7519, section 2) and lets nobody in for longer.
fn time(claims: &Claims, name: &str) -> Result<Option<u64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) if (0.0..9e15).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(TokenFault::Time),
        },
        Some(_) => Err(TokenFault::Time),
    }
}
