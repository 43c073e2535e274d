//! What operations share: parameters, headers, and the responses that are problems.

use crate::api::{
    problem::{self, ProblemKind},
    query::{self, Form, Parameter},
    write::MAX_TEXT,
};
use http::StatusCode;
use proto::name;
use serde_json::{Map, Value, json};

// A condition means one thing before a write and another before a read.
const OF_A_READ: &str = "-Read";

/// Every parameter, by name.
pub(super) fn parameters() -> Map<String, Value> {
    let mut parameters: Map<String, Value> =
        query::ALL.into_iter().map(|parameter| (parameter.name.to_owned(), query_parameter(parameter))).collect();
    for (name, about, schema, example) in paths() {
        let parameter = json!({
            "name": name, "in": "path", "required": true, "description": about, "schema": schema, "example": example,
        });
        parameters.insert(name.into(), parameter);
    }
    for (key, about, example) in headers_of_requests() {
        let name = key.trim_end_matches(OF_A_READ);
        let parameter = json!({
            "name": name, "in": "header", "description": about, "schema": {"type": "string"}, "example": example,
        });
        parameters.insert(key.into(), parameter);
    }
    parameters
}

/// Every header of an answer, by name.
pub(super) fn headers() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer", "minimum": 0});
    let headers = [
        ("X-Request-Id", "The id of the request: the client's own, or a new one.", &text, json!("0193b3a2-7c1e")),
        ("ETag", "A strong entity tag of what is answered, for `If-Match` and `If-None-Match`.", &text, etag()),
        ("Portico-Revision", "The revision of the configuration that the answer is of.", &number, json!(42)),
        (
            "Portico-Wait",
            "How a wait ended: `reached`, `not-reached` or `no-live-nodes`, and how many live nodes run the revision.",
            &text,
            json!("reached; running=3; live=3"),
        ),
        ("Portico-Stale", "`true`: from memory, and perhaps old, for the database is away.", &text, json!("true")),
        ("Idempotency-Replayed", "`true`: an earlier request with this key did it.", &text, json!("true")),
        ("Location", "Where the new resource is.", &text, json!("/v1/routes/orders")),
        ("Retry-After", "After how many seconds to try again.", &number, json!(2)),
        ("Cache-Control", "That nobody keeps the answer.", &text, json!("no-store")),
        ("WWW-Authenticate", "How to authenticate.", &text, json!("Bearer realm=\"portico\"")),
    ];
    let header = |(name, about, schema, example): (&str, &str, &Value, Value)| {
        (name.to_owned(), json!({"description": about, "schema": schema, "example": example}))
    };
    headers.into_iter().map(header).collect()
}

/// A response for each status of a problem; its examples are the problems that have it.
pub(super) fn responses() -> Map<String, Value> {
    let mut responses = Map::new();
    // An operation is of a path and a method that there are.
    let by_an_operation = |kind: &ProblemKind| *kind != ProblemKind::MethodNotAllowed;
    for kind in problem::KINDS.into_iter().filter(by_an_operation) {
        let response = responses.entry(problem_response(kind.status())).or_insert_with(|| response(kind.status()));
        let title = kind.title();
        let about = match response["description"].as_str() {
            None | Some("") => sentence(title),
            Some(before) => format!("{before} {}", sentence(title)),
        };
        response["description"] = about.into();
        let uri = kind.uri();
        let slug = uri.rsplit(':').next().unwrap_or_default().to_owned();
        let example = json!({"summary": title, "value": example(kind)});
        response["content"][problem::MEDIA_TYPE]["examples"][slug] = example;
    }
    responses
}

/// The name of the response that problems of a status have.
pub(super) fn problem_response(status: StatusCode) -> String {
    let words = status.canonical_reason().unwrap_or("Problem");
    words.split([' ', '-']).collect()
}

/// An entity tag, as an example.
pub(super) fn etag() -> Value {
    "\"5f2b7f6c0f0a4b1e8c3d9a7e6b5c4d3e\"".into()
}

fn response(status: StatusCode) -> Value {
    let mut headers = json!({"X-Request-Id": super::reference("headers", "X-Request-Id")});
    let own = match status {
        StatusCode::UNAUTHORIZED => Some("WWW-Authenticate"),
        StatusCode::SERVICE_UNAVAILABLE => Some("Retry-After"),
        _ => None,
    };
    if let Some(own) = own {
        headers[own] = super::reference("headers", own);
    }
    let content = json!({problem::MEDIA_TYPE: {"schema": super::reference("schemas", "Problem"), "examples": {}}});
    json!({"description": "", "headers": headers, "content": content})
}

fn example(kind: ProblemKind) -> Value {
    let mut example = json!({
        "type": kind.uri(),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "instance": "/v1/routes/orders",
        "request_id": "0193b3a2-7c1e-7d44-9c53-6f1f0e3b2a10",
    });
    if kind == ProblemKind::InvalidConfiguration {
        let detail = "no upstream is named \"order\"; did you mean \"orders\"?";
        example["errors"] = json!([{"pointer": "/forward/upstream", "detail": detail}]);
    }
    example
}

fn query_parameter(parameter: &Parameter) -> Value {
    let (schema, example) = match parameter.form {
        Form::Flag => (json!({"type": "boolean", "default": false}), json!(true)),
        Form::Number => {
            let example = parameter.example.parse::<u64>().map(Value::from).unwrap_or_default();
            (json!({"type": "integer", "minimum": 0}), example)
        }
        Form::Text => (json!({"type": "string"}), parameter.example.into()),
    };
    json!({
        "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema, "example": example,
    })
}

fn paths() -> [(&'static str, &'static str, Value, Value); 5] {
    let pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";
    let resource = json!({"type": "string", "minLength": 1, "maxLength": name::MAX_LEN, "pattern": pattern});
    let revision = json!({"type": "integer", "minimum": 0});
    [
        ("name", "The resource's name, unique within its kind.", resource.clone(), json!("orders")),
        ("revision", "The number of a revision; 0 is the empty configuration.", revision, json!(42)),
        ("id", "The node's own id.", json!({"type": "string"}), json!("0193b3a2-7c1e-7d44-9c53-6f1f0e3b2a10")),
        ("credential", "The credential's id, unique within its consumer.", resource, json!("billing")),
        ("file", "One of the files that the page loads.", json!({"type": "string"}), json!("swagger-ui.css")),
    ]
}

fn headers_of_requests() -> [(&'static str, String, Value); 6] {
    [
        ("X-Request-Id", "An id for the request, up to 128 printable characters.".into(), json!("deploy-7/3")),
        ("If-Match", "Only if what is there has one of these tags: 412 otherwise.".into(), etag()),
        ("If-None-Match", "`*`: only if there is nothing yet; 412 otherwise.".into(), json!("*")),
        ("If-None-Match-Read", "Only if what is there has none of these tags: 304 otherwise.".into(), etag()),
        (
            "Idempotency-Key",
            format!(
                "The same request with the same key is carried out once and answered alike; another request with it is \
                 refused. 1 to {MAX_TEXT} characters."
            ),
            json!("6a1f8c0e-create-orders"),
        ),
        (
            "Portico-Reason",
            format!("Why the change is made, at most {MAX_TEXT} bytes; recorded with the revision."),
            json!("move orders to the new cluster"),
        ),
    ]
}

fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}
