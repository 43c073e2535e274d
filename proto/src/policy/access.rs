//! Who may, and who may not.

use super::{KIND_NAMES, jwt::check_claim};
use crate::{
    claims::RequiredClaim,
    fields::check_addresses,
    invalid::{Faults, did_you_mean},
    matching::method,
    name::Name,
    pb,
};
use http::Method;
use ipnet::IpNet;

/// The most rules of one policy.
const MAX_RULES: usize = 64;
/// The most elements of one list.
const MAX_LIST: usize = 64;

/// Who may: the first rule that a request fulfils decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// In their order.
    pub rules: Vec<AccessRule>,
    /// What becomes of a request that fulfils none.
    pub otherwise: Effect,
    /// Whether it counts only where nothing else says who may.
    pub fallback: bool,
}

/// What becomes of a request that fulfils all of these.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRule {
    /// What becomes of it.
    pub effect: Effect,
    /// From one of these; empty: from anywhere.
    pub addresses: Vec<IpNet>,
    /// By one of these; empty: by any.
    pub methods: Vec<Method>,
    /// Who it must be from; `None`: from anybody.
    pub identity: Option<Identity>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
}

/// Who a request must be from.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// How that was proven: kinds of policies, or names of them.
    pub authenticated: AnyAll,
    /// What they were granted.
    pub scopes: AnyAll,
    /// What is said of them.
    pub claims: Vec<RequiredClaim>,
    /// A group of the consumer; empty: whichever.
    pub groups: Vec<Name>,
    /// The consumer; empty: whoever.
    pub consumers: Vec<Name>,
}

/// At least one of some, and all of others; of an empty list nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnyAll {
    /// At least one of these.
    pub any: Vec<String>,
    /// All of these.
    pub all: Vec<String>,
}

// === impl AnyAll ===

impl AnyAll {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.all.is_empty()
    }
}

// === impl Access ===

impl Access {
    pub(super) fn check(message: &pb::AccessControl, faults: &mut Faults) -> Option<Access> {
        use pb::access_otherwise::Kind;
        let before = faults.count();
        let rules = faults.at("rules", |faults| {
            check_len(message.rules.len(), MAX_RULES, faults);
            let check = |(at, rule)| faults.at(at, |faults| AccessRule::check(rule, faults));
            message.rules.iter().enumerate().filter_map(check).collect()
        });
        let otherwise = match message.otherwise.as_ref().and_then(|otherwise| otherwise.kind.as_ref()) {
            Some(Kind::Allow(_)) => Effect::Allow,
            Some(Kind::Deny(_)) | None => Effect::Deny,
        };
        (faults.count() == before).then_some(Access { rules, otherwise, fallback: message.fallback })
    }

    /// Whether a client's address is all that it asks.
    pub fn is_address(&self) -> bool {
        self.rules.iter().all(|rule| rule.methods.is_empty() && rule.identity.is_none())
    }
}

// === impl AccessRule ===

impl AccessRule {
    fn check(message: &pb::AccessRule, faults: &mut Faults) -> Option<AccessRule> {
        use pb::access_rule::Effect as Said;
        let (effect, field, conditions) = match message.effect.as_ref()? {
            Said::Allow(conditions) => (Effect::Allow, "allow", conditions),
            Said::Deny(conditions) => (Effect::Deny, "deny", conditions),
        };
        faults.at(field, |faults| {
            Some(AccessRule {
                effect,
                addresses: check_addresses("addresses", &conditions.addresses, faults),
                methods: list("methods", &conditions.methods, faults, method),
                identity: Identity::check(conditions, faults),
            })
        })
    }
}

// === impl Identity ===

impl Identity {
    fn check(message: &pb::AccessConditions, faults: &mut Faults) -> Option<Identity> {
        let pb::AccessConditions { authenticated, scopes, claims, groups, consumers, .. } = message;
        let asks = authenticated.is_some() || scopes.is_some();
        if !asks && claims.is_empty() && groups.is_empty() && consumers.is_empty() {
            return None;
        }
        if scopes.as_ref().is_some_and(|scopes| scopes.any.is_empty() && scopes.all.is_empty()) {
            faults.note_at("scopes", "name scopes, of which one (`any`) or each (`all`) must have been granted");
        }
        let claims = faults.at("claims", |faults| {
            check_len(claims.len(), MAX_LIST, faults);
            let check = |(at, claim)| faults.at(at, |faults| check_claim(claim, faults));
            claims.iter().enumerate().filter_map(check).collect()
        });
        Some(Identity {
            authenticated: AnyAll::check("authenticated", authenticated.as_ref(), faults, method_of_proof),
            scopes: AnyAll::check("scopes", scopes.as_ref(), faults, scope),
            claims,
            groups: list("groups", groups, faults, Name::parse),
            consumers: list("consumers", consumers, faults, Name::parse),
        })
    }
}

