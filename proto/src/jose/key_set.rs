//! A set of keys: that of an issuer, or what an operator wrote down.

use super::{
    Algorithm, Key, Limits,
    json::parse_object,
    jwk::{self, Unused},
    key::Material,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::Value;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
        OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// The most keys of a set.
pub const MAX_KEYS: usize = 100;
/// The largest document with a set, in bytes.
pub const MAX_JWKS: usize = 256 * 1024;

/// Certificate chains make keys large, but not deep.
const LIMITS: Limits = Limits { depth: 8, members: 8192 };

/// Keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

// === impl KeySet ===

impl KeySet {
    /// The set of one key.
    pub fn of(key: Key) -> KeySet {
        KeySet { keys: vec![key] }
    }

    /// Parses a JWK Set, or one JWK. Keys for something else, and of kinds that are not known here, are left out; what
    /// is wrong with others comes beside.
    pub fn parse(text: &[u8]) -> Result<(KeySet, Vec<String>), String> {
        if text.len() > MAX_JWKS {
            return Err(format!("a set of keys has at most {} KiB", MAX_JWKS >> 10));
        }
        let object = parse_object(text, LIMITS).map_err(|fault| format!("it is no set of keys: {fault}"))?;
        let objects = match object.get("keys") {
            Some(Value::Array(keys)) if keys.len() > MAX_KEYS => {
                return Err(format!("a set has at most {MAX_KEYS} keys, and this one {}", keys.len()));
            }
            Some(Value::Array(keys)) => keys.iter().map(Value::as_object).collect(),
            Some(_) => return Err("its `keys` is not a list".into()),
            None if object.contains_key("kty") => vec![Some(&object)],
            None => return Err("it has no `keys`".into()),
        };
        let (mut keys, mut wrong) = (Vec::new(), Vec::new());
        for (at, object) in objects.into_iter().enumerate() {
            match object.map(jwk::parse) {
                Some(Ok(key)) => keys.push(key),
                Some(Err(Unused::Other)) => {}
                Some(Err(Unused::Wrong(why))) => wrong.push(format!("key {at}: {why}")),
                None => wrong.push(format!("key {at}: it is not an object")),
            }
        }
        Ok((KeySet { keys }, wrong))
    }

    /// Parses public keys as PEM (`BEGIN PUBLIC KEY`). They have no ids, and so fit tokens with any.
    pub fn parse_pem(text: &str) -> Result<KeySet, String> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            match section.map_err(|_| "it is not PEM".to_string())? {
                (SectionKind::PublicKey, der) => keys.push(parse_der(&der)?),
                (SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey | SectionKind::PrivateKey, _) => {
                    return Err("it is a private key, which stays with who signs; give the public one \
                                (`openssl pkey -in key.pem -pubout`)"
                        .into());
                }
                _ => return Err("it holds more than public keys (`BEGIN PUBLIC KEY`)".into()),
            }
        }
        match keys.len() {
            0 => Err("there is no public key in it (`BEGIN PUBLIC KEY`)".into()),
            count if count > MAX_KEYS => Err(format!("a set has at most {MAX_KEYS} keys")),
            _ => Ok(KeySet { keys }),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether a key fits one of these algorithms.
    pub fn fits(&self, algorithms: &[Algorithm]) -> bool {
        self.keys.iter().flat_map(Key::algorithms).any(|algorithm| algorithms.contains(&algorithm))
    }

    /// The keys that may have signed a token which names this one, or none: those of the name and, for who writes keys
    /// without names, those without.
    pub fn candidates<'s>(&'s self, kid: Option<&'s str>) -> impl Iterator<Item = &'s Key> {
        self.keys.iter().filter(move |key| match (kid, &key.kid) {
            (Some(kid), Some(of_key)) => **of_key == *kid,
            (None, _) | (_, None) => true,
        })
    }
}

fn parse_der(der: &[u8]) -> Result<Key, String> {
    let wrong = || "it is no public key".to_string();
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| wrong())?;
    if !rest.is_empty() {
        return Err(wrong());
    }
    let oid = &info.algorithm.algorithm;
    let bytes = &*info.subject_public_key.data;
    if *oid == OID_PKCS1_RSAENCRYPTION {
        return match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => {
                Key::build(None, None, &Material::Rsa { modulus: rsa.modulus, exponent: rsa.exponent })
            }
            Ok(_) | Err(_) => Err(wrong()),
        };
    }
    if *oid == OID_SIG_ED25519 {
        return Key::build(None, None, &Material::Ed25519(bytes));
    }
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 => Key::build(None, None, &Material::P256(bytes)),
            Some(curve) if curve == OID_NIST_EC_P384 => Key::build(None, None, &Material::P384(bytes)),
            Some(curve) if curve == OID_NIST_EC_P521 => Key::build(None, None, &Material::P521(bytes)),
            Some(_) | None => Err("its curve is none of P-256, P-384 and P-521".into()),
        };
    }
    Err("it is for none of RSA, ECDSA and Ed25519".into())
}
