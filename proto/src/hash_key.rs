//! A part of a request by which it is told apart from others, checked.

use crate::{
    invalid::Faults,
    pb,
    template::{Target, Template},
};
use http::HeaderName;

/// The longest name of a query parameter, in bytes.
const MAX_NAME: usize = 256;

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The client's address.
    ClientAddress,
    /// The path.
    Path,
    /// What a template makes of it.
    Template(Template),
}

// === impl HashKey ===

impl HashKey {
    /// Checks what was said; `variables` are the names that the path captures, where there is one.
    pub(crate) fn check(
        message: Option<&pb::HashKey>,
        variables: &[(&str, bool)],
        faults: &mut Faults,
    ) -> Option<HashKey> {
        use pb::hash_key::Kind;
        match message.and_then(|message| message.kind.as_ref()) {
            None => {
                faults.note(
                    "what tells requests apart is missing; give {header: …}, {cookie: …} or {client_address: {}}",
                );
                None
            }
            Some(Kind::Header(name)) => faults.at("header", |faults| {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                faults.take(parsed.map_err(|_| format!("{name:?} is not a header name"))).map(HashKey::Header)
            }),
            Some(Kind::Cookie(name)) => {
                faults.at("cookie", |faults| faults.take(cookie_name(name))).map(HashKey::Cookie)
            }
            Some(Kind::Query(name)) if name.is_empty() || name.len() > MAX_NAME => {
                faults.note_at("query", format!("the name of a parameter has 1 to {MAX_NAME} bytes"));
                None
            }
            Some(Kind::Query(name)) => Some(HashKey::Query(name.clone())),
            Some(Kind::ClientAddress(_)) => Some(HashKey::ClientAddress),
            Some(Kind::Path(_)) => Some(HashKey::Path),
            Some(Kind::Template(text)) => faults.at("template", |faults| {
                let template = faults.take(Template::parse(text, Target::HeaderValue, Some(variables)))?;
                if template.as_literal().is_some() {
                    faults.note("without a reference, as {header.x-tenant}, all requests have the same key");
                }
                Some(HashKey::Template(template))
            }),
        }
    }
}

/// The name of a cookie: a token (RFC 6265, 4.1.1) of at most 64 bytes.
pub(crate) fn cookie_name(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(is_token) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is not the name of a cookie: 1 to 64 letters, digits, `-`, `_` and `.`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::hash_key::Kind;

    #[test]
    fn a_key_is_a_part_of_the_request() {
        let check = |kind: Option<Kind>, pointer: Option<&str>| {
            let mut faults = Faults::default();
            let key = HashKey::check(Some(&pb::HashKey { kind: kind.clone() }), &[("id", false)], &mut faults);
            let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
            assert_eq!(found.first().map(String::as_str), pointer, "{kind:?}");
            assert!(key.is_some() || pointer.is_some());
        };
        check(None, Some(""));
        check(Some(Kind::Header("X-Tenant".into())), None);
        check(Some(Kind::Header("x user".into())), Some("/header"));
        check(Some(Kind::Cookie("__Host-id".into())), None);
        for bad in ["", "a=b", "a;b", "a b", "é"] {
            check(Some(Kind::Cookie(bad.into())), Some("/cookie"));
        }
        check(Some(Kind::Query("a b".into())), None);
        check(Some(Kind::Query(String::new())), Some("/query"));
        check(Some(Kind::ClientAddress(pb::ClientAddress {})), None);
        check(Some(Kind::Path(pb::RequestPath {})), None);
        check(Some(Kind::Template("{path.id}-{header.x-a}".into())), None);
        check(Some(Kind::Template("{path.no}".into())), Some("/template"));
        check(Some(Kind::Template("constant".into())), Some("/template"));
    }
}
