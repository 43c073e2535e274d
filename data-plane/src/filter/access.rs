//! Who may. The first rule that a request fulfils decides.
//!
//! Only what is proven counts, and scopes and claims are those of one proof: what two credentials say is never added up.

use super::{Stage, Whose, verdict::Verdict};
use crate::{
    context::Context,
    error::{Fault, Refusal},
    principal::Principal,
};
use http::{HeaderValue, StatusCode};
use proto::{
    claims::{Claims, holds},
    policy::{Access, AccessRule, Effect, Identity},
};
use serde_json::Value;
use std::sync::Arc;

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct AccessFilter {
    policy: Arc<Access>,
    // Whether a rule lets somebody pass for who they are.
    asks_who: bool,
}

// === impl AccessFilter ===

impl AccessFilter {
    pub(super) fn build(policy: &Arc<Access>) -> AccessFilter {
        let asks = |rule: &AccessRule| rule.effect == Effect::Allow && rule.identity.is_some();
        AccessFilter { policy: policy.clone(), asks_who: policy.rules.iter().any(asks) }
    }

    pub(super) fn stage(&self) -> Stage {
        if self.policy.is_address() { Stage::Address } else { Stage::Authorize }
    }

    pub(super) fn depends_on(&self, of: Whose) -> Option<String> {
        // How a consumer that is given proves who it is, and what that says, is not known.
        let is_known = |identity: &Identity| match of {
            Whose::Unsaid => false,
            Whose::Given => {
                identity.authenticated.is_empty() && identity.scopes.is_empty() && identity.claims.is_empty()
            }
        };
        let asks =
            self.policy.rules.iter().any(|rule| rule.identity.as_ref().is_some_and(|identity| !is_known(identity)));
        asks.then(|| "access: who the client proves to be".into())
    }

    pub(super) fn request(&self, context: &Context) -> Verdict<'static> {
        let decided = self.policy.rules.iter().find(|rule| is_fulfilled(rule, context)).map(|rule| rule.effect);
        match decided.unwrap_or(self.policy.otherwise) {
            Effect::Allow => Verdict::CONTINUE,
            // Whoever says who he is may be let pass.
            Effect::Deny if decided.is_none() && self.asks_who && !context.principals.is_known() => {
                Verdict::refuse(Refusal::unauthenticated([HeaderValue::from_static("Bearer realm=\"portico\"")]))
            }
            Effect::Deny => Verdict::refuse(Refusal {
                status: StatusCode::FORBIDDEN,
                fault: Fault::Client,
                reason: "forbidden",
                detail: "the request is not allowed here; whoever runs the gateway says who may".into(),
                headers: Vec::new(),
            }),
        }
    }
}

fn is_fulfilled(rule: &AccessRule, context: &Context) -> bool {
    let AccessRule { addresses, methods, identity, .. } = rule;
    (addresses.is_empty() || addresses.iter().any(|block| block.contains(&context.client)))
        && (methods.is_empty() || methods.contains(&context.method))
        && identity.as_ref().is_none_or(|identity| is_from(identity, context))
}

fn is_from(identity: &Identity, context: &Context) -> bool {
    let Identity { authenticated, scopes, claims, groups, consumers } = identity;
    let proven = |by: &str| context.principals.iter().any(|one| one.method == by || one.policy.as_str() == by);
    let said = |one: &Principal| {
        scopes.holds(|scope| has_scope(&one.claims, scope)) && claims.iter().all(|claim| claim.is_met(&one.claims))
    };
    let is_consumer = || {
        let Some(consumer) = context.consumer() else { return groups.is_empty() && consumers.is_empty() };
        (groups.is_empty() || groups.iter().any(|group| consumer.groups.contains(group)))
            && (consumers.is_empty() || consumers.contains(&consumer.name))
    };
    authenticated.holds(proven) && context.principals.iter().any(|one| said(one)) && is_consumer()
}

// Words in one text (RFC 8693, 4.2), or a list, as some issuers have it.
fn has_scope(claims: &Claims, scope: &str) -> bool {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).any(|granted| match granted {
        Value::String(words) => words.split(' ').any(|word| word == scope),
        Value::Array(_) => holds(granted, scope),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    })
}

#[cfg(test)]
mod tests;
