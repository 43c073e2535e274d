//! THE LIFE OF A CHANGE, first half: a proposal becomes a revision, or is refused.
//!
//! A plan is pure and may run more than once: on the head in memory, and again under the lock when the head moved.
//! What is stored was checked as a whole, with the code that nodes run; what is answered stands in the database.

use crate::{publisher::Publisher, store::Store, telemetry::Telemetry};
use proto::{
    identity::Identity,
    invalid::Invalid,
    resource::{Change, ResourceKey},
    snapshot::Snapshot,
};
use std::sync::Arc;
use time::OffsetDateTime;

/// What to change, worked out on a configuration. Pure: it runs again when the head moved, so preconditions live in it.
pub type Plan = Box<dyn Fn(&Snapshot) -> Result<Vec<Change>, Refusal> + Send + Sync>;

/// A change that somebody wants.
pub struct Proposal {
    /// Who wants it; kept with the revision.
    pub author: String,
    /// Why; kept with the revision.
    pub reason: Option<String>,
    /// More than half of a large configuration may go.
    pub confirm_shrink: bool,
    /// A key under which the same request is carried out once, and the digest of the request.
    pub idempotency: Option<(String, [u8; 32])>,
    /// What to change.
    pub plan: Plan,
}

/// Why a proposal does not fit the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(ResourceKey),
    /// There is such a resource already.
    #[error("{0} exists already")]
    Exists(ResourceKey),
    /// The resource is not in the state that the caller expects.
    #[error("{detail}")]
    Precondition {
        /// What was expected and what is.
        detail: String,
    },
    /// The resource cannot go while others refer to it.
    #[error("{key} is referred to by {} others", by.len())]
    Referred {
        /// What was to go.
        key: ResourceKey,
        /// Who refers to it.
        by: Vec<ResourceKey>,
    },
    /// The configuration would be wrong.
    #[error("the configuration would have {} faults", .0.len())]
    Invalid(Vec<Invalid>),
}

/// Why a proposal did not become a revision.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It does not fit the configuration.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It would take away more than half of a large configuration, unconfirmed.
    #[error("would shrink the configuration from {from} to {to} resources; confirm that this is meant")]
    Shrinks {
        /// How many resources there are.
        from: usize,
        /// How many would be left.
        to: usize,
    },
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used for another request; take a new one")]
    IdempotencyReused,
    /// More changes at once than are taken.
    #[error("changes {count} resources at once; at most {limit} are taken, split it")]
    TooLarge {
        /// How many it has.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// The database does not answer, or not in time. Nothing was acknowledged.
    #[error("{detail}")]
    Unavailable {
        /// What is the matter, and whether the change may stand all the same.
        detail: String,
    },
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
pub struct Committer {
    store: Store,
    publisher: Arc<Publisher>,
    telemetry: Arc<Telemetry>,
}

// === impl Committer ===

impl Committer {
    /// One for a process.
    pub fn new(store: Store, publisher: Arc<Publisher>, telemetry: Arc<Telemetry>) -> Committer {
        Committer { store, publisher, telemetry }
    }

    /// Carries out a proposal; answers within 5 s.
    pub async fn commit(&self, _proposal: Proposal) -> Result<Committed, CommitError> {
        let _ = (&self.store, &self.publisher, &self.telemetry);
        Err(CommitError::Unavailable { detail: "not built yet".into() })
    }
}
