//! Bodies of requests: JSON or YAML, whole, bounded in size, depth, time and the expansion of aliases.

use super::{
    problem::{Problem, ProblemKind},
    strict::{MAX_DEPTH, Strict},
};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use serde_saphyr::{Options, SnippetMode, UserMessageFormatter};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The media type of a merge patch.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media types of YAML; the first is the one that is answered with.
pub(crate) const YAML: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];
/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

// A client that sends slower than this holds memory for nothing.
const TIME_TO_READ: Duration = Duration::from_secs(30);
// As large as a resource can be.
const SMALL_BODY: u64 = 256 * 1024;
const MAX_LARGE_BODIES: usize = 8;
// Several for each of the largest body's lines.
const MAX_YAML_EVENTS: usize = 8_000_000;
const MAX_YAML_ALIASES: usize = 10_000;
// What aliases may stand for, all in all.
const MAX_YAML_REPLAYED: usize = 100_000;

/// In which language a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Json,
    Yaml,
    /// The client did not say.
    Unsaid,
}

/// The language of a body that describes resources; another media type is refused.
pub(crate) fn language(headers: &HeaderMap) -> Result<Language, Problem> {
    let Some(media_type) = media_type(headers)? else { return Ok(Language::Unsaid) };
    if media_type == JSON {
        return Ok(Language::Json);
    }
    if YAML.contains(&media_type.as_str()) {
        return Ok(Language::Yaml);
    }
    Err(unsupported(&format!("{media_type} is not taken here; send Content-Type: {JSON} or {}", YAML[0])))
}

/// Refuses a body that is not a merge patch.
pub(crate) fn require_merge_patch(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers)? {
        Some(media_type) if media_type == MERGE_PATCH => Ok(()),
        Some(_) | None => Err(unsupported(&format!("a PATCH is a JSON merge patch; send Content-Type: {MERGE_PATCH}"))),
    }
}

/// A place for a large body: so many are in memory at once, until they are parsed.
pub(crate) struct Place {
    _permit: Option<SemaphorePermit<'static>>,
}

/// Waits for a place, which a body of an announced small size does not need.
pub(crate) async fn place(headers: &HeaderMap) -> Result<Place, Problem> {
    static LARGE: Semaphore = Semaphore::const_new(MAX_LARGE_BODIES);
    if announced(headers).is_some_and(|length| length <= SMALL_BODY) {
        return Ok(Place { _permit: None });
    }
    let permit = tokio::time::timeout(TIME_TO_READ, LARGE.acquire()).await;
    let permit = permit.ok().and_then(Result::ok);
    let permit = permit.ok_or_else(|| Problem::unavailable("too many large bodies are under way; try again"))?;
    Ok(Place { _permit: Some(permit) })
}

/// Reads the whole body, if it is not larger than `limit` and comes in time.
pub(crate) async fn collect(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(ProblemKind::TooLarge, format!("at most {limit} bytes are taken; send it in parts"));
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(TIME_TO_READ, Limited::new(body, limit).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(ProblemKind::Malformed, "the body ended before it was whole")),
        Err(_) => {
            let detail = format!("the body has to come within {} s", TIME_TO_READ.as_secs());
            Err(Problem::new(ProblemKind::BodyTimeout, detail))
        }
    }
}

/// Parses a body; a fault of its language is told with line and column.
pub(crate) fn parse(bytes: &[u8], language: Language) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(format!("not UTF-8 at byte {}", error.valid_up_to()), place_of(bytes, &error)))?;
    if text.trim().is_empty() {
        return Err(malformed("the body is empty; send JSON or YAML".into(), None));
    }
    match language {
        Language::Json => parse_json(text),
        Language::Yaml => parse_yaml(text),
        // JSON is YAML, but its own parser knows more of its faults and is faster.
        Language::Unsaid if text.trim_start().starts_with(['{', '[']) => {
            parse_json(text).or_else(|problem| parse_yaml(text).map_err(|_| problem))
        }
        Language::Unsaid => parse_yaml(text),
    }
}

fn parse_json(text: &str) -> Result<Value, Problem> {
    let parsed = serde_json::from_str::<Strict>(text);
    parsed.map(|strict| strict.0).map_err(|error| {
        let (line, column) = (error.line() as u64, error.column() as u64);
        let place = format!(" at line {line} column {column}");
        let text = error.to_string();
        malformed(format!("not JSON: {}", text.strip_suffix(&place).unwrap_or(&text)), Some((line, column)))
    })
}

fn parse_yaml(text: &str) -> Result<Value, Problem> {
    let parsed = serde_saphyr::from_str_with_options::<Strict>(text, yaml_options());
    parsed.map(|strict| strict.0).map_err(|error| {
        let place = error.location().map(|location| (location.line(), location.column()));
        let options = serde_saphyr::render_options! { formatter: &UserMessageFormatter, snippets: SnippetMode::Off };
        let text = error.render_with_options(options);
        // The place is told apart from the text, and a text is one line.
        let line = text.lines().next().unwrap_or_default();
        let told = place.map(|(line, column)| format!(" at line {line}, column {column}")).unwrap_or_default();
        malformed(format!("not YAML: {}", line.replace(&told, "").trim_start_matches("error: ")), place)
    })
}

