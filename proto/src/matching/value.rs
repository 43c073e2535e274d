//! Conditions on header values and query parameters.

use super::MAX_CONDITIONS;
use crate::{invalid::Faults, path::percent_decode, pb};
use http::{HeaderMap, HeaderName};
use regex_automata::{meta::Regex, util::syntax};
use std::fmt;

/// The longest expression, in bytes.
const MAX_REGEX: usize = 1024;
/// The most memory of one compiled expression, in bytes.
const MAX_REGEX_SIZE: usize = 256 * 1024;

/// A condition on a request header.
#[derive(Clone, Debug)]
pub struct HeaderCondition {
    name: HeaderName,
    value: ValueCondition,
}

/// A condition on a query parameter.
#[derive(Clone, Debug)]
pub struct QueryCondition {
    name: String,
    value: ValueCondition,
}

/// A condition on a value that may be there.
#[derive(Clone, Debug)]
pub enum ValueCondition {
    /// The whole value.
    Exact(String),
    /// What it begins with.
    Prefix(String),
    /// An expression over the whole value, as written and compiled.
    Regex(String, Box<Regex>),
    /// Whether it is there.
    Present(bool),
}

// === impl HeaderCondition ===

impl HeaderCondition {
    /// The header's name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// What is demanded of its value.
    pub fn value(&self) -> &ValueCondition {
        &self.value
    }

    /// Whether it holds; several fields of one name are one value, joined by commas (RFC 9110, 5.3).
    pub fn holds(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.name).iter();
        match (values.next(), values.next()) {
            (first, None) => self.value.holds(first.map(|value| value.as_bytes())),
            (_, Some(_)) => {
                let all: Vec<&[u8]> = headers.get_all(&self.name).iter().map(|value| value.as_bytes()).collect();
                self.value.holds(Some(&all.join(&b", "[..])))
            }
        }
    }

    pub(super) fn normal_form(&self) -> String {
        format!("{} {}", self.name, self.value.normal_form())
    }
}

// === impl QueryCondition ===

impl QueryCondition {
    /// The parameter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is demanded of its value.
    pub fn value(&self) -> &ValueCondition {
        &self.value
    }

    /// Whether it holds for the first parameter of its name.
    pub fn holds(&self, query: Option<&str>) -> bool {
        let value = query.and_then(|query| parameter(query, &self.name));
        self.value.holds(value.as_deref())
    }

    pub(super) fn normal_form(&self) -> String {
        format!("{:?} {}", self.name, self.value.normal_form())
    }
}

// === impl ValueCondition ===

impl ValueCondition {
    fn holds(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (ValueCondition::Present(present), value) => *present == value.is_some(),
            (ValueCondition::Exact(_) | ValueCondition::Prefix(_) | ValueCondition::Regex(..), None) => false,
            (ValueCondition::Exact(text), Some(value)) => value == text.as_bytes(),
            (ValueCondition::Prefix(text), Some(value)) => value.starts_with(text.as_bytes()),
            (ValueCondition::Regex(_, regex), Some(value)) => regex.is_match(value),
        }
    }

    fn normal_form(&self) -> String {
        match self {
            ValueCondition::Exact(text) => format!("exact {text:?}"),
            ValueCondition::Prefix(text) => format!("prefix {text:?}"),
            ValueCondition::Regex(text, _) => format!("regex {text:?}"),
            ValueCondition::Present(present) => format!("present {present}"),
        }
    }
}

impl fmt::Display for ValueCondition {
    /// What the value should do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueCondition::Exact(text) => write!(f, "be {text:?}"),
            ValueCondition::Prefix(text) => write!(f, "begin with {text:?}"),
            ValueCondition::Regex(text, _) => write!(f, "match the regex {text:?}"),
            ValueCondition::Present(true) => f.write_str("be there"),
            ValueCondition::Present(false) => f.write_str("not be there"),
        }
    }
}

/// The decoded value of the first parameter of that name; `+` is a space.
pub fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_form(key) == name.as_bytes()).then(|| decode_form(value))
    })
}

/// Text of a query, decoded; `+` is a space.
pub fn decode_form(text: &str) -> Vec<u8> {
    if text.contains('+') {
        percent_decode(&text.replace('+', " ")).into_owned()
    } else {
        percent_decode(text).into_owned()
    }
}

/// Compiles an expression that has to match the whole value.
pub(crate) fn regex(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_REGEX {
        return Err(format!("an expression has at most {MAX_REGEX} bytes"));
    }
    // Alone first: a closing parenthesis too many must not escape from the group.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config().nfa_size_limit(Some(MAX_REGEX_SIZE)).onepass_size_limit(Some(MAX_REGEX_SIZE));
    let syntax = syntax::Config::new().utf8(false).nest_limit(50);
    Regex::builder().configure(config).syntax(syntax).build(pattern).map_err(|error| match error.size_limit() {
        Some(_) => "the expression is too large when compiled; take fewer or smaller repetitions".to_string(),
        None => error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string),
    })
}

pub(super) fn check_headers(messages: &[pb::HeaderMatch], faults: &mut Faults) -> Vec<HeaderCondition> {
    use pb::header_match::Kind;
    faults.each("headers", messages, MAX_CONDITIONS, |message, faults| {
        let name = HeaderName::from_bytes(message.name.as_bytes());
        let name = name.map_err(|_| format!("{:?} is not a header name", message.name));
        let name = faults.at("name", |faults| faults.take(name));
        let value = match message.kind.as_ref()? {
            Kind::Exact(text) => Some(ValueCondition::Exact(text.clone())),
            Kind::Prefix(text) => Some(ValueCondition::Prefix(text.clone())),
            Kind::Regex(text) => condition_regex(text, faults),
            Kind::Present(present) => Some(ValueCondition::Present(*present)),
        };
        Some(HeaderCondition { name: name?, value: value? })
    })
}

pub(super) fn check_query(messages: &[pb::QueryMatch], faults: &mut Faults) -> Vec<QueryCondition> {
    use pb::query_match::Kind;
    faults.each("query", messages, MAX_CONDITIONS, |message, faults| {
        if message.name.is_empty() {
            faults.note_at("name", "a query condition needs the parameter's name");
        }
        let value = match message.kind.as_ref()? {
            Kind::Exact(text) => Some(ValueCondition::Exact(text.clone())),
            Kind::Prefix(text) => Some(ValueCondition::Prefix(text.clone())),
            Kind::Regex(text) => condition_regex(text, faults),
            Kind::Present(present) => Some(ValueCondition::Present(*present)),
        };
        Some(QueryCondition { name: message.name.clone(), value: value? })
    })
}

fn condition_regex(text: &str, faults: &mut Faults) -> Option<ValueCondition> {
    let compiled = regex(text).map(|regex| ValueCondition::Regex(text.into(), Box::new(regex)));
    faults.at("regex", |faults| faults.take(compiled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let check = |query: &str, name: &str, expect: Option<&str>| {
            assert_eq!(parameter(query, name).as_deref(), expect.map(str::as_bytes), "{query}");
        };
        check("a=1&b=2", "b", Some("2"));
        check("a=1&a=2", "a", Some("1"));
        check("a%20b=c+d", "a b", Some("c d"));
        check("a", "a", Some(""));
        check("", "a", None);
    }

    #[test]
    fn an_expression_cannot_leave_its_group() {
        assert!(regex("a)|(?:b").is_err());
        assert!(regex("a|b").expect("compiles").is_match("b"));
        assert!(!regex("a|b").expect("compiles").is_match("ab"));
    }
}
