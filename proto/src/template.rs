//! The one template language: text with references to what a request carries.
//!
//! ```text
//! template  = { text | "{{" | "}}" | "{" reference "}" }
//! reference = ( "path" | "query" | "header" ) "." key
//!           | "claims" 1*( "." key )
//!           | "consumer.name" | "client.address"
//!           | "request." ( "id" | "host" | "method" | "path" | "scheme" )
//!           | "error." ( "status" | "title" | "reason" | "detail" )
//!           | "parts." key *( "." key | "[]" )
//!           | "items" *( "." key | "[]" )
//! key       = 1*( letter | digit | "_" | "-" ) | quoted
//! quoted    = '"' { any character but '"' } '"'
//! ```
//!
//! Each [`Target`] encodes what it takes in: a value can never become syntax. Text is checked once, when the template
//! is parsed, against what may stand in its target; a value that cannot be encoded there is an error of the request.
//!
//! In a JSON body only a letter after a brace makes a reference of it, for JSON has braces of its own; within its strings
//! the rule is the same as everywhere.

mod encoding;
mod json;
mod reference;

pub use reference::{ErrorField, Reference, RequestField};

use crate::path;
use encoding::Encoding;
use reference::reference;
use std::borrow::Cow;

/// The longest template, in bytes.
pub const MAX_LEN: usize = 4096;
/// The longest result of a template, in bytes: what stands in its place may come from large bodies.
pub const MAX_RESULT: usize = 16 * 1024 * 1024;
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
    /// JSON of a request, where values stand within strings or are values of their own.
    JsonBody,
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
    /// A JSON value, as it was received.
    Json(Cow<'a, [u8]>),
    /// Several of them.
    JsonList(Vec<Cow<'a, [u8]>>),
}

/// What references can be resolved where a template stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roots<'a> {
    /// The names that the route's path captures, with whether each is the rest of the path; `None` where they are not
    /// known, and a name that is not captured is absent.
    pub variables: Option<&'a [(&'a str, bool)]>,
    /// The names of a composition's parts; `None` outside of one.
    pub parts: Option<&'a [&'a str]>,
    /// Whether there is an element of a list.
    pub items: bool,
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

// Where in its target a template has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    in_query: bool,
    string: json::InString,
}

// === impl Template ===

impl Template {
    /// Parses a template; `variables` are the names that the route's path captures, with whether each is the rest of
    /// the path. A policy does not know them, for it may stand at many routes: a name that is not captured is absent.
    pub fn parse(text: &str, target: Target, variables: Option<&[(&str, bool)]>) -> Result<Template, String> {
        Template::parse_within(text, target, Roots { variables, ..Default::default() })
    }

