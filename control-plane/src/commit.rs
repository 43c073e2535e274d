//! THE LIFE OF A CHANGE, first half: a proposal becomes a revision, or is refused.
//!
//! A plan is pure and may run more than once: on the head in memory, and again under the lock when the head moved.
//! What is stored was checked as a whole, with the code that nodes run; what is answered stands in the database.

mod error;
mod validity;

pub use error::{CommitError, Refusal};

use crate::{
    author::Author,
    explain::Explainer,
    publisher::{Head, Publisher, fold},
    store::{AuditChange, Done, Draft, NewLine, Recalled, Store, StoreError, Write},
    telemetry::{CommitResult, StoreOperation, Telemetry},
};
use otel::{OpenSpan, TraceContext, span::Kind};
use proto::{identity::Identity, resource::Change, snapshot::Snapshot};
use std::{sync::Arc, time::Duration, time::Instant};
use time::OffsetDateTime;
use tokio::sync::{Mutex, Semaphore};
use tracing::{error, info, warn};
use uuid::Uuid;

/// The most resources that one proposal may name.
pub const MAX_CHANGES: usize = 100_000;

/// A configuration of more resources does not lose more than half of them unconfirmed.
pub const SHRINK_CHECKED_ABOVE: usize = 100;

/// The most writes that wait for their turn in this process.
const MAX_WAITING: usize = 256;

/// The longest wait for a turn.
const TURN_LIMIT: Duration = Duration::from_secs(2);

/// How often a proposal is worked out again because the head was not what it seemed.
const MAX_TRIES: usize = 3;

/// How long an idempotency key is remembered.
const IDEMPOTENCY_LIFE: time::Duration = time::Duration::hours(24);

/// Old revisions are forgotten each time so many new ones were made.
const PRUNE_EVERY: u64 = 64;

/// What to change, worked out on a configuration. Pure: it runs again when the head moved, so preconditions live in it.
pub type Plan = Box<dyn Fn(&Snapshot) -> Result<Vec<Change>, Refusal> + Send + Sync>;

/// A change that somebody wants.
pub struct Proposal {
    /// Who wants it; the name is kept with the revision, and all of it in the audit.
    pub author: Author,
    /// Why; kept with the revision.
    pub reason: Option<String>,
    /// More than half of a large configuration may go.
    pub confirm_shrink: bool,
    /// A key under which the same request is carried out once, and the digest of the request.
    pub idempotency: Option<(String, [u8; 32])>,
    /// What to change.
    pub plan: Plan,
}

/// A proposal that stands.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The configuration that has it.
    pub identity: Identity,
    /// Whether it made a new revision; a proposal that changes nothing does not.
    pub changed: bool,
    /// When the revision was made.
    pub at: OffsetDateTime,
    /// Whether it was carried out by an earlier request with the same idempotency key.
    pub replayed: bool,
    /// The configuration of that identity.
    pub snapshot: Snapshot,
}

/// Makes revisions of proposals.
#[derive(Clone)]
pub struct Committer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    publisher: Arc<Publisher>,
    telemetry: Arc<Telemetry>,
    explainer: Arc<dyn Explainer>,
    // One commit at a time in this process; the lock on the head row orders the processes.
    turn: Mutex<()>,
    // Bounds those who wait for their turn.
    places: Arc<Semaphore>,
}

/// What a proposal comes to on a configuration.
struct Worked {
    // The configuration that it was worked out on.
    base: Arc<Head>,
    snapshot: Snapshot,
    // Only what has an effect, each resource once.
    changes: Vec<Change>,
}

/// With what a revision is made.
struct Making {
    confirmed_shrink: bool,
    // The span of the commit.
    trace: Option<TraceContext>,
}

// === impl Committer ===

impl Committer {
    /// One for a process.
    pub fn new(
        store: Store,
        publisher: Arc<Publisher>,
        telemetry: Arc<Telemetry>,
        explainer: Arc<dyn Explainer>,
    ) -> Committer {
        let (turn, places) = (Mutex::new(()), Arc::new(Semaphore::new(MAX_WAITING)));
        Committer { inner: Arc::new(Inner { store, publisher, telemetry, explainer, turn, places }) }
    }

