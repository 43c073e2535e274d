//! Nodes that are not let in any more.

use super::{
    call::Call,
    form::time_text,
    page::{self, Page},
    problem::{Problem, ProblemKind},
    query::{NONE, PAGES},
};
use crate::{access::AccessError, store::Revocation};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

/// `GET /v1/revocations`: by id.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let page = Page::read(&call.parameters(&PAGES)?, "revocations")?;
    let mut found = call.state.access.revocations();
    found.retain(|revocation| page.after.as_ref().is_none_or(|after| revocation.id > *after));
    let more = found.len() > page.size;
    found.truncate(page.size);
    let next = found.last().filter(|_| more).map(|last| page::token(&last.id, "revocations")).unwrap_or_default();
    let body = json!({"revocations": found.iter().map(json).collect::<Vec<_>>(), "next_page_token": next});
    Ok(call.form().write_tagged(None, &call.head.headers, &body))
}

/// `POST /v1/nodes/{id}/revoke`.
pub(crate) async fn revoke(id: String, call: Call, _: Body) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    // Others are no ids, so that nobody is let in under them anyway.
    if !(1..=64).contains(&id.len()) || !id.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(Problem::not_found(format_args!("node with the id {id:?}")));
    }
    let revocation = call.state.access.revoke(call.author()?, &id).await.map_err(problem_of)?;
    Ok(call.form().write(StatusCode::OK, &json(&revocation)))
}

/// `POST /v1/nodes/{id}/readmit`.
pub(crate) async fn readmit(id: String, call: Call, _: Body) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    call.state.access.readmit(call.author()?, &id).await.map_err(problem_of)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn json(revocation: &Revocation) -> Value {
    json!({
        "id": revocation.id,
        "revoked_at": time_text(revocation.revoked_at),
        "revoked_by": revocation.revoked_by,
    })
}

fn problem_of(error: AccessError) -> Problem {
    match error {
        AccessError::NotFound(id) => Problem::not_found(format_args!("revoked node with the id {id:?}")),
        AccessError::TooMany(most) => {
            let detail = format!("{most} nodes are revoked; admit those again that are gone for good");
            Problem::new(ProblemKind::LimitReached, detail)
        }
        AccessError::NameTaken(_) | AccessError::Unavailable(_) => Problem::unavailable(error.to_string()),
    }
}
