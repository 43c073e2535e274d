//! What a template may refer to, and how it is written.

use super::Roots;
use crate::{
    invalid::did_you_mean,
    json_path::{self, JsonPath, Step},
};
use std::fmt;

/// How deep a reference may reach into claims.
const MAX_DEPTH: usize = 8;
/// What a reference begins with.
const ROOTS: [&str; 10] =
    ["path", "query", "header", "claims", "consumer", "client", "request", "error", "parts", "items"];
const ADVICE: &str = "write a reference as {path.name}, {query.name}, {header.name}, {claims.name}, {consumer.name}, \
                      {client.address} or {request.id}";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A captured variable of the path.
    Path(String),
    /// The first query parameter of the name.
    Query(String),
    /// The first request header of the name, which is in lower case.
    Header(String),
    /// A claim of who sent the request, in claims of these names.
    Claims(Vec<String>),
    /// The name of the consumer who sent it.
    ConsumerName,
    /// The address of the client.
    ClientAddress,
    /// Something of the request itself.
    Request(RequestField),
    /// Something of the error that is answered.
    Error(ErrorField),
    /// Something of the answer that another part of the composition had.
    Part {
        /// Which, by its index.
        part: usize,
        /// Its name.
        name: Box<str>,
        /// Where in its answer.
        path: JsonPath,
    },
    /// Something of the element for which the call is made, or of those.
    Item(JsonPath),
}

/// Something of a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestField {
    /// Its id.
    Id,
    /// The host that was asked for, without a port.
    Host,
    /// The method.
    Method,
    /// The path in its normal form.
    Path,
    /// How the client came: `http` or `https`.
    Scheme,
}

/// Something of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorField {
    /// The status, as `404`.
    Status,
    /// What HTTP calls that status, as `Not Found`.
    Title,
    /// Its label, as in the log.
    Reason,
    /// What is wrong, for people.
    Detail,
}

// === impl Reference ===

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Path(name) => write!(f, "path.{name}"),
            Reference::Query(name) => write!(f, "query.{name}"),
            Reference::Header(name) => write!(f, "header.{name}"),
            Reference::Claims(names) => write!(f, "claims.{}", names.join(".")),
            Reference::ConsumerName => f.write_str("consumer.name"),
            Reference::ClientAddress => f.write_str("client.address"),
            Reference::Request(field) => write!(f, "request.{}", field.as_str()),
            Reference::Error(field) => write!(f, "error.{}", field.as_str()),
            Reference::Part { name, path, .. } => write!(f, "parts.{name}{}", Below(path)),
            Reference::Item(path) => write!(f, "items{}", Below(path)),
        }
    }
}

// What a path is behind a name.
struct Below<'a>(&'a JsonPath);

impl fmt::Display for Below<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.steps.first() {
            Some(Step::Member(_)) => write!(f, ".{}", self.0),
            Some(Step::Each) | None => write!(f, "{}", self.0),
        }
    }
}

// === impl RequestField ===

impl RequestField {
    const ALL: [RequestField; 5] =
        [RequestField::Id, RequestField::Host, RequestField::Method, RequestField::Path, RequestField::Scheme];

    fn as_str(self) -> &'static str {
        match self {
            RequestField::Id => "id",
            RequestField::Host => "host",
            RequestField::Method => "method",
            RequestField::Path => "path",
            RequestField::Scheme => "scheme",
        }
    }
}

// === impl ErrorField ===

impl ErrorField {
    const ALL: [ErrorField; 4] = [ErrorField::Status, ErrorField::Title, ErrorField::Reason, ErrorField::Detail];

    fn as_str(self) -> &'static str {
        match self {
            ErrorField::Status => "status",
            ErrorField::Title => "title",
            ErrorField::Reason => "reason",
            ErrorField::Detail => "detail",
        }
    }
}

/// Parses up to and with the closing brace; returns what follows.
pub(super) fn reference<'t>(text: &'t str, roots: Roots<'_>) -> Result<(Reference, &'t str), String> {
    let (reference, rest) = match (text.strip_prefix("parts."), text.strip_prefix("items")) {
        (Some(below), _) => of_parts(below, roots)?,
        (None, Some(below)) if below.starts_with(['.', '[', '}']) => of_items(below, roots)?,
        (None, _) => return of_request(text),
    };
    let rest = rest.strip_prefix('}').ok_or_else(|| format!("{{{reference}: a reference does not end with a brace"))?;
    Ok((reference, rest))
}

fn of_parts<'t>(text: &'t str, roots: Roots<'_>) -> Result<(Reference, &'t str), String> {
    let wrong = |what: String| format!("{{parts.{}: {what}", upto_brace(text));
    let parts = roots.parts.ok_or_else(|| wrong("only the calls of a `compose` know its parts".into()))?;
    let (name, rest) = json_path::name(text).map_err(wrong)?;
    let (path, rest) = JsonPath::parse_below(rest).map_err(wrong)?;
    let part = parts.iter().position(|part| **part == *name);
    let part =
        part.ok_or_else(|| wrong(format!("there is no part {name:?}{}", did_you_mean(&name, parts.iter().copied()))))?;
    Ok((Reference::Part { part, name, path }, rest))
}