    /// Carries out a proposal. Answers within 5 s when the database does not.
    pub async fn commit(&self, proposal: Proposal) -> Result<Committed, CommitError> {
        let place = self.inner.places.clone().try_acquire_owned();
        let place = place.map_err(|_| unavailable("too many writes wait; try again"))?;
        let (inner, proposal) = (self.inner.clone(), Arc::new(proposal));
        // A task of its own: whoever asked may go away, the transaction comes to its end all the same.
        let task = tokio::spawn(async move {
            let _place = place;
            inner.take_turn(&proposal).await
        });
        task.await.unwrap_or_else(|error| {
            error!(%error, "a commit broke off");
            Err(unavailable("the commit broke off; see the log of the control plane"))
        })
    }
}

// === impl Inner ===

impl Inner {
    async fn take_turn(&self, proposal: &Arc<Proposal>) -> Result<Committed, CommitError> {
        let started = Instant::now();
        let mut span = self.telemetry.spans().within(proposal.author.trace, "commit", Kind::Internal);
        let trace = span.as_ref().map(OpenSpan::context);
        let result = match tokio::time::timeout(TURN_LIMIT, self.turn.lock()).await {
            Ok(_turn) => self.carry_out(proposal, trace).await,
            Err(_) => Err(unavailable("other writes take too long; try again")),
        };
        self.telemetry.commit(outcome(&result), started.elapsed());
        if let Some(span) = &mut span {
            match &result {
                Ok(committed) => {
                    let revision = i64::try_from(committed.identity.revision).unwrap_or(i64::MAX);
                    span.set("portico.revision", revision);
                }
                Err(error) => span.fail(error.to_string()),
            }
        }
        result
    }

    // Works a proposal out, as a span of its own.
    async fn check(
        &self,
        proposal: &Arc<Proposal>,
        base: Arc<Head>,
        trace: Option<TraceContext>,
    ) -> Result<Worked, CommitError> {
        let mut span = self.telemetry.spans().within(trace, "check", Kind::Internal);
        let worked = self.work_out(proposal, base).await;
        if let (Some(span), Err(error)) = (&mut span, &worked) {
            span.fail(error.to_string());
        }
        worked
    }

    async fn carry_out(&self, proposal: &Arc<Proposal>, trace: Option<TraceContext>) -> Result<Committed, CommitError> {
        if let Some((key, digest)) = &proposal.idempotency
            && let Some(recalled) = self.store.recall(key).await?
        {
            return self.replay(recalled, digest).await;
        }

        // Work it out on what is in memory, without any lock. A refusal, or nothing to do, is only as true as that is
        // new.
        let head = self.publisher.head();
        let mut worked = self.check(proposal, head.clone(), trace).await;
        if !worked.as_ref().is_ok_and(|worked| !worked.changes.is_empty()) {
            self.publisher.refresh().await?;
            let newest = self.publisher.head();
            if newest.identity != head.identity {
                worked = self.check(proposal, newest, trace).await;
            }
        }
        let mut worked = worked?;
        if worked.changes.is_empty() && proposal.idempotency.is_none() {
            return Ok(worked.unchanged());
        }

        for _ in 0..MAX_TRIES {
            // From here on nobody else moves the head.
            let _storing = self.telemetry.spans().within(trace, "store", Kind::Internal);
            let asked = Instant::now();
            let mut write = self.store.lock().await?;
            self.telemetry.store(StoreOperation::Lock, asked.elapsed());
            if write.stand().identity != worked.base.identity {
                let Some(head) = catch_up(&mut write, &worked.base).await? else {
                    // Not what this process thinks it is: another history, or older.
                    write.release().await?;
                    self.publisher.refresh().await?;
                    worked = self.check(proposal, self.publisher.head(), trace).await?;
                    continue;
                };
                worked = match self.check(proposal, head, trace).await {
                    Ok(worked) => worked,
                    Err(refused) => {
                        write.release().await?;
                        return Err(refused);
                    }
                };
            }
            if let Some((key, digest)) = &proposal.idempotency
                && let Some(recalled) = write.recall(key).await?
            {
                write.release().await?;
                return self.replay(recalled, digest).await;
            }
            let shrinks = shrinks(&worked.base.snapshot, &worked.snapshot);
            if let Some((from, to)) = shrinks.filter(|_| !proposal.confirm_shrink) {
                write.release().await?;
                return Err(CommitError::Shrinks { from, to });
            }
            return self
                .make_stand(write, proposal, worked, Making { confirmed_shrink: shrinks.is_some(), trace })
                .await;
        }
        Err(unavailable("the configuration changes faster than it can be read; try again"))
    }

