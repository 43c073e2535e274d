use super::*;
use crate::{filter::verdict::Said, principal::Whom};
use http::Method;
use proto::{name::Name, policy::AnyAll};
use serde_json::json;
use std::rc::Rc;

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn anybody() -> Identity {
    Identity {
        authenticated: AnyAll::default(),
        scopes: AnyAll::default(),
        claims: Vec::new(),
        groups: Vec::new(),
        consumers: Vec::new(),
    }
}

fn rule(effect: Effect, identity: Option<Identity>) -> AccessRule {
    AccessRule { effect, addresses: Vec::new(), methods: Vec::new(), identity }
}

fn known(context: &mut Context, method: &'static str, claims: Value) {
    let principal = Principal {
        method,
        policy: Name::parse("staff").unwrap(),
        subject: "ann".into(),
        consumer: Whom::Nobody,
        claims: claims.as_object().unwrap().clone(),
    };
    context.principals.add(Rc::new(principal));
}

// The status of the refusal, or 200.
fn ask(rules: Vec<AccessRule>, context: &Context) -> u16 {
    let policy = Arc::new(Access { rules, otherwise: Effect::Deny, fallback: false });
    match AccessFilter::build(&policy).request(context) {
        Verdict::Now(Said::Continue) => 200,
        Verdict::Now(Said::Refuse(refusal)) => refusal.status.as_u16(),
        Verdict::Now(_) | Verdict::Wait(_) => 0,
    }
}

#[test]
fn the_first_rule_decides_and_otherwise_nobody_may() {
    let mut context = Context::of_request(Method::GET, "/");
    context.client = "10.0.0.7".parse().unwrap();
    let from = |effect, block: &str| AccessRule { addresses: vec![block.parse().unwrap()], ..rule(effect, None) };
    let (allow, deny) = (from(Effect::Allow, "10.0.0.0/8"), from(Effect::Deny, "10.0.0.7/32"));
    assert_eq!(ask(vec![], &context), 403);
    assert_eq!(ask(vec![allow.clone(), deny.clone()], &context), 200);
    assert_eq!(ask(vec![deny, allow.clone()], &context), 403);
    // All conditions of a rule have to hold.
    let post = AccessRule { methods: vec![Method::POST], ..allow };
    assert_eq!(ask(vec![post], &context), 403);
}

#[test]
fn whoever_is_unknown_is_told_to_say_who_he_is() {
    let mut context = Context::of_request(Method::GET, "/");
    let allow = || vec![rule(Effect::Allow, Some(anybody()))];
    assert_eq!(ask(allow(), &context), 401);
    // Nothing that he could say would help.
    assert_eq!(ask(vec![rule(Effect::Deny, None), allow().remove(0)], &context), 403);
    assert_eq!(ask(vec![rule(Effect::Deny, Some(anybody()))], &context), 403);
    known(&mut context, "jwt", json!({}));
    assert_eq!(ask(allow(), &context), 200);
}

#[test]
fn scopes_and_claims_are_those_of_one_proof() {
    let with = |any: &[&str], all: &[&str]| {
        let scopes = AnyAll { any: list(any), all: list(all) };
        vec![rule(Effect::Allow, Some(Identity { scopes, ..anybody() }))]
    };
    let of = |claims: Value| {
        let mut context = Context::of_request(Method::GET, "/");
        known(&mut context, "jwt", claims);
        context
    };
    for (claims, any, all, expect) in [
        (json!({"scope": "read write"}), &["write", "x"][..], &[][..], 200),
        (json!({"scope": "read write"}), &[], &["read", "write"], 200),
        (json!({"scope": "read"}), &[], &["read", "write"], 403),
        (json!({"scp": ["read", "write"]}), &["x", "read"], &["write"], 200),
        // A part of a word, another case, and another form are none.
        (json!({"scope": "readwrite"}), &["read"], &[], 403),
        (json!({"scope": "READ"}), &["read"], &[], 403),
        (json!({"scope": {"read": true}}), &["read"], &[], 403),
        (json!({"scp": ["read write"]}), &["read"], &[], 403),
        (json!({}), &["read"], &[], 403),
    ] {
        assert_eq!(ask(with(any, all), &of(claims.clone())), expect, "{claims} {any:?} {all:?}");
    }
    let mut two = of(json!({"scope": "read"}));
    known(&mut two, "introspection", json!({"scope": "write"}));
    assert_eq!(ask(with(&[], &["read", "write"]), &two), 403);
    assert_eq!(ask(with(&["write"], &[]), &two), 200);
}

#[test]
fn how_it_was_proven_is_asked_by_kind_and_by_name() {
    let mut context = Context::of_request(Method::GET, "/");
    known(&mut context, "jwt", json!({}));
    let by = |any: &[&str], all: &[&str]| {
        let authenticated = AnyAll { any: list(any), all: list(all) };
        vec![rule(Effect::Allow, Some(Identity { authenticated, ..anybody() }))]
    };
    assert_eq!(ask(by(&["basic", "jwt"], &[]), &context), 200);
    assert_eq!(ask(by(&["staff"], &[]), &context), 200);
    assert_eq!(ask(by(&["basic"], &[]), &context), 403);
    assert_eq!(ask(by(&[], &["jwt", "client_certificate"]), &context), 403);
    known(&mut context, "client_certificate", json!({}));
    assert_eq!(ask(by(&[], &["jwt", "client_certificate"]), &context), 200);
    let consumers = vec![Name::parse("acme").unwrap()];
    assert_eq!(ask(vec![rule(Effect::Allow, Some(Identity { consumers, ..anybody() }))], &context), 403);
}
