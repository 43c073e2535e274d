//! What policies said of a request that they refused, would have refused, or let pass because they had to.

use proto::name::Name;

/// A refusal on record, or one that there would have been.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decision {
    /// The policy.
    pub(crate) policy: Name,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// The refusal's.
    pub(crate) reason: &'static str,
    /// What became of it.
    pub(crate) made: Made,
}

/// What becomes of a request that a policy has something against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    /// It is refused.
    Refused,
    /// It goes on, for the policy is only tried out.
    Shadowed,
    /// It goes on, for whom the policy asks did not answer, and the policy says that this is to stop nobody.
    FailedOpen,
}

// === impl Made ===

impl Made {
    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Made::Refused => "refused",
            Made::Shadowed => "shadowed",
            Made::FailedOpen => "failed_open",
        }
    }
}
