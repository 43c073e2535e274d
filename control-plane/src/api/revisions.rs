//! The history: revisions, what differs between two of them, and the way back to one, which is a step forward.

use super::{
    apply, body,
    call::{Call, off_thread},
    difference,
    form::time_text,
    page::{self, Page},
    problem::Problem,
    query::{DIFF, NONE, PAGES, TO, WRITE},
    write::{Write, unreadable},
};
use crate::{commit::Refusal, store::Revision};
use axum::{body::Body, response::Response};
use proto::{identity::hex, snapshot::Snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

// A restore says all in its URL; some clients send `{}` with any POST.
const MAX_BODY: usize = 1024;

/// `GET /v1/revisions`: newest first.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let page = Page::read(&call.parameters(&PAGES)?, "revisions")?;
    let below = page.after.and_then(|revision| revision.parse().ok());
    let limit = u32::try_from(page.size + 1).unwrap_or(u32::MAX);
    let mut found = call.state.store.revisions(below, limit).await.map_err(unreadable)?;
    let more = found.len() > page.size;
    found.truncate(page.size);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| page::token(&last.revision.to_string(), "revisions")).unwrap_or_default();
    let revisions: Vec<Value> = found.iter().map(json).collect();
    let body = json!({"revisions": revisions, "next_page_token": next});
    Ok(call.form().write_tagged(None, &call.head.headers, &body))
}

/// `GET /v1/revisions/{revision}`.
pub(crate) async fn get(number: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let revision = call.state.store.revision(parse(&number)?).await.map_err(unreadable)?;
    let revision = revision.ok_or_else(|| missing(&number))?;
    Ok(call.form().write_tagged(None, &call.head.headers, &json(&revision)))
}

/// `GET /v1/revisions/{revision}/diff`: from the revision to another; from the one before to it when none is given.
pub(crate) async fn diff(number: String, call: Call) -> Result<Response, Problem> {
    let to = call.parameters(&DIFF)?.number(&TO)?;
    let revision = parse(&number)?;
    let (from, to) = match to {
        Some(to) => (revision, to),
        None => (revision.saturating_sub(1), revision),
    };
    let (before, after) = (at(&call, from).await?, at(&call, to).await?);
    off_thread(move || {
        let body = json!({"from": from, "to": to, "changes": difference::changes(&before, &after)});
        Ok(call.form().write_tagged(None, &call.head.headers, &body))
    })
    .await
}

/// `POST /v1/revisions/{revision}/restore`: makes the configuration what it was, in a new revision.
pub(crate) async fn restore(number: String, call: Call, body: Body) -> Result<Response, Problem> {
    let write = Write::read(&call, &call.parameters(&WRITE)?)?;
    let write = write.once(&call, &body::collect(body, &call.head.headers, MAX_BODY).await?)?;
    let target = at(&call, parse(&number)?).await?;
    let conditions = write.conditions.clone();
    let plan = Arc::new(move |snapshot: &Snapshot| {
        conditions.check(Some(snapshot.root()))?;
        Ok::<_, Refusal>(difference::steps(snapshot, &target))
    });
    let planned = plan.clone();
    let written = write.commit(&call, |_| None, move |snapshot| planned(snapshot)).await?;
    off_thread(move || {
        let written = written.judged_by(&*plan);
        Ok(apply::answer(&call, &written, &apply::summary(&written).into()))
    })
    .await
}

fn json(revision: &Revision) -> Value {
    json!({
        "revision": revision.revision,
        "at": time_text(revision.at),
        "author": revision.author,
        "reason": revision.reason,
        "root": hex(&revision.root),
        "resources": revision.resources,
        "confirmed_shrink": revision.confirmed_shrink,
    })
}

/// The configuration at a revision that is kept.
pub(crate) async fn at(call: &Call, revision: u64) -> Result<Snapshot, Problem> {
    let head = call.state.publisher.head();
    if head.identity.revision == revision {
        return Ok(head.snapshot.clone());
    }
    let kept = call.state.store.snapshot_at(revision).await.map_err(unreadable)?;
    kept.ok_or_else(|| missing(revision))
}

// A number that cannot be is the number of nothing.
fn parse(number: &str) -> Result<u64, Problem> {
    let digits = number.bytes().all(|c| c.is_ascii_digit());
    number.parse().ok().filter(|revision| digits && i64::try_from(*revision).is_ok()).ok_or_else(|| missing(number))
}

fn missing(revision: impl std::fmt::Display) -> Problem {
    Problem::not_found(format_args!("revision {revision}; GET /v1/revisions lists those that are kept"))
}
