//! The edge of the API, around every handler: the request's id, the token, panics, and the one place where a problem
//! becomes an answer.

use super::{
    problem::{Problem, ProblemKind},
    state::ApiState,
};
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::panic::AssertUnwindSafe;
use uuid::Uuid;

/// The id of a request, given back with its answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The answer is from memory, and may be old, because the database is away.
pub(crate) const STALE: HeaderName = HeaderName::from_static("portico-stale");

const MAX_REQUEST_ID: usize = 128;

/// Surrounds every request.
pub(crate) async fn surround(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // What a panic leaves behind is the request's own: all that is shared is built aside and swapped, or in a database.
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(request.id = id, %method, path, "a request panicked");
            Problem::new(ProblemKind::Internal, "report it with the request's id; the log has more").into_response()
        }
    };
    if let Some(problem) = problem_of(&mut response) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem.write(&id, &path);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Lets nobody in without the token, and marks what is read while the database is away.
pub(crate) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Result<Response, Problem> {
    if !token(request.headers()).is_some_and(|token| state.admin_token.matches(token)) {
        let detail = "send the admin token as Authorization: Bearer TOKEN";
        let challenge = HeaderValue::from_static("Bearer realm=\"portico\"");
        return Err(Problem::new(ProblemKind::Unauthorized, detail).header(header::WWW_AUTHENTICATE, challenge));
    }
    let reads = request.method().is_safe();
    let response = next.run(request).await;
    Ok(if reads && state.publisher.stale() { marked_stale(response) } else { response })
}

/// Says that an answer may be old.
pub(crate) fn marked_stale(mut response: Response) -> Response {
    response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
    response
}

/// What no route is for.
pub(crate) async fn unknown_path() -> Problem {
    Problem::new(ProblemKind::UnknownPath, "the paths are in /openapi.json, and at /docs for people")
}

fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

// The client's own id, if it is one that can stand in a log.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|c| c.is_ascii_graphic());
    given.filter(plain).map(str::to_owned).unwrap_or_else(|| Uuid::now_v7().to_string())
}

// A handler's problem, or that of the router and its extractors, which know only statuses.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
        return Some(Problem::new(ProblemKind::MethodNotAllowed, format!("the methods here are {allow}")));
    }
    let own = response.headers().contains_key(header::CONTENT_TYPE);
    match status.is_client_error() {
        true if !own || status == StatusCode::BAD_REQUEST => {
            Some(Problem::new(ProblemKind::InvalidRequest, "the path cannot be decoded"))
        }
        true | false => None,
    }
}
