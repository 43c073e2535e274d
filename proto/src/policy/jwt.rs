//! Trust the tokens of issuers: who they are, what a token must say, and where a request carries it.

mod issuer;
mod place;

pub use issuer::{Issuer, KeyPlace, Keys, Terms};
pub use place::TokenPlace;

use crate::{
    claims::{ClaimPath, RequiredClaim},
    invalid::Faults,
    pb, quantity,
};
use std::{collections::BTreeSet, time::Duration};

/// The most issuers of one policy.
const MAX_ISSUERS: usize = 16;
/// The most places of a token, claims that are required, and values of one.
const MAX_LIST: usize = 16;
/// How far clocks may be apart, where nothing else is said, and at most.
const SKEW: Duration = Duration::from_secs(30);
const MAX_SKEW: Duration = Duration::from_secs(600);
/// The largest token, in bytes, where nothing else is said, and at most.
const TOKEN: u64 = 8 * 1024;
const MAX_TOKEN: u64 = 32 * 1024;

/// Trust the tokens of issuers.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// The issuers, each with a name of its own.
    pub issuers: Vec<Issuer>,
    /// Where a request carries its token; the first that has one counts.
    pub from: Vec<TokenPlace>,
    /// What every token must say.
    pub required_claims: Vec<RequiredClaim>,
    /// How far clocks may be apart.
    pub clock_skew: Duration,
    /// The largest token.
    pub max_token: usize,
    /// Whether the token is taken out before the request goes on.
    pub strip: bool,
    /// Whether a request without a token goes on.
    pub optional: bool,
    /// The claim that says which consumer it is.
    pub consumer: Option<ClaimPath>,
}

// === impl Jwt ===

impl Jwt {
    pub(super) fn check(message: &pb::Jwt, faults: &mut Faults) -> Option<Jwt> {
        let before = faults.count();
        let issuers = faults.at("issuers", |faults| check_issuers(&message.issuers, faults));
        let mut from = faults.at("from", |faults| {
            check_len(message.from.len(), faults);
            let place =
                |(at, place): (usize, &pb::TokenPlace)| faults.at(at, |faults| TokenPlace::check(place, faults));
            message.from.iter().enumerate().filter_map(place).collect::<Vec<_>>()
        });
        if message.from.is_empty() {
            from.push(TokenPlace::bearer());
        }
        let required_claims = faults.at("required_claims", |faults| {
            check_len(message.required_claims.len(), faults);
            let claims = message.required_claims.iter().enumerate();
            claims.filter_map(|(at, claim)| faults.at(at, |faults| check_claim(claim, faults))).collect()
        });
        let clock_skew = faults.at("clock_skew", |faults| match message.clock_skew.as_str() {
            "" => Some(SKEW),
            text => match faults.take(quantity::age(text))? {
                skew if skew <= MAX_SKEW => Some(skew),
                _ => {
                    faults.note("clocks that are further apart than \"10m\" are to be set");
                    None
                }
            },
        });
        let max_token = faults.at("max_token", |faults| match message.max_token.as_str() {
            "" => Some(TOKEN),
            text => match faults.take(quantity::size(text))? {
                size if (1..=MAX_TOKEN).contains(&size) => Some(size),
                _ => {
                    faults.note("a token has at most \"32KiB\"");
                    None
                }
            },
        });
        let consumer = match message.consumer.as_str() {
            "" => None,
            text => faults.at("consumer", |faults| faults.take(ClaimPath::parse(text))),
        };
        if consumer.is_some() {
            faults.at("issuers", |faults| check_apart(&message.issuers, faults));
        }
        let (strip, optional) = (message.strip, message.optional);
        let (clock_skew, max_token) = (clock_skew?, usize::try_from(max_token?).ok()?);
        (faults.count() == before).then_some(Jwt {
            issuers,
            from,
            required_claims,
            clock_skew,
            max_token,
            strip,
            optional,
            consumer,
        })
    }

    /// The one of this name.
    pub fn issuer(&self, name: &str) -> Option<(usize, &Issuer)> {
        self.issuers.iter().enumerate().find(|(_, issuer)| issuer.name == name)
    }
}

fn check_issuers(messages: &[pb::TokenIssuer], faults: &mut Faults) -> Vec<Issuer> {
    match messages.len() {
        0 => faults.note("say whose tokens are trusted"),
        1..=MAX_ISSUERS => {}
        _ => faults.note(format!("at most {MAX_ISSUERS} issuers can be given")),
    }
    let mut names = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        if !names.insert(&message.issuer) {
            faults.at(at, |faults| faults.note_at("issuer", "two issuers have this name; put their keys into one set"));
        }
    }
    let check = |(at, message)| faults.at(at, |faults: &mut Faults| Issuer::check(message, faults));
    messages.iter().enumerate().filter_map(check).collect()
}

// Or who is called `b#c` by the issuer `a` is whom `a#b` calls `c`.
fn check_apart(messages: &[pb::TokenIssuer], faults: &mut Faults) {
    for (at, _) in messages.iter().enumerate().filter(|(_, message)| message.issuer.contains('#')) {
        faults.at(at, |faults| {
            faults.note_at("issuer", "in `ids` of consumers a # ends it; leave out `consumer`, or take another name");
        });
    }
}

/// A claim that must be there.
pub(super) fn check_claim(message: &pb::RequiredClaim, faults: &mut Faults) -> Option<RequiredClaim> {
    faults.at("values", |faults| check_len(message.values.len(), faults));
    let path = faults.at("claim", |faults| faults.take(ClaimPath::parse(&message.claim)))?;
    Some(RequiredClaim { path, values: message.values.clone() })
}

fn check_len(len: usize, faults: &mut Faults) {
    if len > MAX_LIST {
        faults.note(format!("at most {MAX_LIST} can be given"));
    }
}

#[cfg(test)]
mod tests;
