//! What all writes share: who and why, the idempotency key, the commit, the wait for nodes, and the headers that say
//! which revision it is.

use super::{
    call::Call,
    conditions::Conditions,
    difference::Difference,
    form::of_revision,
    problem::{Problem, ProblemKind},
    query::{CONFIRM_SHRINK, Parameters, REASON, TIMEOUT, WAIT},
    wait,
};
use crate::{
    commit::{CommitError, Committed, Plan, Proposal, Refusal},
    fleet::{Waited, Want},
    store::StoreError,
};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use proto::{
    resource::{Change, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Why a change is made.
const REASON_HEADER: HeaderName = HeaderName::from_static("portico-reason");
/// How a wait ended.
const WAIT_HEADER: HeaderName = HeaderName::from_static("portico-wait");
/// The answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A key under which the same request is carried out once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest reason and the longest idempotency key.
pub(crate) const MAX_TEXT: usize = 255;

/// A write as the request has it, but for the change itself.
pub(crate) struct Write {
    reason: Option<String>,
    confirm_shrink: bool,
    idempotency: Option<(String, [u8; 32])>,
    wait: Option<(Want, Duration)>,
    /// What has to hold before.
    pub(crate) conditions: Conditions,
}

/// A write that stands.
pub(crate) struct Written {
    pub(crate) committed: Committed,
    /// The configuration before it.
    pub(crate) before: Snapshot,
    waited: Option<Waited>,
}

// === impl Write ===

impl Write {
    /// Reads a write of its request.
    pub(crate) fn read(call: &Call, parameters: &Parameters) -> Result<Write, Problem> {
        let reason = match (parameters.text(&REASON), header_text(call, &REASON_HEADER)?) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid_request("reason", "given twice; use the header or the parameter"));
            }
            (Some(reason), None) => Some(reason.to_owned()),
            (None, reason) => reason,
        };
        if reason.as_ref().is_some_and(|reason| reason.len() > MAX_TEXT) {
            return Err(Problem::invalid_request("reason", format!("at most {MAX_TEXT} bytes are kept")));
        }
        Ok(Write {
            reason,
            confirm_shrink: parameters.flag(&CONFIRM_SHRINK)?,
            idempotency: None,
            wait: wait::read(parameters.text(&WAIT), parameters.duration(&TIMEOUT)?)?,
            conditions: Conditions::read(&call.head.headers),
        })
    }

    /// Whether more than half of the configuration may go.
    pub(crate) fn confirms_shrink(&self) -> bool {
        self.confirm_shrink
    }

    /// Carries the request out once under its idempotency key, if it has one.
    pub(crate) fn once(mut self, call: &Call, body: &[u8]) -> Result<Write, Problem> {
        let Some(key) = header_text(call, &IDEMPOTENCY_KEY)? else { return Ok(self) };
        if key.is_empty() || key.len() > MAX_TEXT {
            let detail = format!("a key has 1 to {MAX_TEXT} characters");
            return Err(Problem::invalid_request(IDEMPOTENCY_KEY.as_str(), detail));
        }
        let target = call.head.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        let mut digest = Sha256::new();
        for part in [call.head.method.as_str().as_bytes(), target.as_bytes(), body] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        // One token's key is not another's; no header has a line feed, so nobody writes such a key.
        let key = match call.author()?.token {
            Some(token) => format!("{token}\n{key}"),
            None => key,
        };
        self.idempotency = Some((key, digest.finalize().into()));
        Ok(self)
    }

    /// Commits what `plan` works out, and waits for nodes if the request says so. `place` says where in the body a
    /// resource stands.
    pub(crate) async fn commit(
        self,
        call: &Call,
        place: impl Fn(&ResourceKey) -> Option<String>,
        plan: impl Fn(&Snapshot) -> Result<Vec<Change>, Refusal> + Send + Sync + 'static,
    ) -> Result<Written, Problem> {
        // A plan runs again when the head moved; its last run was on the configuration before the revision.
        let base = Arc::new(Mutex::new(None));
        let noted = base.clone();
        let plan: Plan = Box::new(move |snapshot| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
            plan(snapshot)
        });
        let proposal = Proposal {
            author: call.author()?.clone(),
            reason: self.reason,
            confirm_shrink: self.confirm_shrink,
            idempotency: self.idempotency,
            plan,
        };
        let committed = call.state.committer.commit(proposal).await.map_err(|error| problem_of(error, place))?;
        let noted = base.lock().unwrap_or_else(PoisonError::into_inner).take();
        let before = match noted.filter(|_| !committed.replayed) {
            Some(before) => before,
            None => before_replayed(call, &committed).await?,
        };
        let waited = match self.wait {
            None => None,
            Some((want, timeout)) => {
                Some(call.state.fleet.wait(&committed.identity, want, Instant::now() + timeout).await)
            }
        };
        Ok(Written { committed, before, waited })
    }
}

// === impl Written ===

