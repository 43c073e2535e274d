//! A refusal of the admin API (problem+json, RFC 9457), for people.

use crate::{failure::Failure, output::plain};
use hyper::StatusCode;
use serde_json::Value;

/// The most faults that are printed.
const MOST_FAULTS: usize = 100;

/// The type of the problem that the request itself is, not the configuration in it.
const INVALID_REQUEST: &str = "urn:portico:problem:invalid-request";

/// Why a request was refused.
pub(crate) struct Problem {
    status: StatusCode,
    kind: String,
    title: String,
    detail: Option<String>,
    retry_after: Option<String>,
    /// Every fault: where, and what.
    pub(crate) faults: Vec<Fault>,
}

/// One fault of a configuration.
pub(crate) struct Fault {
    /// A JSON Pointer into what was sent.
    pub(crate) pointer: String,
    resource: Option<String>,
    detail: String,
}

// === impl Problem ===

impl Problem {
    pub(crate) fn parse(status: StatusCode, retry_after: Option<&str>, body: &[u8]) -> Problem {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |value: &Value, member: &str| value[member].as_str().map(plain);
        let fault = |value: &Value| Fault {
            pointer: text(value, "pointer").unwrap_or_default(),
            resource: text(value, "resource"),
            detail: text(value, "detail").unwrap_or_default(),
        };
        Problem {
            status,
            kind: text(&value, "type").unwrap_or_default(),
            title: text(&value, "title")
                .unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_lowercase()),
            detail: text(&value, "detail"),
            retry_after: retry_after.map(plain),
            faults: value["errors"].as_array().map(|faults| faults.iter().map(fault).collect()).unwrap_or_default(),
        }
    }

    /// As a failure with all there is to say.
    pub(crate) fn failure(&self) -> Failure {
        let mut text = format!("{} ({})", self.title, self.status.as_u16());
        if let Some(detail) = self.detail.as_ref().filter(|detail| **detail != self.title) {
            text.push_str(&format!(": {detail}"));
        }
        for fault in self.faults.iter().take(MOST_FAULTS) {
            let resource = match (&fault.resource, fault.pointer.as_str()) {
                (Some(resource), "") => resource.clone(),
                (Some(resource), pointer) => format!("{pointer} ({resource})"),
                (None, "") => "(the whole)".to_string(),
                (None, pointer) => pointer.to_string(),
            };
            text.push_str(&format!("\n  {resource}: {}", fault.detail));
        }
        if self.faults.len() > MOST_FAULTS {
            text.push_str(&format!("\n  and {} more", self.faults.len() - MOST_FAULTS));
        }
        if let Some(seconds) = &self.retry_after {
            text.push_str(&format!("\n  try again in {seconds} s"));
        }
        match self.status {
            StatusCode::UNAUTHORIZED => Failure::Runtime(format!(
                "{text}\n  give the admin token by PORTICO_TOKEN, --token-file, or run where .portico/admin.token is"
            )),
            _ if self.kind == INVALID_REQUEST => Failure::Usage(text),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Failure::Configuration(text),
            _ => Failure::Runtime(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_shown_with_its_pointer() {
        let body = br#"{"title":"the configuration is not valid","errors":[
            {"pointer":"/routes/3/forward/upstream","detail":"no upstream is named \"order\""},
            {"pointer":"","resource":"route/x","detail":"odd"}]}"#;
        let Failure::Configuration(text) = Problem::parse(StatusCode::UNPROCESSABLE_ENTITY, None, body).failure()
        else {
            panic!("not a fault of the configuration")
        };
        assert_eq!(
            text,
            "the configuration is not valid (422)\n  /routes/3/forward/upstream: no upstream is named \"order\"\n  route/x: odd"
        );
    }

    #[test]
    fn what_is_no_problem_document_still_has_a_text() {
        let Failure::Runtime(text) = Problem::parse(StatusCode::SERVICE_UNAVAILABLE, Some("2"), b"<html>").failure()
        else {
            panic!("not a failure at run time")
        };
        assert_eq!(text, "service unavailable (503)\n  try again in 2 s");
    }
}
