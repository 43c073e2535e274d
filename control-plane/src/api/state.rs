//! What the API works on.

use crate::{
    access::Access, api::refusals::Refusals, commit::Committer, explain::Explainer, fleet::Fleet, publisher::Publisher,
    store::Store, telemetry::Telemetry,
};
use proto::log_level::LogLevel;
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
    /// Who is let in.
    pub access: Arc<Access>,
    /// Takes note of who is not.
    pub refusals: Arc<Refusals>,
    /// Knows what a node would do.
    pub explainer: Arc<dyn Explainer>,
    /// What the program's own log tells.
    pub log_level: Arc<dyn LogLevel>,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
}
