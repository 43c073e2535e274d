//! Who is there and what runs where: every node, as its stream tells it.

use proto::{identity::Identity, invalid::Invalid};
use std::{collections::BTreeMap, time::Instant};
use time::OffsetDateTime;

/// Every node that was seen within the last hour.
#[derive(Default)]
pub struct Nodes {}

/// One node, as it was last seen.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The node's own id.
    pub id: String,
    /// The version of its program.
    pub build: String,
    /// From its settings.
    pub labels: BTreeMap<String, String>,
    /// Where its stream comes from.
    pub peer: Option<String>,
    /// Where its status can be asked.
    pub status_address: Option<String>,
    /// Whether its stream stands.
    pub connected: bool,
    /// Since when its last stream stands or stood.
    pub connected_since: OffsetDateTime,
    /// When it last said anything.
    pub last_seen: OffsetDateTime,
    /// Whether it said anything within 15 s and did not leave in order.
    pub live: bool,
    /// What it runs.
    pub running: Option<RunningStatus>,
    /// What it last refused, unless it runs that or something newer.
    pub refused: Option<RefusedStatus>,
    /// It takes no new connections and ends soon.
    pub draining: bool,
}

/// What a node runs.
#[derive(Clone, Debug)]
pub struct RunningStatus {
    /// Which configuration.
    pub identity: Identity,
    /// Since when.
    pub since: OffsetDateTime,
    /// Whether it is also on the node's disk.
    pub persisted: bool,
}

/// What a node refused.
#[derive(Clone, Debug)]
pub struct RefusedStatus {
    /// Which configuration.
    pub identity: Identity,
    /// Why.
    pub faults: Vec<Invalid>,
    /// When.
    pub at: OffsetDateTime,
}

/// How many of the live nodes a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Each.
    All,
    /// That share, in per cent, rounded up.
    Percent(u8),
    /// That many.
    Count(usize),
}

/// How a wait ended.
#[derive(Clone, Debug)]
pub struct Waited {
    /// Whether as many run it as were wanted; true without live nodes, unless a number was wanted.
    pub reached: bool,
    /// How many live nodes run it.
    pub running: usize,
    /// The live nodes that do not, those that refused it among them.
    pub lagging: Vec<NodeStatus>,
    /// How many live nodes there are.
    pub live: usize,
}

// === impl Nodes ===

impl Nodes {
    /// Every node, by id.
    pub fn list(&self) -> Vec<NodeStatus> {
        Vec::new()
    }

    /// One node.
    pub fn get(&self, _id: &str) -> Option<NodeStatus> {
        None
    }

    /// Waits until as many live nodes as wanted run the configuration or a later one of its history, or the deadline.
    pub async fn wait(&self, _identity: &Identity, _want: Want, _deadline: Instant) -> Waited {
        Waited { reached: true, running: 0, lagging: Vec::new(), live: 0 }
    }
}
