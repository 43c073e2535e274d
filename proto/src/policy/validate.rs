//! Bodies of requests have to fit a JSON Schema. It is compiled here, within limits, and nothing is ever fetched for it.

use crate::{
    invalid::Faults,
    jose::{Limits, parse_value},
    pb, quantity,
};
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// The longest schema, in bytes.
const MAX_SCHEMA: usize = 64 * 1024;
/// What a schema may hold.
const SCHEMA_LIMITS: Limits = Limits { depth: 48, members: 16 * 1024 };
/// The most memory of one expression of a schema, in bytes.
const MAX_REGEX: usize = 256 * 1024;
/// The largest body where nothing is said, and the largest that can be allowed, in bytes.
const BODY: (u64, u64) = (1 << 20, 16 << 20);
/// How deep a body may be.
const DEPTH: (u32, u32) = (32, 100);
/// How many faults are told.
const FAULTS: (u32, u32) = (10, 100);
/// The most members and elements of a body, whatever its size.
const MAX_MEMBERS: u32 = 1 << 20;
/// The most content types.
const MAX_TYPES: usize = 16;

/// What bodies have to be like.
#[derive(Clone, Debug)]
pub struct Validate {
    /// The schema.
    pub schema: Schema,
    /// The media types of bodies, in lower case, of which each may have one star.
    pub content_types: Vec<String>,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// What a body may hold.
    pub limits: Limits,
    /// How many faults are told.
    pub max_faults: usize,
    /// Whether a request without a body passes.
    pub optional: bool,
}

/// A schema, compiled.
#[derive(Clone, Debug)]
pub struct Schema(Validator);

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyFault {
    /// Where: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What; no value of the body is in it.
    pub detail: String,
}

// === impl Validate ===

impl Validate {
    pub(super) fn check(message: &pb::Validate, faults: &mut Faults) -> Option<Validate> {
        let before = faults.count();
        let schema = faults.at("schema", |faults| match message.schema.as_str() {
            "" => {
                faults.note("say what bodies are like: a JSON Schema, as text");
                None
            }
            text => faults.take(Schema::parse(text)),
        });
        let max_body = faults.at("max_body", |faults| match message.max_body.as_str() {
            "" => Some(BODY.0),
            text => match faults.take(quantity::size(text))? {
                0 => {
                    faults.note("no body has room in that");
                    None
                }
                size if size > BODY.1 => {
                    faults.note(format!("the body is kept in memory; the most is \"{}MiB\"", BODY.1 >> 20));
                    None
                }
                size => Some(size),
            },
        });
        let max_depth = number("max_depth", message.max_depth, DEPTH, faults);
        let max_faults = number("max_faults", message.max_faults, FAULTS, faults);
        let content_types = faults.at("content_types", |faults| content_types(&message.content_types, faults));
        if faults.count() > before {
            return None;
        }
        Some(Validate {
            schema: schema?,
            content_types,
            max_body: usize::try_from(max_body?).ok()?,
            limits: Limits { depth: u8::try_from(max_depth).ok()?, members: MAX_MEMBERS },
            max_faults: usize::try_from(max_faults).ok()?,
            optional: message.optional,
        })
    }

    /// Whether a body of that media type can be judged: in UTF-8, as all JSON is.
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let lower = content_type.to_ascii_lowercase();
        let mut parts = lower.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let is_utf8 = |part: &[u8]| match part.strip_prefix(b"charset=") {
            Some(charset) => charset == b"utf-8" || charset == b"\"utf-8\"",
            None => true,
        };
        let is_meant = |pattern: &String| match pattern.split_once('*') {
            Some((begin, end)) => {
                name.len() > begin.len() + end.len()
                    && name.starts_with(begin.as_bytes())
                    && name.ends_with(end.as_bytes())
            }
            None => name == pattern.as_bytes(),
        };
        self.content_types.iter().any(is_meant) && parts.all(is_utf8)
    }

    /// What is wrong with a body, as far as it is told; an error where it is no JSON that everybody would read alike.
    pub fn judge(&self, body: &[u8]) -> Result<Vec<BodyFault>, String> {
        let body = parse_value(body, self.limits).map_err(|fault| fault.to_string())?;
        Ok(self.schema.faults(&body, self.max_faults))
    }
}

fn number(field: &str, given: Option<u32>, (default, most): (u32, u32), faults: &mut Faults) -> u32 {
    match given {
        None => default,
        Some(number) if (1..=most).contains(&number) => number,
        Some(_) => {
            faults.note_at(field, format!("give 1 to {most}"));
            default
        }
    }
}

fn content_types(texts: &[String], faults: &mut Faults) -> Vec<String> {
    if texts.is_empty() {
        return vec!["application/json".into(), "application/*+json".into()];
    }
    if texts.len() > MAX_TYPES {
        faults.note(format!("at most {MAX_TYPES} can be given"));
    }
    let parse = |(at, text): (usize, &String)| {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"!#$&^_.+-*".contains(&c);
        let (kind, name) = text.split_once('/').unwrap_or_default();
        let is_one = !kind.is_empty() && !name.is_empty() && kind.bytes().chain(name.bytes()).all(plain);
        let is_one = is_one && text.matches('*').count() <= 1;
        let advice = || {
            format!(
                "{text:?} is no media type in lower case; write it as \"application/json\" or \"application/*+json\""
            )
        };
        faults.at(at, |faults| faults.take(if is_one { Ok(text.clone()) } else { Err(advice()) }))
    };
    texts.iter().enumerate().filter_map(parse).collect()
}

// === impl Schema ===

