//! The one template language: text with references to what a request carries.
//!
//! ```text
//! template  = { text | "{{" | "}}" | "{" reference "}" }
//! reference = ( "path" | "query" | "header" ) "." key
//!           | "claims" 1*( "." key )
//!           | "consumer.name" | "client.address"
//!           | "request." ( "id" | "host" | "method" | "path" | "scheme" )
//!           | "error." ( "status" | "title" | "reason" | "detail" )
//! key       = 1*( letter | digit | "_" | "-" ) | quoted
//! quoted    = '"' { any character but '"' } '"'
//! ```
//!
//! Each [`Target`] encodes what it takes in: a value can never become syntax. Text is checked once, when the template
//! is parsed, against what may stand in its target; a value that cannot be encoded there is an error of the request.

mod encoding;
mod reference;

pub use reference::{ErrorField, Reference, RequestField};

use crate::path;
use encoding::Encoding;
use reference::reference;
use std::borrow::Cow;

/// The longest template, in bytes.
pub const MAX_LEN: usize = 4096;
/// The longest template of a body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Where a template's result goes, and so how its values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path, and after a `?` a query. A value becomes one segment; the rest of a path keeps its slashes.
    PathAndQuery,
    /// The value of a parameter of a query, text and values alike.
    QueryValue,
    /// The value of a header.
    HeaderValue,
    /// JSON, where values stand within strings.
    Json,
    /// HTML, where values stand between tags or in attributes.
    Html,
    /// Text for people.
    Text,
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
    Value(Reference, Encoding),
}

// === impl Template ===

impl Template {
    /// Parses a template; `variables` are the names that the route's path captures, with whether each is the rest of
    /// the path. A policy does not know them, for it may stand at many routes: a name that is not captured is absent.
    pub fn parse(text: &str, target: Target, variables: Option<&[(&str, bool)]>) -> Result<Template, String> {
        let most = match target {
            Target::PathAndQuery | Target::QueryValue | Target::HeaderValue => MAX_LEN,
            Target::Json | Target::Html | Target::Text => MAX_BODY,
        };
        if text.len() > most {
            return Err(format!("a template of this kind has at most {most} bytes"));
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

    /// The variables of a path that it refers to.
    pub fn captured(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(Reference::Path(name), _) => Some(name.as_str()),
            Part::Value(..) | Part::Text(_) => None,
        })
    }

    /// Appends the result to `out`. A path of the result still has to be normalised.
    pub fn render(&self, scope: &impl Scope, out: &mut String) -> Result<(), RenderError> {
        for part in &self.parts {
            let (reference, encoding) = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Value(reference, encoding) => (reference, *encoding),
            };
            let unencodable = || RenderError::Unencodable(reference.clone());
            match scope.value(reference) {
                Some(Value::One(value)) => encoding.encode(&value, out).ok_or_else(unencodable)?,
                Some(Value::Several(values)) => {
                    for (at, value) in values.iter().enumerate() {
                        if at > 0 {
                            out.push(',');
                        }
                        encoding.encode_element(value, out).ok_or_else(unencodable)?;
                    }
                }
                Some(Value::Opaque) | None if encoding.allows_gaps() => {}
                Some(Value::Opaque) => return Err(unencodable()),
                None => return Err(RenderError::Absent(reference.clone())),
            }
        }
        Ok(())
    }
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
    let encoding = match target {
        Target::PathAndQuery if in_query => Encoding::Query,
        Target::PathAndQuery if rest => Encoding::Rest,
        Target::PathAndQuery => Encoding::Segment,
        Target::QueryValue => Encoding::Query,
        Target::HeaderValue => Encoding::Header,
        Target::Json => Encoding::Json,
        Target::Html => Encoding::Html,
        Target::Text => Encoding::Text,
    };
    if let (Reference::Error(_), false) = (&reference, encoding.allows_gaps()) {
        return Err(format!("{{{reference}}}: only the body of an error knows its error"));
    }
    Ok(Part::Value(reference, encoding))
}

/// That the path captures no such variable, and what to do.
pub(crate) fn unknown_variable(name: &str, variables: &[(&str, bool)]) -> String {
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
        Target::QueryValue => path::encode_segment(c.encode_utf8(&mut [0; 4]).as_bytes(), literal),
        Target::Json | Target::Html | Target::Text => literal.push(c),
    }
    Ok(())
}

// The text of a path must have a normal form of its own, whatever the values are.
fn check_path(parts: &[Part]) -> Result<(), String> {
    let mut example = String::new();
    for part in parts {
        match part {
            Part::Text(text) => example.push_str(text),
            Part::Value(..) => example.push('x'),
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
        check("{claims.realm.roles}&{query.q} é", Target::QueryValue, "a,b%20c%261%26b%3D2%20%C3%A9");
        check("{{\"q\": \"{query.crlf}\"}}", Target::Json, "{\"q\": \"a\\u000d\\u000aX: y\"}");
        // What is for people is better with a gap than not at all.
        check("<p>{query.q}{query.none}{claims.object}</p>", Target::Html, "<p>1&#x26;b&#x3d;2</p>");
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
        assert!(Template::parse("{error.status}", Target::HeaderValue, None).is_err());
        assert!(Template::parse("{error.status}", Target::Text, None).is_ok());
        // A policy does not know what its routes capture.
        assert!(Template::parse("{path.any}", Target::HeaderValue, None).is_ok());
    }
}
