//! Tokens: JSON Web Signatures in compact form (RFC 7515) and their claims (RFC 7519), by the advice of RFC 8725.
//!
//! Pure: bytes, keys and a time go in. What a token says of itself is used to choose among what the configuration
//! allows, and for nothing else: its `alg` must be one that was configured and that the key fits, its `kid` is compared
//! and never looked up elsewhere, and `jku`, `x5u`, `jwk` and `x5c` are not read at all. What must be understood and is
//! not (`crit`, `b64`) refuses a token. A claim is seen only through a signature that holds.

mod claims;
mod jws;

pub(crate) use claims::Demands;
pub(crate) use jws::Jws;

#[cfg(test)]
mod tests;

/// Why a token is not taken: a text for whoever sent it, which tells nothing that is not in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error("the token is too large")]
    TooLarge,
    #[error("the token is not three parts of base64url")]
    Malformed,
    #[error("the token's header is not an object of JSON within its limits")]
    Header,
    #[error("the token demands what is not known here")]
    Critical,
    #[error("the token is of another type")]
    Type,
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    #[error("no key is known that could have signed the token")]
    UnknownKey,
    #[error("the token's signature does not hold")]
    Signature,
    #[error("the token's claims are not an object of JSON within its limits")]
    Claims,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token does not say until when it is valid")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("a time of the token is not a time")]
    Time,
    #[error("the token lacks a claim that is required")]
    Required,
}

// === impl TokenFault ===

impl TokenFault {
    /// A word for it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            TokenFault::TooLarge => "token_too_large",
            TokenFault::Malformed => "token_malformed",
            TokenFault::Header => "token_header",
            TokenFault::Critical => "token_critical",
            TokenFault::Type => "token_type",
            TokenFault::Algorithm => "token_algorithm",
            TokenFault::UnknownKey => "token_key_unknown",
            TokenFault::Signature => "token_signature",
            TokenFault::Claims => "token_claims",
            TokenFault::Issuer => "token_issuer",
            TokenFault::Audience => "token_audience",
            TokenFault::NoExpiry => "token_no_expiry",
            TokenFault::Expired => "token_expired",
            TokenFault::NotYet => "token_not_yet_valid",
            TokenFault::Time => "token_time",
            TokenFault::Required => "token_claim_missing",
        }
    }
}
