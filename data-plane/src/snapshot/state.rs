//! Where a node stands with its configuration: written by the builder and the disk, watched by the control stream, which
//! reports what changed. Only the newest is kept, so that nothing queues while there is no stream.

use crate::{pool::HealthReport, telemetry::Telemetry};
use otel::Spans;
use proto::{identity::Identity, invalid::Invalid};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Where a node stands. Cheap to clone; the clones are one.
#[derive(Clone)]
pub(crate) struct Status {
    state: watch::Sender<State>,
    telemetry: Telemetry,
}

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// What runs; `None` before the first configuration.
    pub(crate) running: Option<Identity>,
    /// How often a configuration was applied, be it the same.
    pub(crate) applied: u64,
    /// What is on the disk.
    pub(crate) persisted: Option<Identity>,
    /// The last refusal, until another configuration runs.
    pub(crate) refused: Option<Arc<Refusal>>,
    /// Whether a control plane is connected.
    pub(crate) connected: bool,
    /// Whether the node ends soon.
    pub(crate) draining: bool,
    /// The endpoints that take no traffic.
    pub(crate) health: Arc<HealthReport>,
}

/// A configuration that was not applied, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which.
    pub(crate) identity: Identity,
    /// All that is wrong with it.
    pub(crate) faults: Vec<Invalid>,
    /// Whether it is not what its identity names, and so may be well when it is sent again.
    pub(crate) damaged: bool,
}

// === impl Status ===

impl Status {
    /// Where spans are handed in.
    pub(crate) fn spans(&self) -> &Spans {
        self.telemetry.spans()
    }

    /// Nothing runs; what is told here, is told by telemetry too.
    pub(crate) fn new(telemetry: Telemetry) -> Status {
        Status { state: watch::Sender::new(State::default()), telemetry }
    }

    /// Sees changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn running(&self, identity: Identity) {
        self.telemetry.config().running(identity.revision, now());
        self.state.send_modify(|state| {
            state.running = Some(identity);
            state.applied += 1;
            state.refused = None;
        });
    }

    pub(super) fn persisted(&self, identity: Option<&Identity>) {
        self.state.send_modify(|state| state.persisted = identity.copied());
    }

    pub(super) fn refused(&self, refusal: &Arc<Refusal>) {
        self.telemetry.config().refused();
        self.state.send_modify(|state| state.refused = Some(refusal.clone()));
    }

    /// A file was refused, which no control plane hears of.
    pub(super) fn refused_file(&self) {
        self.telemetry.config().refused();
    }

    pub(super) fn connected(&self, connected: bool) {
        self.state.send_modify(|state| state.connected = connected);
    }

    /// How the endpoints are.
    pub(crate) fn health(&self, report: HealthReport) {
        self.state.send_if_modified(|state| {
            let is_new = *state.health != report;
            if is_new {
                state.health = Arc::new(report);
            }
            is_new
        });
    }

    /// The node ends soon.
    pub(crate) fn draining(&self) {
        self.state.send_modify(|state| state.draining = true);
    }
}

/// Milliseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
