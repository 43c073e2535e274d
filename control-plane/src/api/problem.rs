//! What is answered when something is wrong: a problem (RFC 9457) with a type that stays, and all faults at once.
//!
//! A handler returns a [`Problem`]; the edge writes it, for only the edge knows the request's id. Texts never hold a
//! secret or a request's body.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use proto::{invalid::Invalid, resource::ResourceKey};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

// Nobody reads more, and each has a text.
const MAX_ERRORS: usize = 1000;

/// What kind of problem it is. Each has a row in the table below, and nothing else decides a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    Malformed,
    InvalidRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    UnknownPath,
    MethodNotAllowed,
    BodyTimeout,
    NameTaken,
    LimitReached,
    StillReferred,
    Shrinks,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    InvalidConfiguration,
    InvalidFields,
    IdempotencyKeyReused,
    Internal,
    Unavailable,
}

/// All kinds, for the description of the API.
pub(crate) const KINDS: [ProblemKind; 20] = [
    ProblemKind::Malformed,
    ProblemKind::InvalidRequest,
    ProblemKind::Unauthorized,
    ProblemKind::Forbidden,
    ProblemKind::NotFound,
    ProblemKind::UnknownPath,
    ProblemKind::MethodNotAllowed,
    ProblemKind::BodyTimeout,
    ProblemKind::NameTaken,
    ProblemKind::LimitReached,
    ProblemKind::StillReferred,
    ProblemKind::Shrinks,
    ProblemKind::PreconditionFailed,
    ProblemKind::TooLarge,
    ProblemKind::UnsupportedMediaType,
    ProblemKind::InvalidConfiguration,
    ProblemKind::InvalidFields,
    ProblemKind::IdempotencyKeyReused,
    ProblemKind::Internal,
    ProblemKind::Unavailable,
];

/// An answer that says what is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<Value>,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl ProblemKind ===

impl ProblemKind {
    /// Its status, the end of its type, and its title.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            ProblemKind::Malformed => (StatusCode::BAD_REQUEST, "malformed-body", "the body cannot be read"),
            ProblemKind::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid-request", "the request is not valid"),
            ProblemKind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "an admin token is needed"),
            ProblemKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "the token may not do this"),
            ProblemKind::NotFound => (StatusCode::NOT_FOUND, "not-found", "it does not exist"),
            ProblemKind::UnknownPath => (StatusCode::NOT_FOUND, "unknown-path", "the API has no such path"),
            ProblemKind::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the path does not take this method")
            }
            ProblemKind::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body did not come in time"),
            ProblemKind::NameTaken => (StatusCode::CONFLICT, "name-taken", "the name is taken"),
            ProblemKind::LimitReached => (StatusCode::CONFLICT, "limit-reached", "there are as many as there may be"),
            ProblemKind::StillReferred => (StatusCode::CONFLICT, "still-referred", "something still refers to it"),
            ProblemKind::Shrinks => {
                (StatusCode::CONFLICT, "shrinks", "the change takes away more than half of the configuration")
            }
            ProblemKind::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "precondition-failed", "it is not what the condition says")
            }
            ProblemKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large"),
            ProblemKind::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "the body has the wrong media type")
            }
            ProblemKind::InvalidConfiguration => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-configuration", "the configuration is not valid")
            }
            ProblemKind::InvalidFields => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-fields", "what the body says is not valid")
            }
            ProblemKind::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "the key was used with another request")
            }
            ProblemKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the control plane has a fault"),
            ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available now"),
        }
    }

    /// The status that it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().0
    }

    /// Its title.
    pub(crate) const fn title(self) -> &'static str {
        self.row().2
    }

    /// Its type: a name for programs to tell problems apart by, which never changes.
    pub(crate) fn uri(self) -> String {
        format!("urn:portico:problem:{}", self.row().1)
    }
}

// === impl Problem ===

