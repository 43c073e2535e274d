//! The one template language: text with references to what a request carries.
//!
//! ```text
//! template  = { text | "{{" | "}}" | "{" reference "}" }
//! reference = ( "path" | "query" | "header" ) "." key
//!           | "claims" 1*( "." key )
//!           | "consumer.name" | "client.address"
//!           | "request." ( "id" | "host" | "method" | "path" | "scheme" )
//! key       = 1*( letter | digit | "_" | "-" ) | quoted
//! quoted    = '"' { any character but '"' } '"'
//! ```
//!
//! Each [`Target`] encodes what it takes in: a value can never become syntax. Text is checked once, when the template
//! is parsed, against what may stand in its target; a value that cannot be encoded there is an error of the request.

mod reference;

pub use reference::{Reference, RequestField};

use crate::path;
use reference::reference;
use std::borrow::Cow;

/// The longest template, in bytes.
pub const MAX_LEN: usize = 4096;

/// Where a template's result goes, and so how its values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path, and after a `?` a query. A value becomes one segment; the rest of a path keeps its slashes.
    PathAndQuery,
    /// The value of a header.
    HeaderValue,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    target: Target,
}

/// What a request has for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A value, decoded.
    One(Cow<'a, [u8]>),
    /// Several: commas stand between them, and each is encoded so that it has none of its own.
    Several(Vec<Cow<'a, [u8]>>),
    /// One that is no text, as an object.
    Opaque,
}

/// What a request offers to its templates.
pub trait Scope {
    /// The value; `None` when the request has none.
    fn value(&self, reference: &Reference) -> Option<Value<'_>>;
}

/// Why a template has no result for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The request does not have the value.
    #[error("the request has no {0}")]
    Absent(Reference),
    /// The value cannot stand where it goes.
    #[error("the value of {0} cannot be encoded where it goes")]
    Unencodable(Reference),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    // A value in a path; `rest` keeps slashes.
    Segment { reference: Reference, rest: bool },
    QueryValue(Reference),
    HeaderValue(Reference),
}

// === impl Template ===

