//! Filters: policies alive in a node.

use proto::policy::Policy;

/// The filters of a route, in stage order.
#[derive(Debug, Default)]
pub(crate) struct Filters {}

impl Filters {
    /// Builds the filters of these policies, which come in the order of attachment.
    pub(crate) fn build<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Filters {
        policies.into_iter().for_each(drop);
        Filters {}
    }
}
