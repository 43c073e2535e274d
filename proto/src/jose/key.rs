//! A key, with one check for each algorithm that it fits.

use super::Algorithm;
use aws_lc_rs::{
    error::Unspecified,
    hmac,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm},
};
use std::{fmt, ops::RangeInclusive};

/// How long a modulus of RSA may be, in bits. Below, signatures can be forged; above, a check takes too long.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A key that signatures are checked with.
#[derive(Clone)]
pub struct Key {
    /// Its id.
    pub kid: Option<Box<str>>,
    checks: Vec<(Algorithm, Check)>,
}

#[derive(Clone)]
enum Check {
    // Boxed, for it is large.
    Mac(Box<hmac::Key>),
    Signature(ParsedPublicKey),
}

/// What a key is made of.
pub(super) enum Material<'m> {
    Secret(&'m [u8]),
    Rsa { modulus: &'m [u8], exponent: &'m [u8] },
    // An uncompressed point.
    P256(&'m [u8]),
    P384(&'m [u8]),
    P521(&'m [u8]),
    Ed25519(&'m [u8]),
}

// === impl Key ===

impl Key {
    /// A secret that both sides have.
    pub fn secret(secret: &[u8]) -> Result<Key, String> {
        Key::build(None, None, &Material::Secret(secret))
    }

    pub(super) fn build(kid: Option<&str>, alg: Option<Algorithm>, material: &Material<'_>) -> Result<Key, String> {
        let checks = material.checks()?;
        let checks: Vec<_> = checks.into_iter().filter(|(of, _)| alg.is_none_or(|alg| alg == *of)).collect();
        match alg {
            Some(alg) if checks.is_empty() => Err(format!("the key does not fit its own `alg` {alg}")),
            Some(_) | None => Ok(Key { kid: kid.map(Into::into), checks }),
        }
    }

    /// The algorithms that it fits.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.checks.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether it signed the message so.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Unspecified> {
        let (_, check) = self.checks.iter().find(|(fits, _)| *fits == algorithm).ok_or(Unspecified)?;
        match check {
            // It takes the same time whatever is wrong.
            Check::Mac(key) => hmac::verify(key, message, signature),
            Check::Signature(key) => key.verify_sig(message, signature),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &Vec::from_iter(self.algorithms())).finish()
    }
}

// === impl Material ===

impl Material<'_> {
    fn checks(&self) -> Result<Vec<(Algorithm, Check)>, String> {
        let one = |algorithm, by: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            let key = ParsedPublicKey::new(by, bytes).map_err(|_| "it is no point of its curve".to_string())?;
            Ok(vec![(algorithm, Check::Signature(key))])
        };
        match *self {
            Material::Secret(secret) => {
                // RFC 7518, 3.2: as long as the hash, or longer.
                let mac = |algorithm: Algorithm| {
                    let by = algorithm.hmac()?;
                    (secret.len() >= by.tag_len())
                        .then(|| (algorithm, Check::Mac(Box::new(hmac::Key::new(by, secret)))))
                };
                let checks: Vec<_> = Algorithm::ALL.into_iter().filter_map(mac).collect();
                match checks.is_empty() {
                    true => Err("a secret has at least 32 bytes for HS256, 48 for HS384 and 64 for HS512".into()),
                    false => Ok(checks),
                }
            }
            Material::Rsa { modulus, exponent } => {
                let (n, e) = (without_zeros(modulus), without_zeros(exponent));
                let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
                if !RSA_BITS.contains(&bits) {
                    return Err(format!("an RSA key has 2048 to 8192 bits, and this one {bits}"));
                }
                let pair = |algorithm: Algorithm| {
                    let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(algorithm.rsa()?);
                    Some(parsed.map(|key| (algorithm, Check::Signature(key))))
                };
                let checks: Result<_, _> = Algorithm::ALL.into_iter().filter_map(pair).collect();
                checks.map_err(|_| "it is no RSA key".into())
            }
            Material::P256(point) => one(Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => one(Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, point),
            Material::P521(point) => one(Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, point),
            Material::Ed25519(bytes) => one(Algorithm::EdDsa, &signature::ED25519, bytes),
        }
    }
}

// Some issuers write a zero before the number, as ASN.1 does.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
