//! The algorithms of signatures (RFC 7518, section 3.1; RFC 8037), without `none`.

use crate::invalid::did_you_mean;
use aws_lc_rs::{hmac, signature};
use std::fmt;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

// === impl Algorithm ===

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 13] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ];

    /// Those whose keys come in pairs: whoever checks a token cannot make one.
    pub const PUBLIC: [Algorithm; 10] = {
        let [_, _, _, public @ ..] = Algorithm::ALL;
        public
    };

    /// The one of this name.
    pub fn named(name: &str) -> Option<Algorithm> {
        // As RFC 9864 calls it; of EdDSA there is no other here.
        if name == "Ed25519" {
            return Some(Algorithm::EdDsa);
        }
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Parses what an operator wrote.
    pub fn parse(text: &str) -> Result<Algorithm, String> {
        Algorithm::named(text).ok_or_else(|| {
            if text.eq_ignore_ascii_case("none") {
                return "a token without a signature is never taken".into();
            }
            let names = Algorithm::ALL.map(Algorithm::as_str);
            match did_you_mean(text, names) {
                hint if hint.is_empty() => {
                    format!("{text:?} is no algorithm of signatures; there are {}", names.join(", "))
                }
                hint => format!("{text:?} is no algorithm of signatures{hint}"),
            }
        })
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Es512 => "ES512",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Whether one secret both signs and checks.
    pub fn is_symmetric(self) -> bool {
        self.hmac().is_some()
    }

    /// What an HMAC is made with.
    pub(super) fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
            Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
            Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    /// What a signature by RSA is checked with.
    pub(super) fn rsa(self) -> Option<&'static signature::RsaParameters> {
        match self {
            Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
