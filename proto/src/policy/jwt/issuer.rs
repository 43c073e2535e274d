//! One issuer: by which keys its tokens are checked, and for whom they must be.

use crate::{
    invalid::Faults,
    jose::{Algorithm, Key, KeySet},
    pb, quantity, secret,
    url::Url,
};
use pb::token_keys::Source;
use std::{sync::Arc, time::Duration};

/// The longest name of an issuer, an audience or a type, in bytes.
const MAX_NAME: usize = 1024;
/// The most audiences, algorithms and types of one issuer.
const MAX_LIST: usize = 32;
/// What public keys are for, where nothing else is said.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
/// How often keys are loaded, how soon again, and how old they may get, where nothing else is said.
const REFRESH: Duration = Duration::from_secs(5 * 60);
const REFETCH: Duration = Duration::from_secs(10);
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Where an issuer tells of itself (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// One whose tokens are trusted.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name, as tokens have it in `iss`, byte for byte.
    pub name: String,
    /// One of whom a token must be for; empty: for anybody.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// By what they are checked.
    pub keys: Keys,
    /// What a token may say that it is (`typ`), in lower case; empty: `jwt`, `at+jwt` or nothing.
    pub types: Vec<String>,
    /// Whether a token may be valid for ever.
    pub may_last: bool,
}

/// By what tokens are checked.
#[derive(Clone, Debug)]
pub enum Keys {
    /// They are given.
    Given(Arc<KeySet>),
    /// The issuer has them.
    Remote(KeyPlace, Terms),
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Here.
    Jwks(Url),
    /// The issuer of this name says it here.
    Discovery(String, Url),
}

/// How the keys of an issuer are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How often they are loaded.
    pub refresh: Duration,
    /// How soon they are loaded again for a token whose key is not among them.
    pub refetch: Duration,
    /// How old they may get while the issuer is down.
    pub max_age: Duration,
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn check(message: &pb::TokenIssuer, faults: &mut Faults) -> Option<Issuer> {
        let name = message.issuer.clone();
        if name.is_empty() || name.len() > MAX_NAME {
            faults.note_at("issuer", format!("give what its tokens have in `iss`, 1 to {MAX_NAME} bytes"));
        }
        check_names("audiences", &message.audiences, faults);
        match (message.audiences.is_empty(), message.any_audience) {
            (true, false) => faults.note_at(
                "audiences",
                "say for whom its tokens must be, or a token for another service is good here too; \
                 `any_audience: true` allows that",
            ),
            (false, true) => faults.note_at("any_audience", "there are `audiences`; give one or the other"),
            (true, true) | (false, false) => {}
        }
        check_names("types", &message.types, faults);
        let keys = faults.at("keys", |faults| match &message.keys {
            Some(keys) => Keys::check(keys, &name, faults),
            None => {
                faults.note("say by which keys its tokens are checked, as {discovery: {}}");
                None
            }
        });
        let is_secret = matches!(message.keys.as_ref().and_then(|keys| keys.source.as_ref()), Some(Source::Secret(_)));
        let algorithms = faults.at("algorithms", |faults| check_algorithms(&message.algorithms, is_secret, faults));
        let (keys, algorithms) = (keys?, algorithms?);
        if let Keys::Given(keys) = &keys
            && !keys.fits(&algorithms)
        {
            let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            faults.note_at("algorithms", format!("none of the keys is for {}", names.join(", ")));
        }
        Some(Issuer {
            name,
            audiences: message.audiences.clone(),
            algorithms,
            keys,
            types: message.types.iter().map(|typ| typ.to_ascii_lowercase()).collect(),
            may_last: message.may_last,
        })
    }
}

fn check_names(field: &str, names: &[String], faults: &mut Faults) {
    faults.at(field, |faults| {
        if names.len() > MAX_LIST {
            faults.note(format!("at most {MAX_LIST} can be given"));
        }
        for (at, _) in names.iter().enumerate().filter(|(_, name)| name.is_empty() || name.len() > MAX_NAME) {
            faults.note_at(at, format!("it has 1 to {MAX_NAME} bytes"));
        }
    });
}

