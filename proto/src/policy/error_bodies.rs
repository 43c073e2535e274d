//! Bodies of one's own for the errors that the gateway answers itself: by status or reason, and by what the client accepts.

use crate::{
    invalid::Faults,
    pb,
    template::{Reference, Scope, Target, Template, Value},
};
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;

/// The most bodies of a policy.
const MAX_BODIES: usize = 32;
/// The most statuses or reasons of a body.
const MAX_LISTED: usize = 32;

/// Bodies, of which the first counts that fits the error, among those that the client likes best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBodies {
    /// In their order.
    pub bodies: Vec<ErrorBody>,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// The first and the last of the statuses; empty: any.
    pub statuses: Vec<(u16, u16)>,
    /// Labels of errors; empty: any.
    pub reasons: Vec<String>,
    /// The media type, without parameters.
    pub media_type: &'static str,
    /// The value of `Content-Type`.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Template,
}

// === impl ErrorBodies ===

impl ErrorBodies {
    pub(super) fn check(message: &pb::ErrorBodies, faults: &mut Faults) -> Option<ErrorBodies> {
        let before = faults.count();
        let bodies = faults.at("bodies", |faults| {
            if message.bodies.is_empty() || message.bodies.len() > MAX_BODIES {
                faults.note(format!("give 1 to {MAX_BODIES} bodies"));
            }
            let check = |(at, body): (usize, &pb::ErrorBody)| faults.at(at, |faults| ErrorBody::check(body, faults));
            message.bodies.iter().enumerate().filter_map(check).collect()
        });
        (faults.count() == before).then_some(ErrorBodies { bodies })
    }
}

// === impl ErrorBody ===

impl ErrorBody {
    fn check(message: &pb::ErrorBody, faults: &mut Faults) -> Option<ErrorBody> {
        use pb::error_body::Form;
        for (field, count) in [("statuses", message.statuses.len()), ("reasons", message.reasons.len())] {
            if count > MAX_LISTED {
                faults.note_at(field, format!("at most {MAX_LISTED} can be given"));
            }
        }
        let parse = |(at, text): (usize, &String)| {
            faults.at("statuses", |faults| faults.at(at, |faults| faults.take(statuses(text))))
        };
        let statuses = message.statuses.iter().enumerate().filter_map(parse).collect();
        let (field, text, target, media_type, content_type) = match &message.form {
            None => {
                faults.note("say what the body is; give `json`, `html` or `text`");
                return None;
            }
            Some(Form::Json(text)) => ("json", text, Target::Json, "application/json", "application/json"),
            Some(Form::Html(text)) => ("html", text, Target::Html, "text/html", "text/html; charset=utf-8"),
            Some(Form::Text(text)) => ("text", text, Target::Text, "text/plain", "text/plain; charset=utf-8"),
        };
        let body = faults.at(field, |faults| {
            let body = faults.take(Template::parse(text, target, None))?;
            match target {
                Target::Json => faults.take(check_json(&body))?,
                Target::Html => faults.take(check_html(text))?,
                Target::PathAndQuery | Target::QueryValue | Target::HeaderValue | Target::JsonBody | Target::Text => {}
            }
            Some(body)
        });
        let (reasons, content_type) = (message.reasons.clone(), HeaderValue::from_static(content_type));
        Some(ErrorBody { statuses, reasons, media_type, content_type, body: body? })
    }

    /// Whether it is for that error.
    pub fn is_for(&self, status: StatusCode, reason: &str) -> bool {
        let status = status.as_u16();
        (self.statuses.is_empty() || self.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status)))
            && (self.reasons.is_empty() || self.reasons.iter().any(|listed| listed == reason))
    }

    /// How much a client likes it, by its `Accept` (RFC 9110, 12.5.1): from 0, not at all, to 1000. What cannot be read
    /// says nothing.
    pub fn liking(&self, accept: &[u8]) -> u16 {
        let (kind, _) = self.media_type.split_once('/').unwrap_or_default();
        let mut best = (0, 0);
        for range in accept.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let precision = match name.as_slice() {
                name if name == self.media_type.as_bytes() => 3,
                name if name.strip_suffix(b"/*") == Some(kind.as_bytes()) => 2,
                b"*/*" => 1,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
            // The most precise range says it.
            if precision > best.0 {
                best = (precision, quality.map_or(1000, thousandths));
            }
        }
        best.1
    }
}

// Of a number with at most three decimals; what is none is nothing.
fn thousandths(quality: &[u8]) -> u16 {
    let number = std::str::from_utf8(quality).ok().and_then(|text| text.parse::<f32>().ok());
    number.filter(|number| (0.0..=1.0).contains(number)).map_or(0, |number| (number * 1000.0) as u16)
}

