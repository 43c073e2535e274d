//! The keys of an issuer that has them itself: where they are, and what there is of them now.
//!
//! They are a state of policies: all that name the same place on the same terms share one, and it is kept for as long as one
//! of them is there.

use crate::{
    fetch::{FetchError, Fetcher},
    remote::{self, Remote},
    states::States,
};
use proto::{
    jose::{KeySet, Limits, MAX_JWKS, parse_object},
    policy::{KeyPlace, Terms},
    url::Url,
};
use serde_json::Value;
use std::sync::{Arc, Weak};

/// The kind of state.
const KIND: &str = "issuer_keys";
/// The largest document in which an issuer tells of itself, in bytes.
const MAX_DISCOVERY: usize = 64 * 1024;
/// What it may be like.
const LIMITS: Limits = Limits { depth: 8, members: 2048 };

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    /// The keys.
    pub(crate) remote: Remote<KeySet>,
    place: KeyPlace,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("{0}: {1}")]
    Fetch(Url, FetchError),
    #[error("{0}: it does not tell of its issuer as JSON: {1}")]
    NotJson(Url, String),
    #[error("{0}: it says that it is the issuer {1:?}, and not {2:?}, byte for byte")]
    OtherIssuer(Url, String, String),
    #[error("{0}: its `jwks_uri` is none: {1}")]
    NoPlace(Url, String),
    #[error("{0}: {1}")]
    NoKeys(Url, String),
}

// === impl IssuerKeys ===

impl IssuerKeys {
    /// Those that stand, or new ones.
    pub(crate) fn inherit(place: &KeyPlace, terms: &Terms, states: &States) -> Arc<IssuerKeys> {
        states.inherit(KIND, format!("{place:?} {terms:?}"), || {
            let Terms { refresh, refetch: floor, max_age } = *terms;
            let remote = Remote::new(remote::Terms { refresh, floor, max_age });
            IssuerKeys { remote, place: place.clone() }
        })
    }

    /// All that a policy has.
    pub(crate) fn all(states: &States) -> Vec<Arc<IssuerKeys>> {
        states.of_kind(KIND)
    }

    /// Where they are, for people.
    pub(crate) fn place(&self) -> String {
        match &self.place {
            KeyPlace::Jwks(url) | KeyPlace::Discovery(_, url) => url.to_string(),
        }
    }

    /// Keeps them until nobody holds them any more.
    pub(crate) async fn keep(keys: Weak<IssuerKeys>, fetcher: Fetcher) {
        let Some(name) = keys.upgrade().map(|keys| keys.place()) else { return };
        let load = |keys: Arc<IssuerKeys>| {
            let fetcher = fetcher.clone();
            async move { keys.load(&fetcher).await.map_err(|error| error.to_string()) }
        };
        remote::keep(keys, |keys| &keys.remote, name, load).await;
    }

    async fn load(&self, fetcher: &Fetcher) -> Result<KeySet, KeysError> {
        let url = match &self.place {
            KeyPlace::Jwks(url) => url.clone(),
            KeyPlace::Discovery(issuer, url) => discover(issuer, url, fetcher).await?,
        };
        let text = fetcher.get(&url, MAX_JWKS).await.map_err(|error| KeysError::Fetch(url.clone(), error))?;
        let (keys, wrong) = KeySet::parse(&text).map_err(|why| KeysError::NoKeys(url.clone(), why))?;
        for why in wrong {
            tracing::warn!(%url, why, "a key of an issuer cannot be used");
        }
        // An issuer without a key is one with a fault; what there was is kept until it is too old.
        match keys.is_empty() {
            true => Err(KeysError::NoKeys(url, "there is no key in it that signatures could be checked with".into())),
            false => Ok(keys),
        }
    }
}

// The name is what makes it the issuer's own word (OpenID Connect Discovery 1.0, section 4.3).
async fn discover(issuer: &str, url: &Url, fetcher: &Fetcher) -> Result<Url, KeysError> {
    let text = fetcher.get(url, MAX_DISCOVERY).await.map_err(|error| KeysError::Fetch(url.clone(), error))?;
    let told = parse_object(&text, LIMITS).map_err(|fault| KeysError::NotJson(url.clone(), fault.to_string()))?;
    let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer {
        return Err(KeysError::OtherIssuer(url.clone(), text("issuer").into(), issuer.into()));
    }
    Url::parse(text("jwks_uri")).map_err(|why| KeysError::NoPlace(url.clone(), why))
}