impl Problem {
    /// A problem of a kind, with what to do about it.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        let (errors, members, headers) = (Vec::new(), Vec::new(), Vec::new());
        Problem { kind, detail: detail.into(), errors, members, headers }
    }

    /// Something that is not there.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Problem {
        Problem::new(ProblemKind::NotFound, format!("there is no {what}"))
    }

    /// A query parameter or header that cannot be understood.
    pub(crate) fn invalid_request(place: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(ProblemKind::InvalidRequest, format!("{place}: {detail}")).with("parameter", place)
    }

    /// The database is away.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::Unavailable, detail).retry_after(Duration::from_secs(2))
    }

    /// The control plane has no configuration yet.
    pub(crate) fn starting() -> Problem {
        Problem::unavailable("the control plane is starting and the database has not answered yet; try again")
    }

    /// Faults of a configuration; `place` says where in the body a resource stands, if it does.
    pub(crate) fn invalid(faults: &[Invalid], place: impl Fn(&ResourceKey) -> Option<String>) -> Problem {
        Problem::faulty(ProblemKind::InvalidConfiguration, faults, place)
    }

    /// Faults of a body that is no configuration.
    pub(crate) fn invalid_fields(faults: &[Invalid]) -> Problem {
        Problem::faulty(ProblemKind::InvalidFields, faults, |_| None)
    }

    fn faulty(kind: ProblemKind, faults: &[Invalid], place: impl Fn(&ResourceKey) -> Option<String>) -> Problem {
        let count = match faults.len() {
            1 => "one fault; nothing was changed".to_owned(),
            count => format!("{count} faults; nothing was changed"),
        };
        let mut problem = Problem::new(kind, count);
        problem.errors = faults.iter().take(MAX_ERRORS).map(|fault| fault_json(fault, &place)).collect();
        match faults.len().checked_sub(MAX_ERRORS) {
            None | Some(0) => problem,
            Some(omitted) => problem.with("omitted", omitted),
        }
    }

    /// Adds a member of its own.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Problem {
        self.members.push((name, value.into()));
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    fn retry_after(self, after: Duration) -> Problem {
        self.header(header::RETRY_AFTER, HeaderValue::from(after.as_secs()))
    }

    /// What kind it is.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What is wrong and what to do.
    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The whole answer; `instance` is the request's path.
    pub(crate) fn write(self, request_id: &str, instance: &str) -> Response {
        let mut body = Map::new();
        body.insert("type".into(), self.kind.uri().into());
        body.insert("title".into(), self.kind.title().into());
        body.insert("status".into(), self.kind.status().as_u16().into());
        body.insert("detail".into(), self.detail.into());
        body.insert("instance".into(), instance.into());
        body.insert("request_id".into(), request_id.into());
        if !self.errors.is_empty() {
            body.insert("errors".into(), self.errors.into());
        }
        body.extend(self.members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut response = (self.kind.status(), Value::Object(body).to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl IntoResponse for Problem {
    /// A stand-in that the edge replaces by [`Problem::write`].
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn fault_json(fault: &Invalid, place: impl Fn(&ResourceKey) -> Option<String>) -> Value {
    let Some(key) = &fault.resource else { return json!({"pointer": fault.pointer, "detail": fault.detail}) };
    match place(key) {
        Some(prefix) => json!({"pointer": format!("{prefix}{}", fault.pointer), "detail": fault.detail}),
        None => json!({"resource": key.to_string(), "pointer": fault.pointer, "detail": fault.detail}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{name::Name, resource::Kind};
    use std::collections::HashSet;

    #[test]
    fn each_kind_has_a_type_of_its_own() {
        let types: HashSet<String> = KINDS.into_iter().map(ProblemKind::uri).collect();
        assert_eq!(types.len(), KINDS.len());
    }

    #[test]
    fn a_fault_outside_the_body_names_its_resource() {
        let key = |name| ResourceKey::new(Kind::Route, Name::parse(name).unwrap());
        let fault = |name| Invalid { resource: Some(key(name)), pointer: "/match".into(), detail: "x".into() };
        let place = |found: &ResourceKey| (*found == key("in")).then(|| "/routes/3".to_owned());
        assert_eq!(fault_json(&fault("in"), place), json!({"pointer": "/routes/3/match", "detail": "x"}));
        let outside = json!({"resource": "route/out", "pointer": "/match", "detail": "x"});
        assert_eq!(fault_json(&fault("out"), place), outside);
    }
}