// `404`, or `5xx` for all that begin so.
fn statuses(text: &str) -> Result<(u16, u16), String> {
    let class = text
        .strip_suffix("xx")
        .and_then(|class| class.parse::<u16>().ok())
        .map(|class| (class * 100, class * 100 + 99));
    let range = class.or_else(|| text.parse().ok().map(|status| (status, status)));
    range
        .filter(|(first, _)| (400..=599).contains(first))
        .ok_or_else(|| format!("{text:?} is no status of an error; write it as in \"404\" or \"5xx\""))
}

// It must be JSON whatever the values are.
fn check_json(body: &Template) -> Result<(), String> {
    struct Sample;
    impl Scope for Sample {
        fn value(&self, reference: &Reference) -> Option<Value<'_>> {
            let status = Reference::Error(crate::template::ErrorField::Status);
            // Not one that would be JSON without quotes.
            Some(Value::One(Cow::Borrowed(if *reference == status { b"404" } else { b"x\"" })))
        }
    }
    let mut sample = String::new();
    body.render(&Sample, &mut sample).map_err(|error| error.to_string())?;
    serde_json::from_str::<serde_json::Value>(&sample).map(drop).map_err(|error| {
        format!(
            "it is not JSON: {error}; values stand within quotes, but for error.status, and a brace is written twice"
        )
    })
}

// In a script or a style nothing that is escaped for HTML is safe.
fn check_html(text: &str) -> Result<(), String> {
    let lower = text.to_ascii_lowercase();
    for tag in ["script", "style"] {
        let mut rest = lower.as_str();
        while let Some(at) = rest.find(&format!("<{tag}")) {
            let end = rest[at..].find(&format!("</{tag}")).map_or(rest.len(), |end| at + end);
            if rest[at..end].replace("{{", "").contains('{') {
                return Err(format!("no value can stand within <{tag}>"));
            }
            rest = &rest[end..];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::error_body::Form;

    fn check(bodies: Vec<pb::ErrorBody>) -> Result<ErrorBodies, String> {
        let mut faults = Faults::default();
        let policy = ErrorBodies::check(&pb::ErrorBodies { bodies }, &mut faults);
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        policy.ok_or(found.join(" "))
    }

    fn body(statuses: &[&str], form: Form) -> pb::ErrorBody {
        let statuses = statuses.iter().map(ToString::to_string).collect();
        pb::ErrorBody { statuses, reasons: Vec::new(), form: Some(form) }
    }

    fn text() -> Form {
        Form::Text("x".into())
    }

    #[test]
    fn a_body_is_for_its_errors() {
        let policy = check(vec![body(&["404", "5xx"], text())]).unwrap();
        for (status, expect) in [(404, true), (403, false), (500, true), (599, true)] {
            assert_eq!(policy.bodies[0].is_for(StatusCode::from_u16(status).unwrap(), "r"), expect, "{status}");
        }
        let denied = pb::ErrorBody { reasons: vec!["no_route".into()], ..body(&[], text()) };
        let policy = check(vec![denied]).unwrap();
        assert!(policy.bodies[0].is_for(StatusCode::NOT_FOUND, "no_route"));
        assert!(!policy.bodies[0].is_for(StatusCode::NOT_FOUND, "other"));
    }

    #[test]
    fn the_client_says_what_it_likes() {
        let policy = check(vec![body(&[], Form::Html("<p>".into()))]).unwrap();
        for (accept, liking) in [
            ("text/html", 1000),
            ("Text/HTML;level=1;q=0.7", 700),
            ("text/*;q=0.5, */*;q=0.1", 500),
            ("application/json, */*;q=0.1", 100),
            ("*/*, text/html;q=0", 0),
            ("application/json", 0),
            ("text/html;q=2", 0),
            ("text/html;q=x", 0),
            ("", 0),
        ] {
            assert_eq!(policy.bodies[0].liking(accept.as_bytes()), liking, "{accept}");
        }
    }

    #[test]
    fn a_body_that_values_could_break_is_refused() {
        for (form, expect) in [
            (Form::Json("{{\"code\": {error.status}, \"id\": \"{request.id}\"}}".into()), ""),
            (Form::Json("{{\"code\": {error.reason}}}".into()), "/bodies/0/json"),
            (Form::Json("{\"code\": 1}".into()), "/bodies/0/json"),
            (Form::Html("<style>p {{ }}</style><p title={error.detail}>{request.id}".into()), ""),
            (Form::Html("<SCRIPT>alert('{header.x}')</SCRIPT>".into()), "/bodies/0/html"),
            (Form::Text("{error.nothing}".into()), "/bodies/0/text"),
        ] {
            assert_eq!(check(vec![body(&[], form)]).err().unwrap_or_default(), expect);
        }
        let bad = check(vec![body(&["200", "6xx", "x"], text()), pb::ErrorBody::default()]).unwrap_err();
        assert_eq!(bad, "/bodies/0/statuses/0 /bodies/0/statuses/1 /bodies/0/statuses/2 /bodies/1");
        assert_eq!(check(Vec::new()).unwrap_err(), "/bodies");
    }
}
