//! What machines ask without a token: is it alive, is it ready, what does it count.

use super::{
    call::Call,
    form::Form,
    problem::{Problem, ProblemKind},
    query::{NONE, Parameters},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::json;

/// `GET /livez`: the process answers.
pub(crate) async fn livez(uri: Uri) -> Result<Response, Problem> {
    Parameters::read(&uri, &NONE)?;
    Ok(uncached(Form::Json.write(StatusCode::OK, &json!({"live": true}))))
}

/// `GET /readyz`: the database answers, so that changes can be made.
pub(crate) async fn readyz(call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    if call.state.publisher.stale() {
        return Err(Problem::new(ProblemKind::Unavailable, "reads are answered from memory; changes cannot be made"));
    }
    let revision = call.state.publisher.head().identity.revision;
    Ok(uncached(Form::Json.write(StatusCode::OK, &json!({"ready": true, "revision": revision}))))
}

/// `GET /metrics`: what Prometheus reads.
pub(crate) async fn metrics(call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let accept = call.head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    call.state.fleet.measure(call.state.publisher.head().identity.revision);
    let page = call.state.telemetry.page(accept.unwrap_or_default());
    let mut response = page.text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    Ok(uncached(response))
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