fn yaml_options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
            max_events: MAX_YAML_EVENTS,
            max_nodes: MAX_YAML_EVENTS,
            max_aliases: MAX_YAML_ALIASES,
            max_anchors: MAX_YAML_ALIASES,
            max_merge_keys: MAX_YAML_ALIASES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_YAML_REPLAYED },
        // YAML 1.2: `no` is a country and `0755` is not a number.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

// The type without its parameters; a charset other than UTF-8 is refused, and so is what is compressed.
fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(unsupported("a Content-Encoding is not taken; send the body as it is"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| unsupported("Content-Type is not a media type"))?;
    let mut parts = text.split(';');
    let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(unsupported(&format!("charset {value:?} is not taken; send UTF-8")));
        }
    }
    Ok(Some(media_type))
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(ProblemKind::UnsupportedMediaType, detail)
}

fn malformed(detail: String, place: Option<(u64, u64)>) -> Problem {
    match place {
        None => Problem::new(ProblemKind::Malformed, detail),
        Some((line, column)) => {
            let detail = format!("{detail} (line {line}, column {column})");
            Problem::new(ProblemKind::Malformed, detail).with("line", line).with("column", column)
        }
    }
}

fn place_of(bytes: &[u8], error: &std::str::Utf8Error) -> Option<(u64, u64)> {
    let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some((line as u64, column as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::strict::MAX_VALUES;
    use serde_json::json;

    fn check(text: &str, language: Language, expect: Value) {
        assert_eq!(parse(text.as_bytes(), language).unwrap(), expect, "{text}");
    }

    fn fault(text: &str, language: Language) -> String {
        parse(text.as_bytes(), language).expect_err(text).detail().to_owned()
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let expect = json!({"name": "orders", "weights": [1, 2.5], "on": true, "none": null});
        check(&expect.to_string(), Language::Json, expect.clone());
        check(&expect.to_string(), Language::Unsaid, expect.clone());
        check("name: orders\nweights: [1, 2.5]\n\"on\": true\nnone:\n", Language::Yaml, expect.clone());
        check(
            "{\n\t\"name\": \"orders\",\n\t\"weights\": [1, 2.5], \"on\": true, none: null}",
            Language::Unsaid,
            expect,
        );
    }

    #[test]
    fn a_country_is_no_boolean_and_a_mode_is_no_number() {
        let expect = json!({"country": "no", "mode": "0755", "big": "1_000", "port": 8080});
        check("country: no\nmode: 0755\nbig: 1_000\nport: 8080", Language::Yaml, expect);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_place() {
        let json = fault("{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}", Language::Json);
        assert!(json.contains("\"c\" stands twice") && json.contains("line 2"), "{json}");
        let yaml = fault("a: 1\nb:\n  c: 1\n  c: 2\n", Language::Yaml);
        assert!(yaml.contains("duplicate") && yaml.contains("line 4") && !yaml.contains("Policy"), "{yaml}");
    }

    #[test]
    fn a_fault_of_the_language_has_line_and_column() {
        let json = fault("{\n  \"a\": }", Language::Json);
        assert!(json.ends_with("(line 2, column 8)"), "{json}");
        let yaml = fault("a: [1\nb: }\n", Language::Yaml);
        assert!(yaml.contains("line 2"), "{yaml}");
        assert_eq!(yaml.matches("line").count(), 1, "{yaml}");
    }

    #[test]
    fn what_grows_when_it_is_read_is_refused() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, before) in ('b'..='i').zip('a'..) {
            let alias = format!("*{before}");
            bomb += &format!("{name}: &{name} [{}]\n", vec![alias; 9].join(","));
        }
        fault(&bomb, Language::Yaml);
        fault(&"[".repeat(100_000), Language::Yaml);
        fault(&"[".repeat(100_000), Language::Json);
        let wide = format!("[{}]", vec!["0"; MAX_VALUES + 1].join(","));
        assert!(fault(&wide, Language::Json).contains("more than 2000000 values"));
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert!(fault(&deep, Language::Json).contains("nested deeper than 64"));
        fault(&deep, Language::Yaml);
        check(&"- ".repeat(3), Language::Yaml, json!([[[null]]]));
    }

    #[test]
    fn two_documents_and_unknown_tags_are_refused() {
        fault("a: 1\n---\nb: 2\n", Language::Yaml);
        fault("a: !secret x\n", Language::Yaml);
        fault("   \n", Language::Unsaid);
        assert!(fault("a: 1\nb: ä", Language::Json).contains("not JSON"));
        assert!(parse(b"a: 1\nb: \xff", Language::Yaml).unwrap_err().detail().contains("line 2, column 4"));
    }

    #[test]
    fn media_types_are_told_apart() {
        let headers = |value: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
        assert_eq!(language(&headers("application/json; charset=UTF-8")).unwrap(), Language::Json);
        assert_eq!(language(&headers("Text/YAML")).unwrap(), Language::Yaml);
        assert_eq!(language(&HeaderMap::new()).unwrap(), Language::Unsaid);
        for refused in ["application/x-www-form-urlencoded", "application/json; charset=latin1", "text/plain"] {
            let problem = language(&headers(refused)).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::UnsupportedMediaType, "{refused}");
        }
        assert!(language(&HeaderMap::from_iter([(header::CONTENT_ENCODING, "gzip".parse().unwrap())])).is_err());
    }
}
