//! How answers look: JSON, or YAML when the client asks for it, each with a strong entity tag.

use super::body::{JSON, YAML};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proto::{identity::hex, resource::Hash};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The revision that an answer is of.
const REVISION: HeaderName = HeaderName::from_static("portico-revision");

/// In which language an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Yaml,
}

/// A strong entity tag. Two forms of one thing have tags of their own, but the same digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

/// Marks an answer with the revision that it is of.
pub(crate) fn of_revision(revision: u64, mut response: Response) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision));
    response
}

/// A time as RFC 3339 has it.
pub(crate) fn time_text(time: OffsetDateTime) -> String {
    // Only a year beyond 9999 cannot be written.
    time.format(&Rfc3339).unwrap_or_default()
}

// === impl Form ===

impl Form {
    /// The form that the client accepts best; JSON when it does not say.
    pub(crate) fn wanted(headers: &HeaderMap) -> Form {
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Form::Json, 0.0);
        for range in accept.flat_map(|text| text.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let form = match media_type.as_str() {
                JSON | "*/*" | "application/*" => Form::Json,
                yaml if YAML.contains(&yaml) => Form::Yaml,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if quality > best.1 {
                best = (form, quality);
            }
        }
        best.0
    }

    /// Writes an answer.
    pub(crate) fn write(self, status: StatusCode, value: &Value) -> Response {
        self.with_text(status, self.text(value))
    }

    /// Writes an answer to a GET, or only that the client has it already.
    pub(crate) fn write_tagged(self, tag: Option<Tag>, headers: &HeaderMap, value: &Value) -> Response {
        let text = self.text(value);
        let tag = tag.unwrap_or_else(|| Tag::of(Sha256::digest(&text).into(), self));
        let known = Tags::read(headers.get_all(header::IF_NONE_MATCH).iter());
        let mut response = match known.is_some_and(|known| known.has_weakly(&tag)) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.with_text(StatusCode::OK, text),
        };
        response.headers_mut().insert(header::ETAG, tag.header());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, authorization"));
        response
    }

    fn with_text(self, status: StatusCode, text: String) -> Response {
        let media_type = match self {
            Form::Json => JSON,
            Form::Yaml => YAML[0],
        };
        let mut response = (status, text).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }

    fn text(self, value: &Value) -> String {
        match self {
            Form::Json => value.to_string(),
            Form::Yaml => serde_saphyr::to_string(value).expect("a JSON value has string keys and can be written"),
        }
    }
}

// === impl Tag ===

impl Tag {
    /// The tag of what has this digest, in a form.
    pub(crate) fn of(digest: Hash, form: Form) -> Tag {
        let digest = hex(&digest[..16]);
        match form {
            Form::Json => Tag(format!("\"{digest}\"")),
            Form::Yaml => Tag(format!("\"{digest}-yaml\"")),
        }
    }

    /// As a header's value.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).expect("a tag is of hexadecimal digits")
    }

    /// As text, with its quotes.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`.
    Any,
    /// These.
    Listed(Vec<String>),
}

// === impl Tags ===

impl Tags {
    /// Reads the tags of a header; `None` without it. What is not a tag matches nothing.
    pub(crate) fn read<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<Tags> {
        let mut tags = None;
        for value in values {
            let text = value.to_str().unwrap_or_default();
            if text.trim() == "*" {
                return Some(Tags::Any);
            }
            // A comma may stand inside of a tag.
            let mut quoted = false;
            let split = text.split(|c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            tags.get_or_insert_with(Vec::new).extend(split.map(|tag| tag.trim().to_owned()));
        }
        tags.map(Tags::Listed)
    }

    /// Whether the thing of this digest is among them, in whichever form. A weak tag never is.
    pub(crate) fn has(&self, digest: Hash) -> bool {
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => {
                [Form::Json, Form::Yaml].into_iter().any(|form| tags.contains(&Tag::of(digest, form).0))
            }
        }
    }

    fn has_weakly(&self, tag: &Tag) -> bool {
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|other| other.trim_start_matches("W/") == tag.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_accept(accept: &str, expect: Form) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        assert_eq!(Form::wanted(&headers), expect, "{accept}");
    }

    #[test]
    fn yaml_is_answered_when_it_is_asked_for() {
        check_accept("application/yaml", Form::Yaml);
        check_accept("text/html, application/x-yaml;q=0.9, */*;q=0.1", Form::Yaml);
        check_accept("application/json, application/yaml", Form::Json);
        check_accept("application/yaml;q=0.5, application/json", Form::Json);
        check_accept("*/*", Form::Json);
        check_accept("text/html", Form::Json);
        check_accept("application/yaml;q=0", Form::Json);
    }

    #[test]
    fn tags_are_compared_by_digest_and_never_weakly_for_writes() {
        let read = |text: &str| Tags::read([&HeaderValue::from_str(text).unwrap()].into_iter()).unwrap();
        let digest = [7; 32];
        let tag = Tag::of(digest, Form::Json).0;
        assert!(read(&format!("\"a,b\", {tag}")).has(digest));
        assert!(read(Tag::of(digest, Form::Yaml).as_str()).has(digest));
        assert!(read("*").has(digest));
        assert!(!read(&format!("W/{tag}")).has(digest));
        assert!(!read(&tag).has([8; 32]));
        assert_eq!(Tags::read([].into_iter()), None);
    }
}