    // Runs the plan, checks the whole configuration and runs its tests, off the threads that answer.
    async fn work_out(&self, proposal: &Arc<Proposal>, base: Arc<Head>) -> Result<Worked, CommitError> {
        let (proposal, explainer) = (proposal.clone(), self.explainer.clone());
        let working = move || {
            let changes = (proposal.plan)(&base.snapshot)?;
            if changes.len() > MAX_CHANGES {
                return Err(CommitError::TooLarge { count: changes.len(), limit: MAX_CHANGES });
            }
            let snapshot = check(&base.snapshot, changes)?;
            test(&snapshot, &*explainer)?;
            let changes = base.snapshot.differing(&snapshot).into_iter().map(|key| match snapshot.get(&key) {
                Some(entry) => Change::Put(entry.resource.clone()),
                None => Change::Delete(key),
            });
            Ok(Worked { changes: changes.collect(), snapshot, base })
        };
        tokio::task::spawn_blocking(working).await.unwrap_or_else(|error| {
            error!(%error, "a plan broke off");
            Err(unavailable("the change could not be worked out; see the log of the control plane"))
        })
    }

    // Writes, notifies, commits, and hands the new head on.
    async fn make_stand(
        &self,
        mut write: Write,
        proposal: &Proposal,
        worked: Worked,
        Making { confirmed_shrink, trace }: Making,
    ) -> Result<Committed, CommitError> {
        let asked = Instant::now();
        let changed = !worked.changes.is_empty();
        let base = worked.base.identity;
        let identity = Identity { revision: base.revision + u64::from(changed), root: worked.snapshot.root(), ..base };
        let at = if changed { now() } else { worked.base.at };
        let commit_id = Uuid::new_v4();
        if changed {
            let reason = proposal.reason.as_deref().map(storable);
            let draft = Draft {
                identity,
                commit_id,
                at,
                author: storable(&proposal.author.name),
                reason: reason.clone(),
                resources: worked.snapshot.len() as u64,
                confirmed_shrink,
                trace,
                changes: &worked.changes,
            };
            write.write(&draft).await?;
            let line = NewLine {
                author: &proposal.author,
                reason: reason.as_deref(),
                revision: Some(identity.revision),
                changes: &audited(&worked),
                retention: self.store.audit_retention(),
            };
            write.record(&line).await?;
        }
        if let Some((key, digest)) = &proposal.idempotency {
            let what = Recalled { digest: *digest, revision: identity.revision };
            write.remember(key, what, now() + IDEMPOTENCY_LIFE).await?;
        }
        if let Err(error) = write.commit().await {
            self.find_out(&error, changed.then_some(commit_id)).await?;
        }
        self.telemetry.store(StoreOperation::Write, asked.elapsed());
        let head = Head { identity, snapshot: worked.snapshot.clone(), at, trace };
        if changed {
            info!(revision = identity.revision, author = %proposal.author.name, changes = worked.changes.len(), "committed");
            self.publisher.publish(head);
            self.prune_now_and_then(identity.revision);
        }
        Ok(Committed { identity, changed, at, replayed: false, snapshot: worked.snapshot })
    }

    // No answer to a commit says nothing about whether it stands. The lock waits for whatever is still under way, so
    // what is read under it is final.
    async fn find_out(&self, error: &StoreError, commit_id: Option<Uuid>) -> Result<(), CommitError> {
        warn!(%error, "a commit had no answer; finding out whether it stands");
        let Some(commit_id) = commit_id else { return Err(unavailable(error.to_string())) };
        let finding = async {
            let mut write = self.store.lock().await?;
            let made = write.made_by(commit_id).await?;
            write.release().await?;
            Ok::<_, StoreError>(made)
        };
        match finding.await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(unavailable(format!("{error}; the change was not made, try again"))),
            Err(again) => Err(unavailable(format!(
                "{error}, and again: {again}; whether the change was made is not known, look at the revisions before you try again"
            ))),
        }
    }

    async fn replay(&self, recalled: Recalled, digest: &[u8; 32]) -> Result<Committed, CommitError> {
        if recalled.digest != *digest {
            return Err(CommitError::IdempotencyReused);
        }
        self.publisher.refresh().await?;
        let head = self.publisher.head();
        let mut then = Committed {
            identity: head.identity,
            changed: true,
            at: head.at,
            replayed: true,
            snapshot: head.snapshot.clone(),
        };
        if recalled.revision != head.identity.revision
            && let Some(revision) = self.store.revision(recalled.revision).await?
            && let Some(snapshot) = self.store.snapshot_at(recalled.revision).await?
        {
            then.identity = Identity { revision: revision.revision, root: revision.root, ..head.identity };
            then.at = revision.at;
            then.snapshot = snapshot;
        }
        Ok(then)
    }

    fn prune_now_and_then(&self, revision: u64) {
        if revision.is_multiple_of(PRUNE_EVERY) {
            let store = self.store.clone();
            tokio::spawn(async move {
                if let Err(error) = store.prune().await {
                    warn!(%error, "cannot forget old revisions; trying again later");
                }
            });
        }
    }
}

