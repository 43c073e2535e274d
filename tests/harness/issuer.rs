//! An issuer of tokens: a server with its keys, and what signs with one.

use super::upstream::{Seen, Upstream};
use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use proto::jose::base64url::encode as url;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// An issuer.
pub(crate) struct Issuer {
    server: Upstream,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    name: Mutex<String>,
    keys: Mutex<Vec<Value>>,
    // In place of the keys.
    serves: Mutex<Option<Vec<u8>>>,
    is_down: AtomicBool,
    loads: AtomicUsize,
}

/// What signs tokens.
pub(crate) struct Signer {
    kid: String,
    key: SigningKey,
}

enum SigningKey {
    Pair(Ed25519KeyPair),
    Secret(Box<hmac::Key>),
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Issuer {
    /// One that tells of itself and has no keys yet.
    pub(crate) fn start() -> Issuer {
        let state = Arc::new(State::default());
        let answering = state.clone();
        let server = Upstream::answering(move |seen| answering.answer(seen));
        *state.name.lock().unwrap() = format!("http://{}", server.address);
        Issuer { server, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn name(&self) -> String {
        self.state.name.lock().unwrap().clone()
    }

    /// Says of itself that this is its name.
    pub(crate) fn set_name(&self, name: &str) {
        *self.state.name.lock().unwrap() = name.into();
    }

    /// Has these keys, and no others.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        *self.state.keys.lock().unwrap() = signers.iter().map(|signer| signer.public()).collect();
    }

    /// Answers with these bytes whoever asks for the keys.
    pub(crate) fn serve(&self, bytes: Vec<u8>) {
        *self.state.serves.lock().unwrap() = Some(bytes);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, SeqCst);
    }

    /// How often its keys were asked for, or would have been.
    pub(crate) fn loads(&self) -> usize {
        self.state.loads.load(SeqCst)
    }
}

impl State {
    fn answer(&self, seen: &Seen) -> Vec<u8> {
        let is_discovery = seen.target == "/.well-known/openid-configuration";
        let is_down = self.is_down.load(SeqCst);
        if !is_discovery || is_down {
            self.loads.fetch_add(1, SeqCst);
        }
        if is_down {
            return b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        let name = self.name.lock().unwrap().clone();
        let body = match is_discovery {
            true => json!({"issuer": name, "jwks_uri": format!("{name}/keys")}),
            false => match &*self.serves.lock().unwrap() {
                Some(bytes) => return bytes.clone(),
                None => json!({"keys": *self.keys.lock().unwrap()}),
            },
        };
        let body = body.to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}

impl Signer {
    /// One with a key of its own.
    pub(crate) fn new(kid: &str) -> Signer {
        Signer { kid: kid.into(), key: SigningKey::Pair(Ed25519KeyPair::generate().unwrap()) }
    }

    /// One with a secret.
    pub(crate) fn secret(secret: &str) -> Signer {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Signer { kid: "secret".into(), key: SigningKey::Secret(Box::new(key)) }
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let alg = match self.key {
            SigningKey::Pair(_) => "EdDSA",
            SigningKey::Secret(_) => "HS256",
        };
        let header = json!({"alg": alg, "kid": self.kid, "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", url(header.as_bytes()), url(claims.to_string().as_bytes()));
        let signature = match &self.key {
            SigningKey::Pair(pair) => url(pair.sign(signed.as_bytes()).as_ref()),
            SigningKey::Secret(key) => url(hmac::sign(key, signed.as_bytes()).as_ref()),
        };
        format!("{signed}.{signature}")
    }

    fn public(&self) -> Value {
        match &self.key {
            SigningKey::Pair(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": url(pair.public_key().as_ref())})
            }
            SigningKey::Secret(_) => panic!("a secret is not published"),
        }
    }
}
