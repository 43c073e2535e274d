//! What a request is counted by, for the kinds that limit.
//!
//! The place where the policy is attached and its name are a part of each key, and so nothing is lost when a configuration
//! changes, and no two policies count in the same bucket.

use super::{Attached, Place, Stage};
use crate::{
    context::{Context, cookie},
    limiter::{Key, KeyHasher, Limiter},
    states::States,
};
use proto::{
    limit_key::{KeyPart, LimitKey},
    matching::parameter,
};
use serde_json::Value;
use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// What a request is counted by.
#[derive(Debug)]
pub(super) struct Counting {
    /// Where.
    pub(super) limiter: Arc<Limiter>,
    key: LimitKey,
    // What is the same for all requests.
    begun: KeyHasher,
    // Whether each consumer has a count of its own, for the policy is attached to consumers.
    personal: bool,
}

/// What tells apart what is remembered for policies: where one is attached, and its name.
pub(super) fn identity(attached: &Attached<'_>) -> String {
    let place = match attached.place {
        Place::Global => "global",
        Place::Route => "route",
        Place::Upstream => "upstream",
        Place::Consumer => "consumer",
    };
    // Names have no slashes.
    let owner = attached.owner.map_or("", |owner| owner.as_str());
    format!("{place}/{owner}/{}", attached.policy.name.as_str())
}

// === impl Counting ===

impl Counting {
    pub(super) fn build(key: &LimitKey, attached: &Attached<'_>, states: &States) -> Counting {
        let limiter = states.inherit(Limiter::STATE, String::new(), Limiter::default);
        let personal = attached.place == Place::Consumer;
        let mut begun = limiter.key().part(identity(attached).as_bytes());
        if key.parts.contains(&KeyPart::Route) && !personal {
            begun = begun.part(attached.route.map_or("", |route| route.as_str()).as_bytes());
        }
        let mut key = key.clone();
        if personal && key.by_default {
            key.parts.clear();
        }
        Counting { limiter, key, begun, personal }
    }

    /// Before authentication, if the client's address is all that is asked.
    pub(super) fn stage(&self) -> Stage {
        if self.key.is_address() && !self.personal { Stage::Address } else { Stage::Limit }
    }

    /// The key of a request; `None` if it is not counted.
    pub(super) fn key(&self, context: &Context) -> Option<Key> {
        let mut key = self.begun.clone();
        if self.personal {
            // It is known, or the policy would not be asked.
            key = key.part(context.consumer().map_or("", |consumer| consumer.name.as_str()).as_bytes());
        }
        for part in &self.key.parts {
            key = match (part, value(part, context)) {
                (KeyPart::Route, _) if self.personal => {
                    key.part(context.routed.as_ref().map_or("", |routed| routed.name.as_str()).as_bytes())
                }
                (KeyPart::Route, _) => key,
                (KeyPart::ClientAddress { prefix4, prefix6 }, _) => match context.client {
                    IpAddr::V4(address) => key.part(&leading4(address.to_bits(), *prefix4).to_be_bytes()),
                    IpAddr::V6(address) => key.part(&leading6(address.to_bits(), *prefix6).to_be_bytes()),
                },
                (_, Some(value)) if !value.is_empty() => key.part(&value),
                _ if self.key.skip_missing => return None,
                _ => key.part(&[]),
            };
        }
        Some(key.finish())
    }
}

// What the request says itself, and who sent it.
fn value<'c>(part: &KeyPart, context: &'c Context) -> Option<Cow<'c, [u8]>> {
    match part {
        KeyPart::Header(name) => context.header(name),
        KeyPart::Cookie(name) => cookie(&context.headers, name).map(Cow::Borrowed),
        KeyPart::Query(name) => parameter(context.target.query()?, name).map(Cow::Owned),
        KeyPart::Consumer => Some(Cow::Borrowed(context.consumer()?.name.as_str().as_bytes())),
        KeyPart::Claim(path) => {
            let claim = context.principals.iter().find_map(|principal| path.find(&principal.claims))?;
            match claim {
                Value::String(text) => Some(Cow::Borrowed(text.as_bytes())),
                Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(claim.to_string().into_bytes())),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            }
        }
        KeyPart::ClientAddress { .. } | KeyPart::Route => None,
    }
}

fn leading4(bits: u32, prefix: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn leading6(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}
