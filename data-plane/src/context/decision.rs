//! What policies said of a request that they refused, or would have refused.

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
    /// Whether the policy is only tried out, and so the request went on.
    pub(crate) shadow: bool,
}
