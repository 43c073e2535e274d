//! Which clients a variant is for.

use crate::context::Values;
use http::header;
use proto::{compose::Condition, matching::parameter};
use serde_json::Value as Json;

/// Whether the request is one of theirs.
pub(super) fn holds(when: &Condition, values: &Values<'_>) -> bool {
    let context = values.context();
    match when {
        Condition::Header { name, equals } => context.header(name).is_some_and(|value| *value == *equals.as_bytes()),
        Condition::Query { name, equals } => {
            let value = context.target.query().and_then(|query| parameter(query, name));
            value.is_some_and(|value| value == equals.as_bytes())
        }
        Condition::MediaType(media_type) => {
            context.header(&header::ACCEPT).is_some_and(|accept| names(&accept, media_type))
        }
        Condition::Claim { path, equals } => {
            let claim = context.principals.iter().find_map(|principal| path.find(&principal.claims));
            claim.is_some_and(|claim| match claim {
                Json::Array(elements) => elements.iter().any(|element| is_text(element, equals)),
                claim => is_text(claim, equals),
            })
        }
    }
}

fn is_text(claim: &Json, text: &str) -> bool {
    match claim {
        Json::String(claim) => claim == text,
        Json::Bool(claim) => text == if *claim { "true" } else { "false" },
        Json::Number(claim) => claim.to_string() == text,
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}

// Whether a media type is accepted by its own name: what is accepted by a star is what all others get.
fn names(accept: &[u8], media_type: &str) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type.as_bytes()));
        is_named && !parts.any(is_nothing)
    })
}

// A quality of 0.
fn is_nothing(parameter: &[u8]) -> bool {
    let quality = parameter.strip_prefix(b"q=").or(parameter.strip_prefix(b"Q="));
    quality.is_some_and(|quality| {
        let (whole, rest) = quality.split_first().unwrap_or((&b'0', &[]));
        *whole == b'0' && rest.iter().all(|byte| matches!(byte, b'.' | b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_meant_by_its_name() {
        let check = |accept: &str, expect| {
            assert_eq!(names(accept.as_bytes(), "application/vnd.shop+json"), expect, "{accept}");
        };
        check("application/vnd.shop+json", true);
        check("text/html, Application/VND.shop+json;v=1;q=0.5", true);
        check("application/vnd.shop+json;q=0", false);
        check("application/vnd.shop+json; q=0.000", false);
        check("application/vnd.shop+json;q=0.001", true);
        check("*/*, application/*", false);
        check("application/vnd.shop+jsonx", false);
        check("", false);
    }
}
