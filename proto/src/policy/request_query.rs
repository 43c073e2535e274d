//! Change the query of the request: keep, remove, rename, set, then add. What is not named stays byte for byte.

use crate::{
    invalid::Faults,
    path, pb,
    template::{Target, Template},
};
use std::collections::BTreeSet;

/// The most parameters of one list.
const MAX_PARAMETERS: usize = 64;
/// The longest name of a parameter, in bytes.
const MAX_NAME: usize = 256;

/// What is done to the query of a request, in this order. Names are decoded, but for those that are written.
#[derive(Clone, Debug)]
pub struct RequestQuery {
    /// All others are taken out; `None`: none is.
    pub keep: Option<BTreeSet<Vec<u8>>>,
    /// Taken out.
    pub remove: BTreeSet<Vec<u8>>,
    /// The name, and the one that it gets, encoded.
    pub rename: Vec<(Vec<u8>, String)>,
    /// Put in place of any of the same name.
    pub set: Vec<Parameter>,
    /// Put beside any of the same name.
    pub add: Vec<Parameter>,
}

/// A parameter that is written.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name.
    pub name: Vec<u8>,
    /// The name, encoded.
    pub encoded: String,
    /// The value; what it makes is encoded.
    pub value: Template,
}

// === impl RequestQuery ===

impl RequestQuery {
    pub(super) fn check(message: &pb::RequestQuery, faults: &mut Faults) -> Option<RequestQuery> {
        let before = faults.count();
        let policy = RequestQuery {
            keep: message.keep.as_ref().map(|keep| faults.at("keep", |faults| names("names", &keep.names, faults))),
            remove: names("remove", &message.remove, faults),
            rename: renamed(&message.rename, faults),
            set: parameters("set", &message.set, faults),
            add: parameters("add", &message.add, faults),
        };
        let changes = [policy.remove.len(), policy.rename.len(), policy.set.len(), policy.add.len()];
        if policy.keep.is_none() && changes.iter().all(|count| *count == 0) && faults.count() == before {
            faults.note("a policy that changes nothing; give `keep`, `remove`, `rename`, `set` or `add`");
        }
        (faults.count() == before).then_some(policy)
    }
}

fn name(text: &str, faults: &mut Faults) -> Option<Vec<u8>> {
    match (1..=MAX_NAME).contains(&text.len()) {
        true => Some(text.into()),
        false => {
            faults.note(format!("the name of a parameter has 1 to {MAX_NAME} bytes"));
            None
        }
    }
}

fn encoded(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    path::encode_segment(name, &mut encoded);
    encoded
}

fn names(field: &str, texts: &[String], faults: &mut Faults) -> BTreeSet<Vec<u8>> {
    faults.each(field, texts, MAX_PARAMETERS, |text, faults| name(text, faults)).into_iter().collect()
}

fn renamed(messages: &[pb::RenamedParameter], faults: &mut Faults) -> Vec<(Vec<u8>, String)> {
    faults.each("rename", messages, MAX_PARAMETERS, |message, faults| {
        let from = faults.at("name", |faults| name(&message.name, faults));
        let to = faults.at("to", |faults| name(&message.to, faults));
        Some((from?, encoded(&to?)))
    })
}

fn parameters(field: &str, messages: &[pb::Parameter], faults: &mut Faults) -> Vec<Parameter> {
    faults.each(field, messages, MAX_PARAMETERS, |message, faults| {
        let name = faults.at("name", |faults| name(&message.name, faults));
        let value = Template::parse(&message.value, Target::QueryValue, None);
        let value = faults.at("value", |faults| faults.take(value));
        let name = name?;
        Some(Parameter { encoded: encoded(&name), name, value: value? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told() {
        let check = |message: pb::RequestQuery| {
            let mut faults = Faults::default();
            let policy = RequestQuery::check(&message, &mut faults);
            let pointers: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
            assert_eq!(policy.is_some(), pointers.is_empty());
            pointers.join(" ")
        };
        let parameter = |name: &str, value: &str| pb::Parameter { name: name.into(), value: value.into() };
        let mut faults = Faults::default();
        assert!(RequestQuery::check(&pb::RequestQuery::default(), &mut faults).is_none());
        assert_eq!(check(pb::RequestQuery { keep: Some(pb::KeptParameters::default()), ..Default::default() }), "");
        let good = pb::RequestQuery { set: vec![parameter("a b", "{claims.sub} & more")], ..Default::default() };
        let mut faults = Faults::default();
        assert_eq!(
            RequestQuery::check(&good, &mut faults).map(|query| query.set[0].encoded.clone()),
            Some("a%20b".into())
        );
        let bad = pb::RequestQuery {
            keep: Some(pb::KeptParameters { names: vec![String::new()] }),
            remove: vec!["a".into(), "x".repeat(MAX_NAME + 1)],
            rename: vec![pb::RenamedParameter::default()],
            set: vec![parameter("", "{")],
            add: vec![parameter("a", "{nobody.x}")],
        };
        assert_eq!(
            check(bad),
            "/keep/names/0 /remove/1 /rename/0/name /rename/0/to /set/0/name /set/0/value /add/0/value"
        );
    }
}
