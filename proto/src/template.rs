//! The one template language: text with references to what a request carries.
//!
//! ```text
//! template  = { text | "{{" | "}}" | "{" reference "}" }
//! reference = root "." key
//! root      = "path" | "query" | "header"
//! key       = 1*( letter | digit | "_" | "-" ) | quoted
//! quoted    = '"' { any character but '"' } '"'
//! ```
//!
//! Each [`Target`] encodes what it takes in: a value can never become syntax. Text is checked once, when the template
//! is parsed, against what may stand in its target; a value that cannot be encoded there is an error of the request.

use crate::path;
use std::{borrow::Cow, fmt};

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

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A captured variable of the path.
    Path(String),
    /// The first query parameter of the name.
    Query(String),
    /// The first request header of the name, which is in lower case.
    Header(String),
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    target: Target,
}

/// What a request offers to its templates.
pub trait Scope {
    /// The value, decoded; `None` when the request has none.
    fn value(&self, reference: &Reference) -> Option<Cow<'_, [u8]>>;
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
    /// the path.
    pub fn parse(text: &str, target: Target, variables: &[(&str, bool)]) -> Result<Template, String> {
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
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Segment { reference, rest } => {
                    let value = value(scope, reference)?;
                    if *rest {
                        for (at, segment) in value.split(|byte| *byte == b'/').enumerate() {
                            if at > 0 {
                                out.push('/');
                            }
                            push_segment(segment, reference, out)?;
                        }
                    } else if value.is_empty() {
                        return Err(RenderError::Unencodable(reference.clone()));
                    } else {
                        push_segment(&value, reference, out)?;
                    }
                }
                Part::QueryValue(reference) => path::encode_segment(&value(scope, reference)?, out),
                Part::HeaderValue(reference) => {
                    let value = value(scope, reference)?;
                    let text =
                        std::str::from_utf8(&value).ok().filter(|text| http::HeaderValue::from_str(text).is_ok());
                    out.push_str(text.ok_or_else(|| RenderError::Unencodable(reference.clone()))?);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Path(name) => write!(f, "path.{name}"),
            Reference::Query(name) => write!(f, "query.{name}"),
            Reference::Header(name) => write!(f, "header.{name}"),
        }
    }
}

fn value<'a>(scope: &'a impl Scope, reference: &Reference) -> Result<Cow<'a, [u8]>, RenderError> {
    scope.value(reference).ok_or_else(|| RenderError::Absent(reference.clone()))
}

// A slash, a backslash, a NUL or a dot segment would change what the path means.
fn push_segment(segment: &[u8], reference: &Reference, out: &mut String) -> Result<(), RenderError> {
    if matches!(segment, b"." | b"..") || segment.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
        return Err(RenderError::Unencodable(reference.clone()));
    }
    path::encode_segment(segment, out);
    Ok(())
}

fn part(reference: Reference, target: Target, in_query: bool, variables: &[(&str, bool)]) -> Result<Part, String> {
    let mut rest = false;
    if let Reference::Path(name) = &reference {
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

/// Parses up to and with the closing brace; returns what follows.
fn reference(text: &str) -> Result<(Reference, &str), String> {
    let advice = "write a reference as {path.name}, {query.name} or {header.name}";
    let (root, after) =
        text.split_once('.').ok_or_else(|| format!("a brace opens and no reference follows; {advice}"))?;
    let (key, after) = match after.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quoted key does not end")?,
        None => {
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(after.len());
            after.split_at(end)
        }
    };
    let after = after.strip_prefix('}').ok_or_else(|| format!("a reference does not end with a brace; {advice}"))?;
    if key.is_empty() {
        return Err(format!("a reference has no key; {advice}"));
    }
    let reference = match root {
        "path" => Reference::Path(key.into()),
        "query" => Reference::Query(key.into()),
        "header" => Reference::Header(
            http::HeaderName::from_bytes(key.as_bytes())
                .map_err(|_| format!("{key:?} is not a header name"))?
                .as_str()
                .into(),
        ),
        _ => {
            let hint = crate::invalid::did_you_mean(root, ["path", "query", "header"]);
            return Err(format!("{root:?} is not a root of references{hint}; {advice}"));
        }
    };
    Ok((reference, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl Scope for Request {
        fn value(&self, reference: &Reference) -> Option<Cow<'_, [u8]>> {
            let value: &[u8] = match reference {
                Reference::Path(name) if name == "id" => b"a b",
                Reference::Path(name) if name == "rest" => b"x/y z",
                Reference::Query(name) if name == "up" => b"..",
                Reference::Query(name) if name == "q" => b"1&b=2",
                Reference::Query(name) if name == "crlf" => b"a\r\nX: y",
                Reference::Header(name) if name == "x-user" => b"ann",
                _ => return None,
            };
            Some(Cow::Borrowed(value))
        }
    }

    fn render(text: &str, target: Target) -> Result<String, String> {
        let template = Template::parse(text, target, &[("id", false), ("rest", true)])?;
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
        check("{{{header.X-User}}}", Target::HeaderValue, "{ann}");
        check("{header.\"x-user\"}", Target::HeaderValue, "ann");
        check("", Target::HeaderValue, "");
    }

    #[test]
    fn nothing_is_injected() {
        for (text, target) in [
            ("/{query.up}", Target::PathAndQuery),
            ("/{query.none}", Target::PathAndQuery),
            ("{query.crlf}", Target::HeaderValue),
        ] {
            assert!(render(text, target).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_template_is_refused_with_advice() {
        for text in
            ["{", "{path}", "{path.}", "{path.id", "}", "{claims.sub}", "{path.ID}", "{header.a b}", "{query.\"a}"]
        {
            assert!(Template::parse(text, Target::HeaderValue, &[("id", false)]).is_err(), "{text}");
        }
        for text in ["orders", "/a b", "/a#b", "/%2f", "/a\\b", "/é"] {
            assert!(Template::parse(text, Target::PathAndQuery, &[]).is_err(), "{text}");
        }
    }
}