impl Written {
    /// Judges a replay by its plan: if that does not lead from the configuration before the revision to it, then the
    /// first request changed nothing, and found that configuration as it was.
    pub(crate) fn judged_by(mut self, plan: impl Fn(&Snapshot) -> Result<Vec<Change>, Refusal>) -> Written {
        let root = self.committed.identity.root;
        let leads_to = |changes| self.before.with(changes).is_ok_and(|after| after.root() == root);
        if self.committed.replayed && !plan(&self.before).is_ok_and(leads_to) {
            self.before = self.committed.snapshot.clone();
            self.committed.changed = false;
        }
        self
    }

    /// What it created.
    pub(crate) fn created(&self) -> Vec<ResourceKey> {
        Difference::between(&self.before, &self.committed.snapshot).created
    }

    /// The answer: `response`, or after a wait that was too long 202 and who lags; each with the headers of a write.
    pub(crate) fn answer(&self, call: &Call, response: Response) -> Response {
        self.answer_and_tell(call, response, Map::new())
    }

    /// The same, with what has to be told even if the wait was too long.
    pub(crate) fn answer_and_tell(&self, call: &Call, response: Response, told: Map<String, Value>) -> Response {
        let revision = self.committed.identity.revision;
        let mut answer = match &self.waited {
            Some(waited) if !waited.reached => {
                let mut body = json!({"revision": revision, "wait": wait::report(waited)});
                body.as_object_mut().into_iter().for_each(|body| body.extend(told.clone()));
                let mut answer = call.form().write(StatusCode::ACCEPTED, &body);
                for (name, value) in response.headers() {
                    if !answer.headers().contains_key(name) && name != http::header::CONTENT_LENGTH {
                        answer.headers_mut().insert(name.clone(), value.clone());
                    }
                }
                answer
            }
            Some(_) | None => response,
        };
        let headers = answer.headers_mut();
        if let Some(waited) = &self.waited {
            headers.insert(WAIT_HEADER, wait::header(waited));
        }
        if self.committed.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        of_revision(revision, answer)
    }
}

// The configuration before a revision that an earlier request made.
async fn before_replayed(call: &Call, committed: &Committed) -> Result<Snapshot, Problem> {
    let revision = committed.identity.revision.saturating_sub(1);
    let kept = call.state.store.snapshot_at(revision).await.map_err(unreadable)?;
    kept.ok_or_else(|| Problem::not_found("trace of what the first request with this key did; it is too old"))
}

/// A reading of the history that failed.
pub(crate) fn unreadable(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) => Problem::unavailable("the history cannot be read; try again"),
        StoreError::Corrupt(_) | StoreError::Refused(_) => {
            tracing::error!(%error, "the history cannot be read");
            Problem::new(ProblemKind::Internal, "the history cannot be read; the log of the control plane says why")
        }
    }
}

/// A refusal as a problem.
pub(crate) fn refused(refusal: Refusal, place: impl Fn(&ResourceKey) -> Option<String>) -> Problem {
    match refusal {
        Refusal::NotFound(key) => Problem::not_found(format_args!("{} named {:?}", key.kind, key.name)),
        Refusal::NoPart(what) => Problem::not_found(what),
        Refusal::Exists(key) => {
            let detail = format!("{} {:?} exists; PUT replaces it", key.kind, key.name);
            Problem::new(ProblemKind::NameTaken, detail).with("resource", key.to_string())
        }
        Refusal::Precondition { detail } => Problem::new(ProblemKind::PreconditionFailed, detail),
        Refusal::Referred { key, by } => {
            let by: Vec<String> = by.iter().map(ResourceKey::to_string).collect();
            let detail = format!("{} {:?} is used by {}; change these first", key.kind, key.name, by.join(", "));
            Problem::new(ProblemKind::StillReferred, detail).with("referrers", by)
        }
        Refusal::Invalid(faults) => Problem::invalid(&faults, place),
    }
}

pub(crate) fn problem_of(error: CommitError, place: impl Fn(&ResourceKey) -> Option<String>) -> Problem {
    match error {
        CommitError::Refused(refusal) => refused(refusal, place),
        CommitError::Shrinks { from, to } => {
            let detail = format!("of {from} resources {to} would be left; if so, add confirm_shrink=true");
            Problem::new(ProblemKind::Shrinks, detail).with("from", from).with("to", to)
        }
        CommitError::IdempotencyReused => {
            Problem::new(ProblemKind::IdempotencyKeyReused, "take a new Idempotency-Key for another request")
        }
        CommitError::TooLarge { .. } => Problem::new(ProblemKind::TooLarge, error.to_string()),
        CommitError::Unavailable { detail } => Problem::unavailable(detail),
    }
}

fn header_text(call: &Call, name: &HeaderName) -> Result<Option<String>, Problem> {
    let Some(value) = call.head.headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map(str::to_owned);
    text.map(Some).map_err(|_| Problem::invalid_request(name.as_str(), "the header is not UTF-8"))
}
