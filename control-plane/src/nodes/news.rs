//! What the other control planes are still to be told of the nodes here.
//!
//! A set of nodes, not a queue of reports: however many reports there are and however long the database is away, what is
//! kept is bounded by the number of nodes, and what is told is how they stand then.

use super::{NodeStatus, Nodes};
use std::time::Instant;

/// How a node stands.
pub(crate) struct News {
    pub(crate) status: NodeStatus,
    /// When its last stream began.
    pub(crate) since: Instant,
    /// When it last said anything.
    pub(crate) seen: Instant,
    /// Which time it is that something is told.
    pub(crate) written: u64,
}

/// That a node was seen, and is otherwise as it was told.
pub(crate) struct Seen {
    pub(crate) id: String,
    /// When it was told how it stands.
    pub(crate) written: u64,
    pub(crate) at: Instant,
}

// === impl Nodes ===

impl Nodes {
    /// Resolves when there is something that is to be told at once.
    pub(crate) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Takes what is to be told of at most so many nodes.
    pub(crate) fn take_news(&self, limit: usize) -> Vec<News> {
        let mut known = self.known();
        known.written += 1;
        let written = known.written;
        let mut news = Vec::new();
        while news.len() < limit
            && let Some(id) = known.changed.pop_first()
        {
            // Whoever is forgotten here is forgotten elsewhere in time.
            let Some(node) = known.by_id.get_mut(&id) else { continue };
            node.told = Some((written, node.seen));
            news.push(News { status: node.status(), since: node.since, seen: node.seen, written });
        }
        news
    }

    /// It could not be told, or it did not come to stand.
    pub(crate) fn tell_again(&self, ids: impl IntoIterator<Item = String>) {
        self.known().changed.extend(ids);
    }

    /// The nodes that were seen since that was told, and of which nothing else is to be told.
    pub(crate) fn seen_since_told(&self) -> Vec<Seen> {
        let known = self.known();
        let of = |(id, node): (&String, &super::Node)| {
            let (written, _) = node.told.filter(|(_, seen)| node.seen > *seen)?;
            (!known.changed.contains(id)).then(|| Seen { id: id.clone(), written, at: node.seen })
        };
        known.by_id.iter().filter_map(of).collect()
    }

    /// It was told.
    pub(crate) fn note_told(&self, seen: &[Seen]) {
        let mut known = self.known();
        for Seen { id, written, at } in seen {
            if let Some(node) = known.by_id.get_mut(id).filter(|node| node.told.is_some_and(|told| told.0 == *written))
            {
                node.told = Some((*written, *at));
            }
        }
    }
}