// Whoever has a public key could sign with it, were it taken for a secret: the two never come together.
fn check_algorithms(names: &[String], is_secret: bool, faults: &mut Faults) -> Option<Vec<Algorithm>> {
    if names.is_empty() {
        return Some(if is_secret { vec![Algorithm::Hs256] } else { ALGORITHMS.to_vec() });
    }
    let before = faults.count();
    let check = |(at, name): (usize, &String)| {
        faults.at(at, |faults| {
            let algorithm = faults.take(Algorithm::parse(name))?;
            match (algorithm.is_symmetric(), is_secret) {
                (true, false) => faults.note("it is for a `secret`, and the keys are public"),
                (false, true) => faults.note("it is for public keys, and there is a `secret`"),
                (true, true) | (false, false) => {}
            }
            Some(algorithm)
        })
    };
    let algorithms: Vec<Algorithm> = names.iter().enumerate().filter_map(check).collect();
    (faults.count() == before).then_some(algorithms)
}

// === impl Keys ===

impl Keys {
    fn check(message: &pb::TokenKeys, issuer: &str, faults: &mut Faults) -> Option<Keys> {
        let terms = Terms::check(message, faults);
        let given = |keys: KeySet| Some(Keys::Given(Arc::new(keys)));
        let place = match message.source.as_ref() {
            Some(Source::Jwks(text)) => return faults.at("jwks", |faults| parse_jwks(text, faults)).and_then(given),
            Some(Source::Pem(text)) => {
                return faults.at("pem", |faults| faults.take(KeySet::parse_pem(text))).and_then(given);
            }
            Some(Source::Secret(message)) => {
                return faults.at("secret", |faults| {
                    let text = secret::check(Some(message), faults)?;
                    faults.take(Key::secret(text.as_bytes())).map(KeySet::of).and_then(given)
                });
            }
            Some(Source::JwksUrl(text)) => {
                faults.at("jwks_url", |faults| faults.take(Url::parse(text))).map(KeyPlace::Jwks)
            }
            Some(Source::Discovery(_)) => faults.at("discovery", |faults| {
                let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
                let url = faults
                    .take(Url::parse(&url).map_err(|fault| format!("the name of the issuer is the place: {fault}")));
                url.map(|url| KeyPlace::Discovery(issuer.into(), url))
            }),
            // That it is missing has been noted.
            None => None,
        };
        Some(Keys::Remote(place?, terms?))
    }
}

fn parse_jwks(text: &str, faults: &mut Faults) -> Option<KeySet> {
    let (keys, wrong) = faults.take(KeySet::parse(text.as_bytes()))?;
    let before = faults.count();
    wrong.into_iter().for_each(|why| faults.note(why));
    if keys.keys().iter().flat_map(Key::algorithms).any(Algorithm::is_symmetric) {
        faults.note("a secret would be seen by everybody who reads the configuration; give it as `secret`");
    } else if keys.is_empty() && faults.count() == before {
        faults.note("there is no key in it that signatures could be checked with");
    }
    (faults.count() == before).then_some(keys)
}

// === impl Terms ===

impl Terms {
    fn check(message: &pb::TokenKeys, faults: &mut Faults) -> Option<Terms> {
        let pb::TokenKeys { refresh, refetch, max_age, source } = message;
        let is_remote = matches!(source, Some(Source::JwksUrl(_) | Source::Discovery(_)));
        let mut check = |field: &str, text: &str, default: Duration| {
            faults.at(field, |faults| match text {
                "" => Some(default),
                _ if !is_remote => {
                    faults.note("the keys stand here; only those of `jwks_url` and `discovery` are loaded");
                    None
                }
                text => faults.take(quantity::duration(text)),
            })
        };
        let (refresh, refetch, max_age) = (
            check("refresh", refresh, REFRESH),
            check("refetch", refetch, REFETCH),
            check("max_age", max_age, MAX_AGE),
        );
        let terms = Terms { refresh: refresh?, refetch: refetch?, max_age: max_age? };
        if terms.refetch > terms.refresh {
            faults.note_at("refetch", "it is not longer than `refresh`");
        }
        if terms.max_age < terms.refresh {
            faults.note_at(
                "max_age",
                "it is not shorter than `refresh`, or keys would be too old before they are loaded",
            );
        }
        Some(terms)
    }
}
