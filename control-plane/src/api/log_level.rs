//! What this control plane's own log tells, changed while it runs: not a change of the configuration, gone with the
//! process, and of this control plane alone.

use super::{call::Call, problem::Problem, query::NONE};
use axum::{body::Body, response::Response};
use http::StatusCode;
use proto::invalid::{Faults, Invalid};
use serde_json::{Value, json};

const FIELD: &str = "log_level";

/// `GET /v1/log-level`.
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    Ok(answer(&call))
}

/// `PUT /v1/log-level`.
pub(crate) async fn put(call: Call, body: Body) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let (value, _) = call.document(body).await?;
    let author = call.author()?;
    let set = read(&value).and_then(|level| {
        let fault = |detail| vec![Invalid { resource: None, pointer: format!("/{FIELD}"), detail }];
        call.state.log_level.set(level).map_err(fault)
    });
    set.map_err(|faults| Problem::invalid_fields(&faults))?;
    let level = call.state.log_level.get();
    tracing::info!(level, author = author.name, request_id = author.request_id, "the level of the log was changed");
    Ok(answer(&call))
}

fn answer(call: &Call) -> Response {
    call.form().write(StatusCode::OK, &json!({FIELD: call.state.log_level.get()}))
}

fn read(value: &Value) -> Result<&str, Vec<Invalid>> {
    let mut faults = Faults::default();
    for field in value.as_object().into_iter().flat_map(|object| object.keys()).filter(|field| *field != FIELD) {
        faults.note_at(field, format!("there is only {FIELD}"));
    }
    let level = value.get(FIELD).and_then(Value::as_str);
    if level.is_none() {
        faults.note_at(FIELD, "a level is expected, as in \"debug\" or \"info,control_plane=debug\"");
    }
    match (level, faults.into_found()) {
        (Some(level), faults) if faults.is_empty() => Ok(level),
        (_, faults) => Err(faults),
    }
}
