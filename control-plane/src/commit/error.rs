//! Why a proposal does not become a revision.

use proto::{invalid::Invalid, resource::ResourceKey};

/// Why a proposal does not fit the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such resource.
    #[error("{0} does not exist")]
    NotFound(ResourceKey),
    /// The resource has no such part.
    #[error("there is no {0}")]
    NoPart(String),
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
