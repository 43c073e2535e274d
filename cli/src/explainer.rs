//! The node's code in the hands of the control plane: the planes do not know each other, and here they meet.

use control_plane::explain::Explainer;
use proto::{explain::Description, invalid::Invalid, pb, snapshot::Snapshot};
use std::sync::Arc;

struct NodeCode(data_plane::explain::Explainer);

/// What a control plane is started with.
pub(crate) fn node_code() -> Arc<dyn Explainer> {
    Arc::new(NodeCode(data_plane::explain::Explainer::default()))
}

impl Explainer for NodeCode {
    fn explain(&self, snapshot: &Snapshot, request: &Description) -> pb::Explanation {
        self.0.explain(snapshot, request)
    }

    fn broken_tests(&self, snapshot: &Snapshot) -> Vec<Invalid> {
        self.0.broken_tests(snapshot)
    }
}
