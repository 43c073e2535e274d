//! Nodes that are not let in any more, whatever they show.
//!
//! What is revoked is an id: no stream begins under it, those that stand end, and nobody joins or renews under it. That
//! is until somebody admits it again; then the certificate that it has is good until it ends. A node that somebody else
//! got hold of has also seen the join token, so that is to be exchanged too.

use super::{Access, AccessError, Known};
use crate::{
    author::Author,
    store::{AuditChange, Done, Revocation},
};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::info;

/// How many nodes may be revoked at once.
pub const MAX_REVOCATIONS: usize = 10_000;

/// What a node is called in the audit.
const KIND: &str = "node";

/// The nodes that are revoked at one moment.
pub(crate) struct Revoked(Arc<Known>);

/// Tells when a node is revoked.
pub(crate) struct Watch(watch::Receiver<Arc<Known>>);

// === impl Access ===

impl Access {
    /// All nodes that are revoked, by id.
    pub fn revocations(&self) -> Vec<Revocation> {
        self.known().revoked.values().cloned().collect()
    }

    /// Whether a node is revoked.
    pub fn is_revoked(&self, id: &str) -> bool {
        self.known().revoked.contains_key(id)
    }

    /// Which nodes are revoked, for who asks of many.
    pub(crate) fn revoked(&self) -> Revoked {
        Revoked(self.known())
    }

    /// Tells of what is revoked from now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.known.subscribe())
    }

    /// Lets a node in no more. One that is not let in already stays so, and nothing is recorded.
    pub async fn revoke(&self, author: &Author, id: &str) -> Result<Revocation, AccessError> {
        let _turn = self.turn().await?;
        let mut write = self.store.lock().await?;
        let there = write.revocations().await?;
        if let Some(already) = there.iter().find(|revocation| revocation.id == id) {
            write.release().await?;
            self.load().await?;
            return Ok(already.clone());
        }
        if there.len() >= MAX_REVOCATIONS {
            write.release().await?;
            return Err(AccessError::TooMany(MAX_REVOCATIONS));
        }
        self.record(&mut write, author, of_node(id, Done::Revoked)).await?;
        write.add_revocation(id, &author.name).await?;
        self.finish(write).await?;
        let made = self.known().revoked.get(id).cloned();
        let made = made.ok_or_else(|| AccessError::Unavailable("the node was not revoked; try again".into()))?;
        info!(node.id = id, author = %author.name, "a node was revoked");
        Ok(made)
    }

    /// Lets a node in again.
    pub async fn readmit(&self, author: &Author, id: &str) -> Result<(), AccessError> {
        let _turn = self.turn().await?;
        let mut write = self.store.lock().await?;
        if write.revocations().await?.iter().all(|revocation| revocation.id != id) {
            write.release().await?;
            return Err(AccessError::NotFound(id.into()));
        }
        self.record(&mut write, author, of_node(id, Done::Readmitted)).await?;
        write.remove_revocation(id).await?;
        self.finish(write).await?;
        if self.is_revoked(id) {
            return Err(AccessError::Unavailable("the node was not admitted again; try again".into()));
        }
        info!(node.id = id, author = %author.name, "a node is admitted again");
        Ok(())
    }
}

// === impl Revoked ===

impl Revoked {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.revoked.contains_key(id)
    }
}

// === impl Watch ===

impl Watch {
    /// Resolves when the node is revoked, at once if it is.
    pub(crate) async fn revoked(&mut self, id: &str) {
        if self.0.wait_for(|known| known.revoked.contains_key(id)).await.is_err() {
            // Nothing is learnt any more, for the process ends.
            std::future::pending().await
        }
    }
}

fn of_node(id: &str, done: Done) -> AuditChange {
    AuditChange { kind: KIND.into(), name: id.into(), done }
}