impl Template {
    /// Parses a template; `variables` are the names that the route's path captures, with whether each is the rest of
    /// the path. A policy does not know them, for it may stand at many routes: a name that is not captured is absent.
    pub fn parse(text: &str, target: Target, variables: Option<&[(&str, bool)]>) -> Result<Template, String> {
        if text.len() > MAX_LEN {
            return Err(format!("a template has at most {MAX_LEN} bytes"));
        }
        if target == Target::PathAndQuery && !text.starts_with('/') {
            return Err("a path begins with a slash".into());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut in_query = false;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                push_literal(c, target, &mut in_query, &mut literal)?;
                rest = &rest[2..];
            } else if c == '{' {
                let (reference, after) = reference(&rest[1..])?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(part(reference, target, in_query, variables)?);
                rest = after;
            } else if c == '}' {
                return Err("a closing brace without an opening one; write it twice to mean the character".into());
            } else {
                push_literal(c, target, &mut in_query, &mut literal)?;
                rest = &rest[c.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if target == Target::PathAndQuery {
            check_path(&parts)?;
        }
        Ok(Template { parts, target })
    }

    /// The text, if there is no reference in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the result to `out`. A path of the result still has to be normalised.
    pub fn render(&self, scope: &impl Scope, out: &mut String) -> Result<(), RenderError> {
        for part in &self.parts {
            let (Part::Segment { reference, .. } | Part::QueryValue(reference) | Part::HeaderValue(reference)) = part
            else {
                if let Part::Text(text) = part {
                    out.push_str(text);
                }
                continue;
            };
            let unencodable = || RenderError::Unencodable(reference.clone());
            match scope.value(reference).ok_or_else(|| RenderError::Absent(reference.clone()))? {
                Value::One(value) => part.encode(&value, out).ok_or_else(unencodable)?,
                Value::Several(values) => {
                    for (at, value) in values.iter().enumerate() {
                        if at > 0 {
                            out.push(',');
                        }
                        part.encode_element(value, out).ok_or_else(unencodable)?;
                    }
                }
                Value::Opaque => return Err(unencodable()),
            }
        }
        Ok(())
    }
}

// === impl Part ===

impl Part {
    // None where the value cannot stand.
    fn encode(&self, value: &[u8], out: &mut String) -> Option<()> {
        match self {
            Part::Text(_) => {}
            Part::Segment { rest: true, .. } => {
                for (at, segment) in value.split(|byte| *byte == b'/').enumerate() {
                    if at > 0 {
                        out.push('/');
                    }
                    push_segment(segment, out)?;
                }
            }
            Part::Segment { rest: false, .. } => push_segment(value, out).filter(|()| !value.is_empty())?,
            Part::QueryValue(_) => path::encode_segment(value, out),
            Part::HeaderValue(_) => {
                let text = std::str::from_utf8(value).ok()?;
                out.push_str(Some(text).filter(|text| http::HeaderValue::from_str(text).is_ok())?);
            }
        }
        Some(())
    }

    // In a header a comma would make two elements of one; elsewhere it is escaped.
    fn encode_element(&self, value: &[u8], out: &mut String) -> Option<()> {
        match self {
            Part::HeaderValue(_) if value.contains(&b',') => None,
            Part::Text(_) | Part::Segment { .. } | Part::QueryValue(_) | Part::HeaderValue(_) => {
                self.encode(value, out)
            }
        }
    }
}

// A slash, a backslash, a NUL or a dot segment would change what the path means.
fn push_segment(segment: &[u8], out: &mut String) -> Option<()> {
    if matches!(segment, b"." | b"..") || segment.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
        return None;
    }
    path::encode_segment(segment, out);
    Some(())
}

fn part(
    reference: Reference,
    target: Target,
    in_query: bool,
    variables: Option<&[(&str, bool)]>,
) -> Result<Part, String> {
    let mut rest = false;
    if let (Reference::Path(name), Some(variables)) = (&reference, variables) {
        let known = variables.iter().find(|(variable, _)| variable == name);
        rest = known.ok_or_else(|| unknown_variable(name, variables))?.1;
    }
    Ok(match target {
        Target::PathAndQuery if in_query => Part::QueryValue(reference),
        Target::PathAndQuery => Part::Segment { reference, rest },
        Target::HeaderValue => Part::HeaderValue(reference),
    })
}

fn unknown_variable(name: &str, variables: &[(&str, bool)]) -> String {
    if variables.is_empty() {
        return format!(
            "{{path.{name}}}: the route's path captures nothing; give it a template such as /orders/{{{name}}}"
        );
    }
    let hint = crate::invalid::did_you_mean(name, variables.iter().map(|(variable, _)| *variable));
    format!("{{path.{name}}}: the route's path captures no {name:?}{hint}")
}

fn push_literal(c: char, target: Target, in_query: &mut bool, literal: &mut String) -> Result<(), String> {
    match target {
        Target::HeaderValue if c.is_ascii() && !c.is_ascii_control() || c == '\t' => literal.push(c),
        Target::HeaderValue => return Err(format!("{c:?} cannot stand in a header value; only visible ASCII can")),
        Target::PathAndQuery if c == '#' || c == '\\' || !c.is_ascii_graphic() => {
            return Err(format!("{c:?} cannot stand in a path; percent-encode it"));
        }
        Target::PathAndQuery => {
            *in_query |= c == '?';
            literal.push(c);
        }
    }
    Ok(())
}

// The text of a path must have a normal form of its own, whatever the values are.
fn check_path(parts: &[Part]) -> Result<(), String> {
    let mut example = String::new();
    for part in parts {
        match part {
            Part::Text(text) => example.push_str(text),
            Part::Segment { .. } | Part::QueryValue(_) | Part::HeaderValue(_) => example.push('x'),
        }
    }
    let path = example.split('?').next().unwrap_or_default();
    path::normalise(path).map(|_| ()).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl Scope for Request {
        fn value(&self, reference: &Reference) -> Option<Value<'_>> {
            let several = |values: &[&'static str]| {
                Some(Value::Several(values.iter().map(|value| Cow::Borrowed(value.as_bytes())).collect()))
            };
            let value: &[u8] = match reference {
                Reference::Path(name) if name == "id" => b"a b",
                Reference::Path(name) if name == "rest" => b"x/y z",
                Reference::Query(name) if name == "up" => b"..",
                Reference::Query(name) if name == "q" => b"1&b=2",
                Reference::Query(name) if name == "crlf" => b"a\r\nX: y",
                Reference::Header(name) if name == "x-user" => b"ann",
                Reference::Claims(keys) => match keys.join("/").as_str() {
                    "realm/roles" => return several(&["a", "b c"]),
                    "https://x.example/roles" => return several(&["one"]),
                    "tricky" => return several(&["user,admin"]),
                    "object" => return Some(Value::Opaque),
                    _ => return None,
                },
                Reference::Request(RequestField::Method) => b"GET",
                Reference::ConsumerName => b"shop",
                Reference::ClientAddress => b"::1",
                _ => return None,
            };
            Some(Value::One(Cow::Borrowed(value)))
        }
    }

