//! Where a request carries its token, and how it is taken out.

use crate::context::{Context, after_scheme, cookie, strip_cookie};
use http::{header, uri::PathAndQuery};
use proto::{matching::parameter, policy::TokenPlace};
use std::borrow::Cow;

/// What a request carries.
pub(super) enum Carried<'c> {
    /// No token.
    None,
    /// Two where there can be one.
    Several,
    /// A token, at the place of this number.
    Token(usize, Cow<'c, [u8]>),
}

/// The token at the first place that has one.
pub(super) fn find<'c>(places: &[TokenPlace], context: &'c Context) -> Carried<'c> {
    for (at, place) in places.iter().enumerate() {
        match place {
            TokenPlace::Header(name, scheme) => {
                let mut values = context.headers.get_all(name).iter();
                match (values.next(), values.next()) {
                    (Some(_), Some(_)) => return Carried::Several,
                    (Some(value), None) => {
                        if let Some(token) = after_scheme(value.as_bytes(), scheme.as_bytes()) {
                            return Carried::Token(at, token.into());
                        }
                    }
                    (None, _) => {}
                }
            }
            TokenPlace::Cookie(name) => {
                if let Some(token) = cookie(&context.headers, name) {
                    return Carried::Token(at, token.into());
                }
            }
            TokenPlace::Query(name) => {
                let Some(query) = context.target.query() else { continue };
                if let Some(token) = parameter(query, name) {
                    return match pairs(query).filter(|pair| is_named(pair, name)).nth(1) {
                        Some(_) => Carried::Several,
                        None => Carried::Token(at, Cow::Owned(token)),
                    };
                }
            }
        }
    }
    Carried::None
}

/// Good or not, what stands in a header there is for no log.
pub(super) fn hide(places: &[TokenPlace], context: &mut Context) {
    for place in places {
        if let TokenPlace::Header(name, _) = place
            && let header::Entry::Occupied(mut values) = context.headers.entry(name)
        {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

/// Takes out what stands at that place.
pub(super) fn strip(place: &TokenPlace, context: &mut Context) {
    match place {
        TokenPlace::Header(name, _) => drop(context.headers.remove(name)),
        TokenPlace::Cookie(name) => strip_cookie(&mut context.headers, name),
        TokenPlace::Query(name) => {
            let Some(query) = context.target.query() else { return };
            let left: Vec<&str> = pairs(query).filter(|pair| !is_named(pair, name)).collect();
            let path = context.target.path();
            let target = if left.is_empty() { path.into() } else { format!("{path}?{}", left.join("&")) };
            if let Ok(target) = PathAndQuery::try_from(target) {
                context.target = target;
            }
        }
    }
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

// Named as the one that is found by the name, however it is written.
fn is_named(pair: &str, name: &str) -> bool {
    parameter(pair, name).is_some()
}
