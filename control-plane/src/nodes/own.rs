//! A look at the nodes here, without a copy of all that is known of each.

use super::{Known, Node, NodeStatus, Nodes};
use std::time::Duration;

/// The nodes here, as they stand.
pub(crate) struct Own<'a>(&'a Known);

/// How old the word is that a control plane has of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Whether the node's stream stands there.
    pub(crate) connected: bool,
    /// The age of its last stream there.
    pub(crate) since: Duration,
    /// For how long it has said nothing.
    pub(crate) silence: Duration,
}

// === impl Nodes ===

impl Nodes {
    /// Looks at them all at one moment; nothing is reported meanwhile.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Own<'_>) -> T) -> T {
        at(&Own(&self.known()))
    }
}

// === impl Own ===

impl Own<'_> {
    /// All, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeStatus, Mark)> {
        self.0.by_id.values().map(|node| (&node.status, Mark::of(node)))
    }

    /// One.
    pub(crate) fn get(&self, id: &str) -> Option<(&NodeStatus, Mark)> {
        self.0.by_id.get(id).map(|node| (&node.status, Mark::of(node)))
    }
}

// === impl Mark ===

impl Mark {
    fn of(node: &Node) -> Mark {
        Mark { connected: node.status.connected, since: node.since.elapsed(), silence: node.seen.elapsed() }
    }

    /// Whether this word is to be believed rather than that of another control plane. A node has one stream, so the
    /// newer one counts; one that has ended does not stand against one that was heard of since.
    pub(crate) fn beats(&self, other: &Mark) -> bool {
        match (self.connected, other.connected) {
            (true, false) if self.silence < other.silence => true,
            (false, true) if other.silence < self.silence => false,
            (true | false, true | false) => self.since <= other.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(connected: bool, since: u64, silence: u64) -> Mark {
        Mark { connected, since: Duration::from_secs(since), silence: Duration::from_secs(silence) }
    }

    fn check(winner: Mark, loser: Mark) {
        assert!(winner.beats(&loser), "{winner:?} {loser:?}");
        assert!(!loser.beats(&winner), "{winner:?} {loser:?}");
    }

    #[test]
    fn the_newer_stream_is_believed() {
        // It moved, and the other has noticed or not.
        check(mark(true, 1, 1), mark(false, 60, 2));
        check(mark(true, 1, 1), mark(true, 60, 2));
        // The other one works off what lay in its buffers.
        check(mark(true, 3, 1), mark(true, 60, 0));
        // It moved, and left there too.
        check(mark(false, 5, 2), mark(false, 60, 6));
    }

    #[test]
    fn a_stream_that_stands_is_believed_over_a_newer_one_that_ended_before_its_last_word() {
        check(mark(true, 60, 1), mark(false, 10, 9));
        check(mark(false, 10, 2), mark(true, 60, 12));
    }
}
