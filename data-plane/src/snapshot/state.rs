//! Where a node stands with its configuration: written by the builder and the disk, watched by the control stream, which
//! reports what changed. Only the newest is kept, so that nothing queues while there is no stream.

use proto::{identity::Identity, invalid::Invalid};
use std::sync::Arc;
use tokio::sync::watch;

/// Where a node stands. Cheap to clone; the clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Status(watch::Sender<State>);

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// What runs; `None` before the first configuration.
    pub(crate) running: Option<Identity>,
    /// What is on the disk.
    pub(crate) persisted: Option<Identity>,
    /// The last refusal, until another configuration runs.
    pub(crate) refused: Option<Arc<Refusal>>,
    /// Whether a control plane is connected.
    pub(crate) connected: bool,
    /// Whether the node ends soon.
    pub(crate) draining: bool,
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
    /// Nothing runs.
    pub(crate) fn new() -> Status {
        Status(watch::Sender::new(State::default()))
    }

    /// Sees changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    pub(super) fn running(&self, identity: Identity) {
        self.0.send_modify(|state| {
            state.running = Some(identity);
            state.refused = None;
        });
    }

    pub(super) fn persisted(&self, identity: Option<&Identity>) {
        self.0.send_modify(|state| state.persisted = identity.copied());
    }

    pub(super) fn refused(&self, refusal: &Arc<Refusal>) {
        self.0.send_modify(|state| state.refused = Some(refusal.clone()));
    }

    pub(super) fn connected(&self, connected: bool) {
        self.0.send_modify(|state| state.connected = connected);
    }

    /// The node ends soon.
    pub(crate) fn draining(&self) {
        self.0.send_modify(|state| state.draining = true);
    }
}
