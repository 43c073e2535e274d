//! Where a request carries its token.

use crate::{fields::FRAMING, invalid::Faults, pb};
use http::{HeaderName, header};
use pb::token_place::Place;

/// The longest name of a cookie or of a query parameter, in bytes.
const MAX_NAME: usize = 128;

/// Where a request carries a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In a header, after this word and a space; where it is empty, alone.
    Header(HeaderName, String),
    /// In a cookie.
    Cookie(String),
    /// In a query parameter.
    Query(String),
}

// === impl TokenPlace ===

impl TokenPlace {
    /// Where RFC 6750 has it.
    pub(super) fn bearer() -> TokenPlace {
        TokenPlace::Header(header::AUTHORIZATION, "Bearer".into())
    }

    pub(super) fn check(message: &pb::TokenPlace, faults: &mut Faults) -> Option<TokenPlace> {
        match message.place.as_ref() {
            Some(Place::Header(header)) => faults.at("header", |faults| check_header(header, faults)),
            Some(Place::Cookie(name)) => faults.at("cookie", |faults| faults.take(plain(name)).map(TokenPlace::Cookie)),
            Some(Place::Query(name)) => faults.at("query", |faults| faults.take(plain(name)).map(TokenPlace::Query)),
            // That it is missing has been noted.
            None => None,
        }
    }
}

fn check_header(message: &pb::TokenHeader, faults: &mut Faults) -> Option<TokenPlace> {
    let name = faults.at("name", |faults| match message.name.as_str() {
        "" => Some(header::AUTHORIZATION),
        text => faults.take(header_name(text)),
    });
    let bearer = name.as_ref() == Some(&header::AUTHORIZATION);
    let scheme = match &message.scheme {
        Some(scheme) => scheme.clone(),
        None => if bearer { "Bearer" } else { "" }.into(),
    };
    if !scheme.bytes().all(|byte| byte.is_ascii_graphic()) || scheme.len() > MAX_NAME {
        faults.note_at("scheme", "it is one word of ASCII, as `Bearer`, or nothing");
        return None;
    }
    Some(TokenPlace::Header(name?, scheme))
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))?;
    match FRAMING.contains(&name) || [header::COOKIE, header::HOST].contains(&name) {
        true => Err(format!("{text:?} cannot carry a token")),
        false => Ok(name),
    }
}

fn plain(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is not a name; write letters, digits, -, _ and .")),
    }
}
