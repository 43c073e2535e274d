//! API keys: where a request carries one, and what becomes of it.

use crate::{fields::FRAMING, invalid::Faults, pb};
use http::{HeaderName, header};
use pb::api_key_place::Place;

/// The most places of one policy.
const MAX_PLACES: usize = 8;
/// The longest name of a cookie or of a query parameter, in bytes.
const MAX_NAME: usize = 128;
/// Where a key is, where nothing else is said.
const USUAL: HeaderName = HeaderName::from_static("x-api-key");

/// Have clients say by an API key which consumer they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyPolicy {
    /// Where a request carries its key; the first that has one counts.
    pub from: Vec<ApiKeyPlace>,
    /// Whether the key is taken out before the request goes on.
    pub strip: bool,
    /// Whether a request without a key goes on.
    pub optional: bool,
}

/// Where a request carries an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    /// In a header.
    Header(HeaderName),
    /// In a cookie.
    Cookie(String),
    /// In a query parameter.
    Query(String),
    /// In `Authorization`, after `Bearer`.
    Bearer,
}

// === impl ApiKeyPolicy ===

impl ApiKeyPolicy {
    pub(super) fn check(message: &pb::ApiKeyPolicy, faults: &mut Faults) -> Option<ApiKeyPolicy> {
        let before = faults.count();
        let mut from = faults.at("from", |faults| {
            if message.from.len() > MAX_PLACES {
                faults.note(format!("at most {MAX_PLACES} places can be given"));
            }
            let check = |(at, place): (usize, &pb::ApiKeyPlace)| faults.at(at, |faults| check_place(place, faults));
            message.from.iter().enumerate().filter_map(check).collect::<Vec<_>>()
        });
        if message.from.is_empty() {
            from.push(ApiKeyPlace::Header(USUAL));
        }
        let (strip, optional) = (message.strip.unwrap_or(true), message.optional);
        (faults.count() == before).then_some(ApiKeyPolicy { from, strip, optional })
    }
}

fn check_place(message: &pb::ApiKeyPlace, faults: &mut Faults) -> Option<ApiKeyPlace> {
    // That it is missing has been noted.
    match message.place.as_ref()? {
        Place::Header(name) => faults.at("header", |faults| faults.take(header_name(name)).map(ApiKeyPlace::Header)),
        Place::Cookie(name) => faults.at("cookie", |faults| faults.take(plain(name)).map(ApiKeyPlace::Cookie)),
        Place::Query(name) => faults.at("query", |faults| faults.take(plain(name)).map(ApiKeyPlace::Query)),
        Place::Bearer(pb::BearerKey {}) => Some(ApiKeyPlace::Bearer),
    }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))?;
    match FRAMING.contains(&name) || [header::COOKIE, header::HOST].contains(&name) {
        true => Err(format!("{text:?} cannot carry an API key")),
        false => Ok(name),
    }
}

// As a cookie's name may be (RFC 6265, 4.1.1).
fn plain(text: &str) -> Result<String, String> {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    match (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is not such a name: 1 to {MAX_NAME} letters, digits and !#$%&'*+-.^_`|~")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(place: Place) -> pb::ApiKeyPlace {
        pb::ApiKeyPlace { place: Some(place) }
    }

    #[test]
    fn a_key_stands_in_its_usual_header_and_is_taken_out() {
        let mut faults = Faults::default();
        let usual = ApiKeyPolicy::check(&pb::ApiKeyPolicy::default(), &mut faults).unwrap();
        let expect = ApiKeyPolicy { from: vec![ApiKeyPlace::Header(USUAL)], strip: true, optional: false };
        assert_eq!((usual, faults.count()), (expect, 0));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let header = |name: &str| place(Place::Header(name.into()));
        let message = pb::ApiKeyPolicy {
            from: vec![
                header("X-Key"),
                header("a b"),
                header("cookie"),
                header("transfer-encoding"),
                place(Place::Bearer(pb::BearerKey {})),
                place(Place::Cookie("a=b".into())),
                place(Place::Query(String::new())),
                place(Place::Query("x".repeat(MAX_NAME + 1))),
            ],
            strip: Some(false),
            optional: true,
        };
        let mut faults = Faults::default();
        assert!(ApiKeyPolicy::check(&message, &mut faults).is_none());
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        let expect = ["1/header", "2/header", "3/header", "5/cookie", "6/query", "7/query"];
        assert_eq!(found, expect.map(|place| format!("/from/{place}")));
        let mut faults = Faults::default();
        let message = pb::ApiKeyPolicy { from: vec![header("x-key"); MAX_PLACES + 1], ..Default::default() };
        assert!(ApiKeyPolicy::check(&message, &mut faults).is_none());
    }
}
