//! The edge of the API, around every handler: the request's id, the token and its role, panics, and the one place where a problem
//! becomes an answer.

use super::{
    problem::{Problem, ProblemKind},
    refusals::Refused,
    roles,
    state::ApiState,
    trace,
};
use crate::{
    access::{Holder, Unknown},
    author::{Author, Role},
};
use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use otel::TraceContext;
use std::{net::SocketAddr, panic::AssertUnwindSafe, time::Instant};
use uuid::Uuid;

/// The id of a request, given back with its answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The answer is from memory, and may be old, because the database is away.
pub(crate) const STALE: HeaderName = HeaderName::from_static("portico-stale");

const MAX_REQUEST_ID: usize = 128;

// For whoever handles the request.
#[derive(Clone)]
struct RequestId(String);

/// Surrounds every request.
pub(crate) async fn surround(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
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

/// Counts every request, with how long its answer took, and traces those that tell or change something.
pub(crate) async fn measure(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let route = route.as_ref().map(MatchedPath::as_str);
    let started = Instant::now();
    let mut span = route
        .filter(|route| route.starts_with("/v1/"))
        .and_then(|route| trace::span(state.telemetry.spans(), &request, route));
    if let Some(span) = &span {
        request.extensions_mut().insert(span.context());
    }
    let response = next.run(request).await;
    let status = response.status();
    state.telemetry.request(method.as_str(), route, status.as_u16(), started.elapsed());
    if let Some(span) = &mut span {
        trace::answered(span, status);
    }
    response
}

/// Lets nobody in without a token of the role that the call needs, takes note of who is refused, and marks what is read
/// while the database is away.
pub(crate) async fn guard(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let mut asks = author(&request);
    let reads = request.method().is_safe();
    let response = match admit(&state, request.headers(), &mut asks) {
        Ok(()) => {
            request.extensions_mut().insert(asks.clone());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let status = response.status();
    if let StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY = status {
        state.refusals.note(&Refused {
            status,
            actor: Some(asks.name.as_str()).filter(|name| !name.is_empty()),
            peer: asks.peer,
            request_id: &asks.request_id,
            method: &asks.method,
            path: &asks.path,
        });
    }
    if reads && state.publisher.stale() { marked_stale(response) } else { response }
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

// What is known of who asks before the token is.
fn author(request: &Request) -> Author {
    let extensions = request.extensions();
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical());
    let path = extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let request_id = extensions.get::<RequestId>().map(|RequestId(id)| id.clone()).unwrap_or_default();
    let trace = extensions.get::<TraceContext>().copied();
    let (name, method) = (String::new(), request.method().as_str().to_owned());
    Author { name, token: None, role: Role::Viewer, peer, request_id, method, path, trace }
}

fn admit(state: &ApiState, headers: &HeaderMap, asks: &mut Author) -> Result<(), Problem> {
    let Holder { name, token, role } = state.access.identify(token(headers)?).map_err(|unknown| {
        unauthorized(match unknown {
            Unknown::Expired => "the token has expired; an admin makes new ones",
            Unknown::Damaged => "the token was not copied whole",
            Unknown::NoSuchToken => "there is no such token; it may have been deleted",
        })
    })?;
    (asks.name, asks.token, asks.role) = (name, token, role);
    let needed = roles::of_call(&asks.method, &asks.path).unwrap_or(Role::Admin);
    if role < needed {
        let detail = format!("this needs the role {needed}; the token {:?} has the role {role}", asks.name);
        return Err(Problem::new(ProblemKind::Forbidden, detail).with("role", needed.as_str()));
    }
    Ok(())
}

fn token(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let missing = || unauthorized("send an admin token as Authorization: Bearer TOKEN");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?.as_bytes();
    // Which of two is meant, others may see otherwise.
    if values.next().is_some() {
        return Err(unauthorized("send one header Authorization"));
    }
    let (scheme, token) = value.split_at_checked(7).ok_or_else(missing)?;
    match scheme.eq_ignore_ascii_case(b"bearer ") {
        true => Ok(token.trim_ascii()),
        false => Err(missing()),
    }
}

fn unauthorized(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"portico\"");
    Problem::new(ProblemKind::Unauthorized, detail).header(header::WWW_AUTHENTICATE, challenge)
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