    fn render(text: &str, target: Target) -> Result<String, String> {
        let template = Template::parse(text, target, Some(&[("id", false), ("rest", true)]))?;
        let mut out = String::new();
        template.render(&Request, &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn each_target_encodes() {
        let check =
            |text: &str, target, expect: &str| assert_eq!(render(text, target).as_deref(), Ok(expect), "{text}");
        check("/v2/{path.id}/x?q={query.q}&r=1", Target::PathAndQuery, "/v2/a%20b/x?q=1%26b%3D2&r=1");
        check("/{path.rest}", Target::PathAndQuery, "/x/y%20z");
        check("/{claims.realm.roles}", Target::PathAndQuery, "/a,b%20c");
        check("/{request.method}?r={claims.tricky}", Target::PathAndQuery, "/GET?r=user%2Cadmin");
        check("{{{header.X-User}}}", Target::HeaderValue, "{ann}");
        check("{header.\"x-user\"}", Target::HeaderValue, "ann");
        check("{claims.realm.roles};{claims.\"https://x.example/roles\"}", Target::HeaderValue, "a,b c;one");
        check("{consumer.name}@{client.address}", Target::HeaderValue, "shop@::1");
        check("", Target::HeaderValue, "");
    }

    #[test]
    fn nothing_is_injected() {
        for (text, target) in [
            ("/{query.up}", Target::PathAndQuery),
            ("/{query.none}", Target::PathAndQuery),
            ("{query.crlf}", Target::HeaderValue),
            // Two roles out of one that has a comma in it.
            ("{claims.tricky}", Target::HeaderValue),
            ("{claims.object}", Target::HeaderValue),
            ("/{claims.object}", Target::PathAndQuery),
        ] {
            assert!(render(text, target).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_template_is_refused_with_advice() {
        for text in
            ["{", "{path}", "{path.}", "{path.id", "}", "{path.ID}", "{path.id.x}", "{header.a b}", "{query.\"a}"]
        {
            assert!(Template::parse(text, Target::HeaderValue, Some(&[("id", false)])).is_err(), "{text}");
        }
        for text in ["orders", "/a b", "/a#b", "/%2f", "/a\\b", "/é"] {
            assert!(Template::parse(text, Target::PathAndQuery, Some(&[])).is_err(), "{text}");
        }
        // A policy does not know what its routes capture.
        assert!(Template::parse("{path.any}", Target::HeaderValue, None).is_ok());
    }
}