// === impl Worked ===

impl Worked {
    fn unchanged(self) -> Committed {
        let Head { identity, at, .. } = *self.base;
        Committed { identity, changed: false, at, replayed: false, snapshot: self.snapshot }
    }
}

// === conversions ===

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> CommitError {
        if let StoreError::Corrupt(_) | StoreError::Refused(_) = &error {
            error!(%error, "cannot commit");
        }
        unavailable(error.to_string())
    }
}

// What the audit says of each resource.
fn audited(worked: &Worked) -> Vec<AuditChange> {
    let of = |change: &Change| {
        let (key, done) = match change {
            Change::Put(resource) => match worked.base.snapshot.get(&resource.key) {
                Some(_) => (&resource.key, Done::Replaced),
                None => (&resource.key, Done::Created),
            },
            Change::Delete(key) => (key, Done::Deleted),
        };
        AuditChange { kind: key.kind.as_str().into(), name: key.name.as_str().into(), done }
    };
    worked.changes.iter().map(of).collect()
}

/// The configuration with the changes, or why it cannot be written now.
pub(crate) fn check(base: &Snapshot, changes: Vec<Change>) -> Result<Snapshot, Refusal> {
    let snapshot = base.with(changes).map_err(Refusal::Invalid)?;
    let outdated = validity::check(base, &snapshot, OffsetDateTime::now_utc());
    if outdated.is_empty() { Ok(snapshot) } else { Err(Refusal::Invalid(outdated)) }
}

/// Runs the tests of the configuration; the refusal has every broken one.
pub(crate) fn test(snapshot: &Snapshot, explainer: &dyn Explainer) -> Result<(), Refusal> {
    if snapshot.tests().is_empty() {
        return Ok(());
    }
    let broken = explainer.broken_tests(snapshot);
    if broken.is_empty() { Ok(()) } else { Err(Refusal::Invalid(broken)) }
}

/// The head under the lock, folded onto an older one; `None` when it does not follow from that.
async fn catch_up(write: &mut Write, known: &Head) -> Result<Option<Arc<Head>>, StoreError> {
    let stand = *write.stand();
    if stand.identity.history != known.identity.history || stand.identity.revision <= known.identity.revision {
        return Ok(None);
    }
    let changes = write.changes_since(known.identity.revision).await?;
    let folded = fold(&known.snapshot, changes, &stand).await;
    Ok(folded.map(|snapshot| Arc::new(Head { identity: stand.identity, snapshot, at: stand.at, trace: stand.trace })))
}

/// From how many to how many, if more than half of a large configuration goes.
pub(crate) fn shrinks(from: &Snapshot, to: &Snapshot) -> Option<(usize, usize)> {
    (from.len() > SHRINK_CHECKED_ABOVE && to.len() * 2 < from.len()).then(|| (from.len(), to.len()))
}

fn outcome(result: &Result<Committed, CommitError>) -> CommitResult {
    match result {
        Ok(committed) if committed.changed && !committed.replayed => CommitResult::Committed,
        Ok(_) => CommitResult::Unchanged,
        Err(CommitError::Unavailable { .. }) => CommitResult::Unavailable,
        Err(
            CommitError::Refused(_)
            | CommitError::Shrinks { .. }
            | CommitError::IdempotencyReused
            | CommitError::TooLarge { .. },
        ) => CommitResult::Refused,
    }
}

fn unavailable(detail: impl Into<String>) -> CommitError {
    CommitError::Unavailable { detail: detail.into() }
}

// No text of Postgres has a NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

// As precise as every database keeps it.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}