impl Schema {
    fn parse(text: &str) -> Result<Schema, String> {
        if text.len() > MAX_SCHEMA {
            return Err(format!("a schema has at most {MAX_SCHEMA} bytes"));
        }
        let schema = parse_value(text.as_bytes(), SCHEMA_LIMITS).map_err(|fault| format!("it is no JSON: {fault}"))?;
        check_references(&schema)?;
        let patterns = PatternOptions::regex().size_limit(MAX_REGEX).dfa_size_limit(MAX_REGEX);
        let options = jsonschema::options().with_pattern_options(patterns).should_validate_formats(true);
        let options = options.should_ignore_unknown_formats(false).offline();
        let compiled = options.build(&schema);
        compiled.map(Schema).map_err(|error| match error.instance_path().as_str() {
            "" => format!("it is no schema: {error}"),
            pointer => format!("it is no schema: at {pointer}: {error}"),
        })
    }

    /// What is wrong with a value, at most so many faults.
    pub fn faults(&self, value: &Value, most: usize) -> Vec<BodyFault> {
        if self.0.is_valid(value) {
            return Vec::new();
        }
        let fault = |error: jsonschema::ValidationError<'_>| BodyFault {
            pointer: error.instance_path().to_string(),
            // What the client sent may be a secret, and is its own to know.
            detail: error.masked().to_string(),
        };
        self.0.iter_errors(value).take(most).map(fault).collect()
    }
}

// Of a reference that leads elsewhere the compiler says only that it is not found.
fn check_references(value: &Value) -> Result<(), String> {
    match value {
        Value::Array(elements) => elements.iter().try_for_each(check_references),
        Value::Object(members) => {
            for name in ["$ref", "$dynamicRef"] {
                if let Some(Value::String(target)) = members.get(name)
                    && !target.starts_with('#')
                {
                    return Err(format!(
                        "{name} {target:?} leads elsewhere; nothing is fetched, so put it under $defs"
                    ));
                }
            }
            members.values().try_for_each(check_references)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r##"{"type": "object", "required": ["items"], "additionalProperties": false,
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}}, "mail": {"format": "email"}},
        "$defs": {"item": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}}}"##;

    fn check(message: pb::Validate) -> Result<Validate, String> {
        let mut faults = Faults::default();
        let policy = Validate::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        policy.ok_or(found.join("; "))
    }

    fn of(schema: &str) -> pb::Validate {
        pb::Validate { schema: schema.into(), ..Default::default() }
    }

    #[test]
    fn a_body_is_told_all_that_is_wrong_and_none_of_what_it_says() {
        let policy = check(of(ORDER)).unwrap();
        assert!(policy.judge(br#"{"items": [{"count": 1}], "mail": "a@b.example"}"#).unwrap().is_empty());
        let faults = policy.judge(br#"{"items": [{"count": 0}, {"count": "secret"}], "mail": "x", "a": 1}"#).unwrap();
        let mut pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        pointers.sort();
        assert_eq!(pointers, ["", "/items/0/count", "/items/1/count", "/mail"]);
        assert!(!faults.iter().any(|fault| fault.detail.contains("secret")), "{faults:?}");
        let few = check(pb::Validate { max_faults: Some(2), ..of(ORDER) }).unwrap();
        assert_eq!(few.judge(br#"{"items": [{"count": 0}, {"count": 0}], "a": 1}"#).unwrap().len(), 2);
    }

    #[test]
    fn what_two_readers_could_read_apart_is_no_json() {
        let policy = check(pb::Validate { max_depth: Some(2), ..of("{}") }).unwrap();
        for body in ["", "{", "{\"a\": 1, \"a\": 2}", "[[[]]]", "{} {}", "NaN", "\u{feff}{}"] {
            assert!(policy.judge(body.as_bytes()).is_err(), "{body}");
        }
        assert!(policy.judge(b"[[1]]").is_ok());
    }

    #[test]
    fn only_types_that_are_json_are_taken() {
        let policy = check(of("{}")).unwrap();
        for (content_type, expect) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/problem+json", true),
            ("application/+json", false),
            ("application/json; charset=utf-16", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(policy.takes(content_type.as_bytes()), expect, "{content_type}");
        }
    }

    #[test]
    fn a_schema_is_compiled_within_limits() {
        for (schema, expect) in [
            ("", "/schema: say what bodies are like"),
            ("{", "/schema: it is no JSON"),
            (r#"{"type": "strin"}"#, "/schema: it is no schema: at /type"),
            (
                r#"{"$ref": "https://evil.example/schema"}"#,
                "/schema: $ref \"https://evil.example/schema\" leads elsewhere",
            ),
            (r#"{"$ref": "file:///etc/passwd"}"#, "/schema: $ref"),
            (r##"{"$ref": "#/$defs/none"}"##, "/schema: it is no schema"),
            (r#"{"pattern": "(a{1000}){1000}"}"#, "/schema: it is no schema"),
            (r#"{"pattern": "(?=a)"}"#, "/schema: it is no schema"),
            (r#"{"format": "emial"}"#, "/schema: it is no schema"),
        ] {
            let found = check(of(schema)).unwrap_err();
            assert!(found.starts_with(expect), "{schema}: {found}");
        }
        // One that leads to itself ends all the same.
        assert!(check(of(r##"{"$ref": "#"}"##)).unwrap().judge(b"1").unwrap().is_empty());
        let bad = pb::Validate {
            max_body: "17MiB".into(),
            max_depth: Some(0),
            max_faults: Some(101),
            content_types: vec!["JSON".into(), "a/*/*".into()],
            ..of("{}")
        };
        let found = check(bad).unwrap_err();
        for pointer in ["/max_body", "/max_depth", "/max_faults", "/content_types/0", "/content_types/1"] {
            assert!(found.contains(pointer), "{pointer}: {found}");
        }
    }
}
