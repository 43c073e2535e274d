//! Claims: what is said of whoever sent a request, as a token has it, and how a policy names one.
//!
//! ```text
//! path   = name { "." name }
//! name   = 1*( any character but "." and '"' ) | quoted
//! quoted = '"' 1*( any character but '"' ) '"'
//! ```

use serde_json::{Map, Value};
use std::fmt;

/// What is said, by name.
pub type Claims = Map<String, Value>;

/// The most names of a path.
const MAX_DEPTH: usize = 16;

/// Where a claim is: a name, and below it others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimPath {
    first: Box<str>,
    below: Box<[Box<str>]>,
}

/// A claim that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Where.
    pub path: ClaimPath,
    /// One of what it must hold; empty: whatever it is.
    pub values: Vec<String>,
}

// === impl ClaimPath ===

impl ClaimPath {
    /// Parses `sub`, `realm_access.roles` or `"https://example.com/roles".admin`.
    pub fn parse(text: &str) -> Result<ClaimPath, String> {
        let advice = "write a claim as `sub`, `realm_access.roles` or, quoted, `\"https://example.com/roles\"`";
        let wrong = |what: &str| format!("{text:?} {what}; {advice}");
        let mut names: Vec<Box<str>> = Vec::new();
        let mut rest = Some(text);
        while let Some(path) = rest {
            let (name, after) = match path.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(|| wrong("has a quoted name that does not end"))?,
                None => path.split_at(path.find(['.', '"']).unwrap_or(path.len())),
            };
            if name.is_empty() {
                return Err(wrong("has an empty name"));
            }
            names.push(name.into());
            rest = match after.strip_prefix('.') {
                Some(below) => Some(below),
                None if after.is_empty() => None,
                None => return Err(wrong("has a quote within a name")),
            };
        }
        if names.len() > MAX_DEPTH {
            return Err(wrong("is too deep"));
        }
        let below = names.split_off(1);
        let [first] = <[Box<str>; 1]>::try_from(names).expect("the loop ran");
        Ok(ClaimPath { first, below: below.into() })
    }

    /// The claim, if it is there.
    pub fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        self.below.iter().try_fold(claims.get(&*self.first)?, |value, name| value.as_object()?.get(&**name))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in std::iter::once(&self.first).chain(&self.below).enumerate() {
            f.write_str(if at == 0 { "" } else { "." })?;
            match name.contains('.') {
                true => write!(f, "\"{name}\"")?,
                false => f.write_str(name)?,
            }
        }
        Ok(())
    }
}

// === impl RequiredClaim ===

impl RequiredClaim {
    /// Whether it is there.
    pub fn is_met(&self, claims: &Claims) -> bool {
        let claim = self.path.find(claims).filter(|claim| !claim.is_null());
        claim.is_some_and(|claim| self.values.is_empty() || self.values.iter().any(|value| holds(claim, value)))
    }
}

/// Whether a claim is this text, number or boolean, or a list that holds it.
pub fn holds(claim: &Value, expected: &str) -> bool {
    match claim {
        Value::Array(elements) => elements.iter().any(|element| !element.is_array() && holds(element, expected)),
        Value::String(text) => text == expected,
        Value::Bool(yes) => expected == if *yes { "true" } else { "false" },
        Value::Number(number) => number.to_string() == expected,
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_path_leads_to_a_claim_or_to_none() {
        let claims = claims(json!({
            "sub": "ann", "a": {"b": {"c": 1}, "b.c": 2}, "https://x.example/roles": ["r"], "a.b": 3, "list": [{"x": 1}]
        }));
        for (path, expect) in [
            ("sub", Some(json!("ann"))),
            ("a.b.c", Some(json!(1))),
            ("a.\"b.c\"", Some(json!(2))),
            ("\"a.b\"", Some(json!(3))),
            ("\"https://x.example/roles\"", Some(json!(["r"]))),
            ("a.b.d", None),
            ("sub.a", None),
            ("list.x", None),
            ("none", None),
        ] {
            let parsed = ClaimPath::parse(path).unwrap();
            assert_eq!(parsed.find(&claims), expect.as_ref(), "{path}");
            assert_eq!(parsed.to_string(), path);
        }
        for bad in ["", ".", "a.", ".a", "a..b", "\"a", "\"\"", "a\"b", "\"a\"b", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"] {
            assert!(ClaimPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_claim_holds_what_it_is_or_lists() {
        let check = |claim: Value, expected: &str, expect: bool| assert_eq!(holds(&claim, expected), expect, "{claim}");
        check(json!("a"), "a", true);
        check(json!("a b"), "a", false);
        check(json!(["a", "b"]), "b", true);
        check(json!([["a"]]), "a", false);
        check(json!(true), "true", true);
        check(json!("true"), "true", true);
        check(json!(7), "7", true);
        check(json!([7]), "8", false);
        check(json!(null), "null", false);
        check(json!({"a": 1}), "a", false);
    }
}
