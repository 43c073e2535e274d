//! Many resources at once: `apply` makes one revision of them, all or nothing, and `export` gives the whole in the form
//! that `apply` takes.

use super::{
    bundle::Bundle,
    call::{Call, off_thread},
    difference::{self, Difference},
    form::{Tag, of_revision},
    problem::Problem,
    query::{APPLY, DRY_RUN, EXPORT, LABELS, PRUNE},
    selector::Selector,
    write::{Write, Written, problem_of, refused},
};
use crate::commit::{CommitError, Refusal, check, shrinks, test};
use axum::{body::Body, response::Response};
use http::{StatusCode, header};
use proto::{
    json,
    resource::{Change, KINDS, Kind, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `POST /v1/apply`.
pub(crate) async fn apply(call: Call, body: Body) -> Result<Response, Problem> {
    let parameters = call.parameters(&APPLY)?;
    let (dry_run, prune) = (parameters.flag(&DRY_RUN)?, parameters.flag(&PRUNE)?);
    if !prune && parameters.text(&LABELS).is_some() {
        return Err(Problem::invalid_request("labels", "limits what prune deletes; add prune=true"));
    }
    let selector = Selector::read(&parameters)?;
    let write = Write::read(&call, &parameters)?;
    let (value, bytes) = call.document(body).await?;
    let write = write.once(&call, &bytes)?;
    let bundle = Arc::new(off_thread(move || Bundle::read(&value)).await?);

    let (conditions, planned) = (write.conditions.clone(), bundle.clone());
    let plan = Arc::new(move |snapshot: &Snapshot| {
        conditions.check(Some(snapshot.root()))?;
        let mut changes = planned.changes(snapshot)?;
        if prune {
            // The keyring is made here as a rule, and no file of anybody's has it.
            let is_pruned = |key: &ResourceKey| key.kind != Kind::Keyring && !planned.has(key);
            let left_out = snapshot.entries().filter(|entry| is_pruned(&entry.resource.key));
            let selected = left_out.filter(|entry| selector.matches(entry.checked.labels()));
            changes.extend(selected.map(|entry| Change::Delete(entry.resource.key.clone())));
        }
        Ok(changes)
    });
    if dry_run {
        let confirm_shrink = write.confirms_shrink();
        return off_thread(move || try_out(&call, &bundle, confirm_shrink, &*plan)).await;
    }
    let planned = plan.clone();
    let written = write.commit(&call, |key| bundle.place(key), move |snapshot| planned(snapshot)).await?;
    off_thread(move || {
        let written = written.judged_by(&*plan);
        let mut body = summary(&written);
        body.insert("unchanged".into(), bundle.unchanged(&written.before, &written.committed.snapshot));
        Ok(answer(&call, &written, &body.into()))
    })
    .await
}

/// `GET /v1/export`.
pub(crate) async fn export(call: Call) -> Result<Response, Problem> {
    let selector = Selector::read(&call.parameters(&EXPORT)?)?;
    let head = call.state.publisher.head();
    off_thread(move || {
        let mut body = Map::new();
        for kind in KINDS {
            let all = head.snapshot.of_kind(kind);
            let selected = all.values().filter(|entry| selector.matches(entry.checked.labels()));
            body.insert(kind.plural().into(), selected.map(|entry| json::write(&entry.resource)).collect());
        }
        let form = call.form();
        // A part has no tag of its own but that of its text.
        let tag = (selector == Selector::default()).then(|| Tag::of(head.snapshot.root(), form));
        let response = form.write_tagged(tag, &call.head.headers, &body.into());
        Ok(of_revision(head.identity.revision, response))
    })
    .await
}

/// The revision of a write of many resources and what it did.
pub(crate) fn summary(written: &Written) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("revision".into(), written.committed.identity.revision.into());
    body.insert("changed".into(), written.committed.changed.into());
    body.extend(Difference::between(&written.before, &written.committed.snapshot).summary());
    body
}

/// The answer to a write of many resources; its tag is that of the whole configuration.
pub(crate) fn answer(call: &Call, written: &Written, body: &Value) -> Response {
    let form = call.form();
    let mut response = form.write(StatusCode::OK, body);
    let tag = Tag::of(written.committed.identity.root, form);
    response.headers_mut().insert(header::ETAG, tag.header());
    written.answer(call, response)
}

fn try_out(
    call: &Call,
    bundle: &Bundle,
    confirm_shrink: bool,
    plan: impl Fn(&Snapshot) -> Result<Vec<Change>, Refusal>,
) -> Result<Response, Problem> {
    let head = call.state.publisher.head();
    let before = &head.snapshot;
    let after = plan(before).and_then(|changes| {
        let after = check(before, changes)?;
        test(&after, &*call.state.explainer).map(|()| after)
    });
    let after = after.map_err(|refusal| refused(refusal, |key| bundle.place(key)))?;
    if let Some((from, to)) = shrinks(before, &after).filter(|_| !confirm_shrink) {
        return Err(problem_of(CommitError::Shrinks { from, to }, |_| None));
    }
    let mut body = Map::new();
    body.insert("revision".into(), head.identity.revision.into());
    body.insert("dry_run".into(), true.into());
    body.insert("changed".into(), (before.root() != after.root()).into());
    body.extend(Difference::between(before, &after).summary());
    body.insert("unchanged".into(), bundle.unchanged(before, &after));
    body.insert("changes".into(), difference::changes(before, &after).into());
    let response = call.form().write(StatusCode::OK, &body.into());
    Ok(of_revision(head.identity.revision, response))
}
