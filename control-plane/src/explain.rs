//! What the control plane needs of the node's code: only that knows what a node would do. It is handed in, for the planes do
//! not know each other.

use proto::{explain::Description, invalid::Invalid, pb, snapshot::Snapshot};

/// Tells what a node would do.
pub trait Explainer: Send + Sync {
    /// What a node that runs the configuration would do with the request, and why. It may take as long as building what is
    /// new of the configuration, and is not called where others wait.
    fn explain(&self, snapshot: &Snapshot, request: &Description) -> pb::Explanation;

    /// The tests of the configuration that are broken. Nothing is worked out where it has none.
    fn broken_tests(&self, snapshot: &Snapshot) -> Vec<Invalid>;
}