fn of_items<'t>(text: &'t str, roots: Roots<'_>) -> Result<(Reference, &'t str), String> {
    let wrong = |what: String| format!("{{items{}: {what}", upto_brace(text));
    if !roots.items {
        return Err(wrong("only the calls of a `for_each` know an element of its list".into()));
    }
    let (path, rest) = JsonPath::parse_below(text).map_err(wrong)?;
    Ok((Reference::Item(path), rest))
}

fn upto_brace(text: &str) -> &str {
    &text[..text.find('}').map_or(text.len(), |at| at + 1)]
}

fn of_request(text: &str) -> Result<(Reference, &str), String> {
    let (root, mut rest) = match text.find(['.', '}']) {
        Some(at) if text[at..].starts_with('.') => text.split_at(at),
        Some(_) | None => return Err(format!("a brace opens and no reference follows; {ADVICE}")),
    };
    let mut keys = Vec::new();
    while let Some(after) = rest.strip_prefix('.') {
        let (name, after) = key(after)?;
        keys.push(name);
        rest = after;
    }
    let after = rest.strip_prefix('}').ok_or_else(|| format!("a reference does not end with a brace; {ADVICE}"))?;
    Ok((of_root(root, keys)?, after))
}

fn key(text: &str) -> Result<(&str, &str), String> {
    let (key, after) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quoted key does not end")?,
        None => {
            let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
            text.split_at(end)
        }
    };
    match key {
        "" => Err(format!("a reference has no key; {ADVICE}")),
        key => Ok((key, after)),
    }
}

fn of_root(root: &str, keys: Vec<&str>) -> Result<Reference, String> {
    let one = || match keys.as_slice() {
        [key] => Ok(*key),
        _ => Err(format!("only claims have names in names; quote a key with a dot in it, as {{{root}.\"a.b\"}}")),
    };
    match root {
        "path" => Ok(Reference::Path(one()?.into())),
        "query" => Ok(Reference::Query(one()?.into())),
        "header" => {
            let name = http::HeaderName::from_bytes(one()?.as_bytes());
            let name = name.map_err(|_| format!("{:?} is not a header name", keys.join(".")))?;
            Ok(Reference::Header(name.as_str().into()))
        }
        "claims" if keys.len() > MAX_DEPTH => Err(format!("a reference reaches at most {MAX_DEPTH} claims deep")),
        "claims" => Ok(Reference::Claims(keys.into_iter().map(Into::into).collect())),
        "consumer" => known(root, one()?, ["name"]).map(|_| Reference::ConsumerName),
        "client" => known(root, one()?, ["address"]).map(|_| Reference::ClientAddress),
        "request" => {
            let at = known(root, one()?, RequestField::ALL.map(RequestField::as_str))?;
            Ok(Reference::Request(RequestField::ALL[at]))
        }
        "error" => {
            let at = known(root, one()?, ErrorField::ALL.map(ErrorField::as_str))?;
            Ok(Reference::Error(ErrorField::ALL[at]))
        }
        _ => Err(format!("{root:?} is not a root of references{}; {ADVICE}", did_you_mean(root, ROOTS))),
    }
}

// Which of the names it is.
fn known<const N: usize>(root: &str, key: &str, names: [&'static str; N]) -> Result<usize, String> {
    names.iter().position(|name| *name == key).ok_or_else(|| {
        format!("{{{root}.{key}}}: {root} has {} and no {key:?}{}", names.join(", "), did_you_mean(key, names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTS_OF_ALL: Roots<'_> = Roots { variables: None, parts: Some(&["order"]), items: true };

    #[test]
    fn references_are_read_to_their_brace() {
        for text in [
            "path.id",
            "query.a_b-c",
            "header.x-user",
            "claims.realm_access.roles",
            "consumer.name",
            "client.address",
            "request.host",
            "parts.order",
            "parts.order.lines[].sku",
            "parts.order[].\"unit price\"",
            "items",
            "items.sku",
            "items[]",
        ] {
            let written = format!("{text}}} rest");
            let (reference, rest) = reference(&written, ROOTS_OF_ALL).unwrap();
            assert_eq!((reference.to_string().as_str(), rest), (text, " rest"));
        }
        let (claims, _) = reference("claims.\"https://x.example/r\".b}", ROOTS_OF_ALL).unwrap();
        assert_eq!(claims, Reference::Claims(vec!["https://x.example/r".into(), "b".into()]));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_advice() {
        for (text, advice) in [
            ("}", "no reference follows"),
            ("id}", "no reference follows"),
            ("claim.sub}", "did you mean \"claims\"?"),
            ("request.hots}", "did you mean \"host\"?"),
            ("consumer.id}", "consumer has name and no \"id\""),
            ("query.a.b}", "quote a key with a dot"),
            ("claims.}", "has no key"),
            ("claims.a", "does not end with a brace"),
            ("parts}", "no reference follows"),
            ("parts.}", "has an empty name"),
            ("parts.ordr.x} y", "{parts.ordr.x}: there is no part \"ordr\"; did you mean \"order\"?"),
            ("parts.order.a b}", "does not end with a brace"),
            ("parts.order[0]}", "elements have no numbers"),
            ("item.sku}", "did you mean \"items\"?"),
            ("claims.a.b.c.d.e.f.g.h.i}", "at most 8 claims deep"),
        ] {
            let error = reference(text, ROOTS_OF_ALL).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
