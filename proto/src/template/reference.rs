//! What a template may refer to, and how it is written.

use crate::invalid::did_you_mean;
use std::fmt;

/// How deep a reference may reach into claims.
const MAX_DEPTH: usize = 8;
/// What a reference begins with.
const ROOTS: [&str; 8] = ["path", "query", "header", "claims", "consumer", "client", "request", "error"];
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
pub(super) fn reference(text: &str) -> Result<(Reference, &str), String> {
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
        ] {
            let written = format!("{text}}} rest");
            let (reference, rest) = reference(&written).unwrap();
            assert_eq!((reference.to_string().as_str(), rest), (text, " rest"));
        }
        let (claims, _) = reference("claims.\"https://x.example/r\".b}").unwrap();
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
            ("claims.a.b.c.d.e.f.g.h.i}", "at most 8 claims deep"),
        ] {
            let error = reference(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