    /// Parses a template that may refer to no more than these.
    pub fn parse_within(text: &str, target: Target, roots: Roots<'_>) -> Result<Template, String> {
        let most = match target {
            Target::PathAndQuery | Target::QueryValue | Target::HeaderValue => MAX_LEN,
            Target::Json | Target::JsonBody | Target::Html | Target::Text => MAX_BODY,
        };
        if text.len() > most {
            return Err(format!("a template of this kind has at most {most} bytes"));
        }
        if target == Target::PathAndQuery && !text.starts_with('/') {
            return Err("a path begins with a slash".into());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut place = Place::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let braces_are_text = target == Target::JsonBody && place.string == json::InString::No;
            if braces_are_text && !(c == '{' && rest[1..].starts_with(|next: char| next.is_ascii_alphabetic())) {
                push_literal(c, target, &mut place, &mut literal)?;
                rest = &rest[c.len_utf8()..];
            } else if rest.starts_with("{{") || rest.starts_with("}}") {
                push_literal(c, target, &mut place, &mut literal)?;
                rest = &rest[2..];
            } else if c == '{' {
                let (reference, after) = reference(&rest[1..], roots)?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(part(reference, target, place, roots.variables)?);
                rest = after;
            } else if c == '}' {
                return Err("a closing brace without an opening one; write it twice to mean the character".into());
            } else {
                push_literal(c, target, &mut place, &mut literal)?;
                rest = &rest[c.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        match target {
            Target::PathAndQuery => check_path(&parts)?,
            Target::JsonBody => check_json(&parts)?,
            Target::QueryValue | Target::HeaderValue | Target::Json | Target::Html | Target::Text => {}
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

    /// What it refers to.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(reference, _) => Some(reference),
            Part::Text(_) => None,
        })
    }

    /// The variables of a path that it refers to.
    pub fn captured(&self) -> impl Iterator<Item = &str> {
        self.references().filter_map(|reference| match reference {
            Reference::Path(name) => Some(name.as_str()),
            _ => None,
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
            if out.len() > MAX_RESULT {
                return Err(unencodable());
            }
            let value = scope.value(reference);
            if encoding == Encoding::JsonValue {
                let value = value.ok_or_else(|| RenderError::Absent(reference.clone()))?;
                json::write(&value, out).ok_or_else(unencodable)?;
                continue;
            }
            match value.and_then(json::as_text) {
                Some(Value::One(value)) => encoding.encode(&value, out).ok_or_else(unencodable)?,
                Some(Value::Several(values)) if values.is_empty() && encoding == Encoding::Segment => {
                    return Err(unencodable());
                }
                Some(Value::Several(values)) => {
                    for (at, value) in values.iter().enumerate() {
                        if at > 0 {
                            out.push(',');
                        }
                        encoding.encode_element(value, out).ok_or_else(unencodable)?;
                    }
                }
                Some(Value::Opaque | Value::Json(_) | Value::JsonList(_)) | None if encoding.allows_gaps() => {}
                Some(Value::Opaque | Value::Json(_) | Value::JsonList(_)) => return Err(unencodable()),
                None => return Err(RenderError::Absent(reference.clone())),
            }
        }
        Ok(())
    }
}

fn part(
    reference: Reference,
    target: Target,
    place: Place,
    variables: Option<&[(&str, bool)]>,
) -> Result<Part, String> {
    let mut rest = false;
    if let (Reference::Path(name), Some(variables)) = (&reference, variables) {
        let known = variables.iter().find(|(variable, _)| variable == name);
        rest = known.ok_or_else(|| unknown_variable(name, variables))?.1;
    }
    let encoding = match target {
        Target::PathAndQuery if place.in_query => Encoding::Query,
        Target::PathAndQuery if rest => Encoding::Rest,
        Target::PathAndQuery => Encoding::Segment,
        Target::QueryValue => Encoding::Query,
        Target::HeaderValue => Encoding::Header,
        Target::Json => Encoding::Json,
        Target::JsonBody if place.string == json::InString::No => Encoding::JsonValue,
        Target::JsonBody => Encoding::JsonText,
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

fn push_literal(c: char, target: Target, place: &mut Place, literal: &mut String) -> Result<(), String> {
    match target {
        Target::HeaderValue if c.is_ascii() && !c.is_ascii_control() || c == '\t' => literal.push(c),
        Target::HeaderValue => return Err(format!("{c:?} cannot stand in a header value; only visible ASCII can")),
        Target::PathAndQuery if c == '#' || c == '\\' || !c.is_ascii_graphic() => {
            return Err(format!("{c:?} cannot stand in a path; percent-encode it"));
        }
        Target::PathAndQuery => {
            place.in_query |= c == '?';
            literal.push(c);
        }
        Target::QueryValue => path::encode_segment(c.encode_utf8(&mut [0; 4]).as_bytes(), literal),
        Target::JsonBody => {
            place.string = place.string.after(c);
            literal.push(c);
        }
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

// The same of JSON.
fn check_json(parts: &[Part]) -> Result<(), String> {
    let mut example = String::new();
    for part in parts {
        match part {
            Part::Text(text) => example.push_str(text),
            Part::Value(_, Encoding::JsonValue) => example.push_str("null"),
            Part::Value(..) => example.push('x'),
        }
    }
    let fault = |error| format!("this is not JSON, whatever the values are: {error}");
    serde_json::from_str::<serde::de::IgnoredAny>(&example).map(|_| ()).map_err(fault)
}

#[cfg(test)]
mod tests;
