//! What the API works on.

use crate::{
    commit::Committer, fleet::Fleet, publisher::Publisher, settings::Token, store::Store, telemetry::Telemetry,
};
use std::sync::Arc;

/// What the API works on; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Makes revisions.
    pub committer: Arc<Committer>,
    /// Holds the head.
    pub publisher: Arc<Publisher>,
    /// Who runs what.
    pub fleet: Arc<Fleet>,
    /// The history.
    pub store: Store,
    /// The counters, served at `/metrics` without a token.
    pub telemetry: Arc<Telemetry>,
    /// Who may do anything here.
    pub admin_token: Token,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
}
