//! `explain`: what a node would do with a request, under the configuration, an older one or a draft. Nothing is stored, and
//! no upstream is touched.

use super::{
    bundle::Bundle,
    call::{Call, off_thread},
    form::of_revision,
    problem::Problem,
    query::NONE,
    revisions,
    write::refused,
};
use crate::commit::{Refusal, check};
use axum::{body::Body, response::Response};
use http::StatusCode;
use proto::{
    explain::Description,
    invalid::{Faults, Invalid},
    json, pb,
    resource::ResourceKey,
    snapshot::Snapshot,
};
use serde_json::Value;

/// Where in the body the draft is.
const DRAFT: &str = "/draft";

/// What is asked.
struct Asked {
    request: Description,
    revision: Option<u64>,
    draft: Option<Bundle>,
}

/// `POST /v1/explain`.
pub(crate) async fn explain(call: Call, body: Body) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let (value, _) = call.document(body).await?;
    let asked = off_thread(move || Asked::read(&value)).await?;
    let head = call.state.publisher.head();
    let revision = asked.revision.unwrap_or(head.identity.revision);
    let snapshot = match revision == head.identity.revision {
        true => head.snapshot.clone(),
        false => revisions::at(&call, revision).await?,
    };
    off_thread(move || {
        let snapshot = match &asked.draft {
            None => snapshot,
            Some(draft) => lay_over(&snapshot, draft)?,
        };
        let mut faults = Faults::default();
        faults.at("request", |faults| snapshot.check_given(&asked.request, faults));
        if faults.count() > 0 {
            return Err(Problem::invalid_fields(&faults.into_found()));
        }
        let mut explanation = call.state.explainer.explain(&snapshot, &asked.request);
        explanation.revision = Some(revision);
        let response = call.form().write(StatusCode::OK, &json::write_as("Explanation", &explanation));
        Ok(of_revision(revision, response))
    })
    .await
}

// The configuration as it would be with the draft, checked as a commit would.
fn lay_over(snapshot: &Snapshot, draft: &Bundle) -> Result<Snapshot, Problem> {
    let place = |key: &ResourceKey| draft.place(key).map(|place| format!("{DRAFT}{place}"));
    let drafted = draft.changes(snapshot).and_then(|changes| check(snapshot, changes));
    drafted.map_err(|refusal| match refusal {
        Refusal::Invalid(faults) => Problem::invalid(&faults.into_iter().map(within_draft).collect::<Vec<_>>(), place),
        refusal => refused(refusal, place),
    })
}

// What is wrong with no resource is told by its place in the draft.
fn within_draft(fault: Invalid) -> Invalid {
    match &fault.resource {
        Some(_) => fault,
        None => Invalid { pointer: format!("{DRAFT}{}", fault.pointer), ..fault },
    }
}

// === impl Asked ===

impl Asked {
    fn read(body: &Value) -> Result<Asked, Problem> {
        let mut faults = Faults::default();
        let message: pb::ExplainRequest = json::read_as("ExplainRequest", body, &mut faults);
        let before = faults.count();
        let request = faults.at("request", |faults| Description::check(message.request.as_ref(), faults));
        let found = faults.into_found();
        // What is wrong with the draft is told with what it means, by whoever reads it for that.
        let (shape, meaning) = found.split_at(before);
        let draft = body.get("draft").filter(|draft| draft.is_object()).map(Bundle::read).transpose()?;
        let is_told = |fault: &&Invalid| draft.is_none() || !fault.pointer.starts_with("/draft/");
        let faults = json::merge_faults(shape.iter().filter(is_told).cloned().collect(), meaning.to_vec());
        match request {
            Some(request) if faults.is_empty() => Ok(Asked { request, revision: message.revision, draft }),
            Some(_) | None => Err(Problem::invalid_fields(&faults)),
        }
    }
}