// === impl AnyAll ===

impl AnyAll {
    fn check(
        field: &str,
        message: Option<&pb::AnyAll>,
        faults: &mut Faults,
        parse: fn(&str) -> Result<String, String>,
    ) -> AnyAll {
        let Some(message) = message else { return AnyAll::default() };
        faults.at(field, |faults| AnyAll {
            any: list("any", &message.any, faults, parse),
            all: list("all", &message.all, faults, parse),
        })
    }

    /// Whether it holds, where one of them holds as is told.
    pub fn holds(&self, has: impl Fn(&str) -> bool) -> bool {
        self.all.iter().all(|one| has(one)) && (self.any.is_empty() || self.any.iter().any(|one| has(one)))
    }
}

fn list<T, E: ToString>(
    field: &str,
    texts: &[String],
    faults: &mut Faults,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    faults.at(field, |faults| {
        check_len(texts.len(), MAX_LIST, faults);
        let parse = |(at, text): (usize, &String)| {
            faults.at(at, |faults| faults.take(parse(text).map_err(|error| error.to_string())))
        };
        texts.iter().enumerate().filter_map(parse).collect()
    })
}

// Names of kinds have underscores, which names of policies have not; some have neither.
fn method_of_proof(text: &str) -> Result<String, String> {
    match KIND_NAMES.contains(&text) || Name::parse(text).is_ok() {
        true => Ok(text.into()),
        false => Err(format!(
            "{text:?} is neither a kind of policy nor a name of one{}",
            did_you_mean(text, KIND_NAMES.iter().copied())
        )),
    }
}

// As RFC 6749, 3.3, has them.
fn scope(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is not a scope: one word of ASCII without quotes; list several")),
    }
}

fn check_len(len: usize, most: usize, faults: &mut Faults) {
    if len > most {
        faults.note(format!("at most {most} can be given"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::access_rule::Effect as Said;

    fn check(rules: Vec<Said>) -> Result<Access, Vec<String>> {
        let rules = rules.into_iter().map(|effect| pb::AccessRule { effect: Some(effect) }).collect();
        let mut faults = Faults::default();
        let checked = Access::check(&pb::AccessControl { rules, ..Default::default() }, &mut faults);
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        if found.is_empty() { Ok(checked.unwrap()) } else { Err(found) }
    }

    fn any(texts: &[&str]) -> Option<pb::AnyAll> {
        Some(pb::AnyAll { any: texts.iter().map(|text| text.to_string()).collect(), all: Vec::new() })
    }

    #[test]
    fn whoever_is_not_named_is_refused() {
        let access = check(vec![]).unwrap();
        assert_eq!((access.otherwise, access.is_address()), (Effect::Deny, true));
        let addresses = pb::AccessConditions { addresses: vec!["10.0.0.0/8".into()], ..Default::default() };
        assert!(check(vec![Said::Deny(addresses.clone())]).unwrap().is_address());
        let methods = pb::AccessConditions { methods: vec!["GET".into()], ..addresses };
        assert!(!check(vec![Said::Allow(methods)]).unwrap().is_address());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let wrong = pb::AccessConditions {
            addresses: vec!["10.0.0.1/8".into()],
            methods: vec!["get".into()],
            authenticated: any(&["api_keys"]),
            scopes: any(&["a b"]),
            claims: vec![pb::RequiredClaim { claim: "a..b".into(), values: Vec::new() }],
            groups: vec!["Gold".into()],
            consumers: vec!["a b".into()],
        };
        let empty = pb::AccessConditions { scopes: any(&[]), ..Default::default() };
        let found = check(vec![Said::Allow(wrong), Said::Deny(empty)]).unwrap_err();
        let mut expect = [
            "addresses/0",
            "methods/0",
            "claims/0/claim",
            "authenticated/any/0",
            "scopes/any/0",
            "groups/0",
            "consumers/0",
        ]
        .map(|field| format!("/rules/0/allow/{field}"))
        .to_vec();
        expect.push("/rules/1/deny/scopes".into());
        assert_eq!(found, expect);
    }
}
