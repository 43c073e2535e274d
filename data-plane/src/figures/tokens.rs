//! Figures of tokens, for `examples/tokens.rs`: what the policy `jwt` needs for one that it has seen, for one that it has not,
//! and how much of that is the signature.

use crate::{
    context::Context,
    filter::{Attached, Filters, Joined, Lent, Personal, Place},
    principal::Principals,
    states::States,
};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use futures_util::FutureExt;
use http::{HeaderValue, Method, header};
use proto::{
    invalid::Faults,
    jose::{Algorithm, KeySet, base64url},
    json, pb,
    policy::Policy,
};
use serde_json::{Value, json};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Tokens by one algorithm, and the policy that judges them.
pub struct Tokens {
    /// The algorithm.
    pub algorithm: &'static str,
    filters: Filters,
    keys: KeySet,
    tokens: Vec<String>,
}

// === impl Tokens ===

impl Tokens {
    /// So many tokens each by RS256, ES256 and EdDSA.
    pub fn all(count: usize) -> [Tokens; 3] {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
        let point = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made");
        let ed = Ed25519KeyPair::generate().expect("a key can be made");
        let public = rsa.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
        let (x, y) = point.public_key().as_ref()[1..].split_at(32);
        let by_rsa = |signed: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).expect("it can sign");
            signature
        };
        let by_point = |signed: &[u8]| point.sign(&random, signed).expect("it can sign").as_ref().to_vec();
        let by_ed = |signed: &[u8]| ed.sign(signed).as_ref().to_vec();
        let crv = |kty: &str, crv: &str, x: &[u8]| json!({"kty": kty, "crv": crv, "x": base64url::encode(x)});
        let mut ec = crv("EC", "P-256", x);
        ec["y"] = base64url::encode(y).into();
        let rsa = json!({"kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(e)});
        [
            Tokens::new(Algorithm::Rs256, &rsa, count, by_rsa),
            Tokens::new(Algorithm::Es256, &ec, count, by_point),
            Tokens::new(Algorithm::EdDsa, &crv("OKP", "Ed25519", ed.public_key().as_ref()), count, by_ed),
        ]
    }

    fn new(algorithm: Algorithm, jwk: &Value, count: usize, sign: impl Fn(&[u8]) -> Vec<u8>) -> Tokens {
        let algorithm = algorithm.as_str();
        let keys = json!({"jwks": jwk.to_string()});
        let issuer = json!({"issuer": "https://login.example.com/", "audiences": ["orders"], "keys": keys});
        let policy = json!({"name": "login", "jwt": {"issuers": [issuer]}});
        let mut faults = Faults::default();
        let message: pb::Policy = json::read_as("Policy", &policy, &mut faults);
        let policy = Policy::check(&message, &mut faults).expect("the figures' own policy is right");
        let attached = Attached { place: Place::Global, owner: None, route: None, asks: None, policy: &policy };
        let token = |at: usize| {
            let header = json!({"alg": algorithm, "kid": "key-2026-11", "typ": "JWT"}).to_string();
            let claims = json!({
                "iss": "https://login.example.com/", "aud": ["orders", "web"], "sub": format!("user-{at}"),
                "exp": u32::MAX, "iat": 1_700_000_000, "scope": "orders:read orders:write", "azp": "shop",
                "realm_access": {"roles": ["reader", "writer", "offline"]}, "email": "ann@example.com",
            });
            let signed = format!(
                "{}.{}",
                base64url::encode(header.as_bytes()),
                base64url::encode(claims.to_string().as_bytes())
            );
            let signature = base64url::encode(&sign(signed.as_bytes()));
            format!("{signed}.{signature}")
        };
        Tokens {
            algorithm,
            filters: Filters::build([attached], &States::default()),
            keys: KeySet::parse(jwk.to_string().as_bytes()).expect("the figures' own key is right").0,
            tokens: (0..count).map(token).collect(),
        }
    }

    /// The time of one signature's check, and nothing else.
    pub fn signature(&self) -> Duration {
        let algorithm = Algorithm::named(self.algorithm).expect("it is its name");
        let parts = |token: &'_ String| {
            let (signed, signature) = token.rsplit_once('.').expect("it has three parts");
            (signed.as_bytes().to_vec(), base64url::decode(signature.as_bytes()).expect("it is encoded"))
        };
        let parts: Vec<(Vec<u8>, Vec<u8>)> = self.tokens.iter().map(parts).collect();
        let key = &self.keys.keys()[0];
        let begun = Instant::now();
        for (signed, signature) in &parts {
            assert!(key.verify(algorithm, black_box(signed), black_box(signature)).is_ok());
        }
        begun.elapsed() / count(parts.len())
    }

    /// The time of the policy for a token that was not seen. Once only: afterwards they were.
    pub fn unseen(&self) -> Duration {
        self.time(self.tokens.iter())
    }

    /// The same for one that was, so many times.
    pub fn seen(&self, times: usize) -> Duration {
        self.time(self.tokens.iter().rev().take(1).cycle().take(times))
    }

    fn time<'t>(&self, tokens: impl Iterator<Item = &'t String>) -> Duration {
        let mut context = Context::of_request(Method::GET, "/orders/7");
        let bearer = |token| HeaderValue::try_from(format!("Bearer {token}")).expect("it is base64url");
        let values: Vec<HeaderValue> = tokens.map(bearer).collect();
        let asked = values.len();
        let begun = Instant::now();
        for value in values {
            context.headers.insert(header::AUTHORIZATION, value);
            context.principals = Principals::default();
            let (personal, joined) = (Personal::default(), Joined::default());
            let lent = Lent { now: begun, caller: None, personal: &personal, joined: &joined };
            let said = self.filters.request(&mut context, lent).now_or_never();
            assert!(matches!(said, Some(Ok(None))) && context.principals.is_known(), "a token was refused");
        }
        begun.elapsed() / count(asked)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
