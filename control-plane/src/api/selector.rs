//! Which resources are meant, by their labels: `team=pay,env!=dev,!legacy,owner`.

use super::{
    problem::Problem,
    query::{LABELS, Parameters},
};
use std::{collections::BTreeMap, fmt};

// More conditions than labels that a resource can have are a mistake.
const MAX_CONDITIONS: usize = 32;

/// Conditions on labels that all have to hold; none of them means every resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Equals(String, String),
    // A resource without the label differs too.
    Differs(String, String),
    Has(String),
    Lacks(String),
}

// === impl Selector ===

impl Selector {
    /// The selector that a request gives; that of every resource without one.
    pub(crate) fn read(parameters: &Parameters) -> Result<Selector, Problem> {
        let selector = parameters.text(&LABELS).map(Selector::parse).transpose();
        selector.map(Option::unwrap_or_default).map_err(|detail| Problem::invalid_request("labels", detail))
    }

    fn parse(text: &str) -> Result<Selector, String> {
        let conditions: Vec<Condition> = text.split(',').map(Condition::parse).collect::<Result<_, _>>()?;
        if conditions.len() > MAX_CONDITIONS {
            return Err(format!("at most {MAX_CONDITIONS} conditions can be given"));
        }
        Ok(Selector(conditions))
    }

    /// Whether the labels meet all conditions.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| condition.matches(labels))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, condition) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::Equals(key, value) => write!(f, "{key}={value}")?,
                Condition::Differs(key, value) => write!(f, "{key}!={value}")?,
                Condition::Has(key) => f.write_str(key)?,
                Condition::Lacks(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

// === impl Condition ===

impl Condition {
    fn parse(text: &str) -> Result<Condition, String> {
        let text = text.trim();
        let (key, made): (&str, &dyn Fn(String) -> Condition) = if let Some(key) = text.strip_prefix('!') {
            (key, &Condition::Lacks)
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, &|key| Condition::Differs(key, value.trim().to_owned()))
        } else if let Some((key, value)) = text.split_once('=') {
            (key, &|key| Condition::Equals(key, value.trim_start_matches('=').trim().to_owned()))
        } else {
            (text, &Condition::Has)
        };
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_./".contains(&c);
        let condition = made(key.trim().to_owned());
        let (key, value) = condition.parts();
        if key.is_empty() || !key.bytes().chain(value.bytes()).all(plain) {
            return Err(format!("{text:?} is not a condition; write key=value, key!=value, key or !key"));
        }
        Ok(condition)
    }

    fn parts(&self) -> (&str, &str) {
        match self {
            Condition::Equals(key, value) | Condition::Differs(key, value) => (key, value),
            Condition::Has(key) | Condition::Lacks(key) => (key, ""),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Condition::Equals(key, value) => labels.get(key) == Some(value),
            Condition::Differs(key, value) => labels.get(key) != Some(value),
            Condition::Has(key) => labels.contains_key(key),
            Condition::Lacks(key) => !labels.contains_key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, expect: bool) {
        let labels = [("team", "pay"), ("env", "prod")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(Selector::parse(selector).unwrap().matches(&labels), expect, "{selector}");
    }

    #[test]
    fn all_conditions_have_to_hold() {
        check("team=pay", true);
        check("team==pay", true);
        check(" team = pay , env != dev ", true);
        check("team=pay,env=dev", false);
        check("team", true);
        check("!team", false);
        check("!legacy", true);
        check("legacy", false);
        check("legacy!=yes", true);
        check("team!=pay", false);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in ["", ",", "=pay", "!", "!=x", "a b=c", "a=b=c", "team=pay,", "ä=1", "!a=b"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
        assert!(Selector::parse(&vec!["a"; 33].join(",")).is_err());
    }

    #[test]
    fn the_canonical_text_means_the_same() {
        let selector = Selector::parse("a == b, c!=d,!e , f").unwrap();
        assert_eq!(selector.to_string(), "a=b,c!=d,!e,f");
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }
}
