//! Who did what: the lines of the audit, newest first.

use super::{
    call::Call,
    form::time_text,
    page::{self, Page},
    problem::Problem,
    query::{ACTOR, AT_REVISION, AUDIT, Parameter, Parameters, RESOURCE, SINCE, UNTIL},
    write::unreadable,
};
use crate::store::{AuditChange, AuditFilter, AuditLine};
use axum::response::Response;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// `GET /v1/audit`.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let parameters = call.parameters(&AUDIT)?;
    let mut filter = read(&parameters)?;
    let described = format!("audit {filter:?}");
    let page = Page::read(&parameters, &described)?;
    filter.below = page.after.and_then(|line| line.parse().ok());
    let limit = u32::try_from(page.size + 1).unwrap_or(u32::MAX);
    let mut found = call.state.store.audit(&filter, limit).await.map_err(unreadable)?;
    let more = found.len() > page.size;
    found.truncate(page.size);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| page::token(&last.id.to_string(), &described)).unwrap_or_default();
    let body = json!({"audit": found.iter().map(json).collect::<Vec<_>>(), "next_page_token": next});
    Ok(call.form().write_tagged(None, &call.head.headers, &body))
}

fn read(parameters: &Parameters) -> Result<AuditFilter, Problem> {
    let owned = |text: &str| text.to_owned();
    let (kind, name) = match parameters.text(&RESOURCE).map(|text| text.split_once('/').ok_or(text)) {
        None => (None, None),
        Some(Ok((kind, name))) => (Some(owned(kind)), Some(owned(name))),
        Some(Err(kind)) => (Some(owned(kind)), None),
    };
    let texts = [parameters.text(&ACTOR), kind.as_deref(), name.as_deref()];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::invalid_request("query", "no name has a NUL"));
    }
    Ok(AuditFilter {
        below: None,
        actor: parameters.text(&ACTOR).map(owned),
        kind,
        name,
        since: time(parameters, &SINCE)?,
        until: time(parameters, &UNTIL)?,
        revision: parameters.number(&AT_REVISION)?,
    })
}

fn time(parameters: &Parameters, parameter: &Parameter) -> Result<Option<OffsetDateTime>, Problem> {
    let parse = |text: &str| {
        // In a query, a plus is a blank.
        OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).map_err(|_| {
            let detail = format!("{text:?} is not a time; write it as in \"2026-11-24T09:30:00Z\"");
            Problem::invalid_request(parameter.name, detail)
        })
    };
    parameters.text(parameter).map(parse).transpose()
}

fn json(line: &AuditLine) -> Value {
    json!({
        "id": line.id,
        "at": time_text(line.at),
        "actor": line.actor,
        "role": line.role.as_str(),
        "peer": line.peer,
        "request_id": line.request_id,
        "method": line.method,
        "path": line.path,
        "reason": line.reason,
        "revision": line.revision,
        "changes": line.changes.iter().map(change_json).collect::<Vec<_>>(),
        "changes_omitted": line.changes_omitted,
    })
}

fn change_json(change: &AuditChange) -> Value {
    let AuditChange { kind, name, done } = change;
    json!({"resource": format!("{kind}/{name}"), "kind": kind, "name": name, "done": done.as_str()})
}
