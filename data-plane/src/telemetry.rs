//! What a node tells about itself: metrics, the access log, and what it runs.

use crate::settings::Settings;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// What the threads of a node share to tell about it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConfigStatus,
    draining: AtomicBool,
}

/// Which configuration runs. Written by the life of a change, read by the status port.
#[derive(Debug, Default)]
pub(crate) struct ConfigStatus {
    revision: AtomicU64,
    // Milliseconds since the epoch; 0 while there is none.
    since: AtomicU64,
    refused: AtomicU64,
}

// === impl Telemetry ===

impl Telemetry {
    /// Opens the access log.
    pub(crate) fn new(_settings: &Settings) -> io::Result<Telemetry> {
        Ok(Telemetry { inner: Arc::new(Inner { config: ConfigStatus::default(), draining: AtomicBool::new(false) }) })
    }

    /// Which configuration runs.
    pub(crate) fn config(&self) -> &ConfigStatus {
        &self.inner.config
    }

    /// From now on the node is not ready.
    pub(crate) fn set_draining(&self) {
        self.inner.draining.store(true, Relaxed);
    }
}

// === impl ConfigStatus ===

impl ConfigStatus {
    /// A configuration runs; `age` milliseconds are counted from `now`, milliseconds since the epoch.
    pub(crate) fn running(&self, revision: u64, now: u64) {
        self.revision.store(revision, Relaxed);
        self.since.store(now, Relaxed);
    }

    /// A configuration was refused.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}
