//! What whoever is asked on behalf of a request is told of it: who asks, and of the client's headers only those that are
//! named.

use super::{Context, X_REQUEST_ID};
use http::{HeaderMap, HeaderName, header};

/// What all of them are told; strangers have no say in it. By `Via` a request is known that comes round.
pub(crate) static TOLD: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    X_REQUEST_ID,
    header::VIA,
];

impl Context {
    /// What they all are told, and more of its headers, each once.
    pub(crate) fn told<'n>(&self, more: impl IntoIterator<Item = &'n HeaderName>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(16);
        for name in TOLD.iter().chain(more) {
            if !headers.contains_key(name) {
                headers.extend(self.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        headers
    }
}
