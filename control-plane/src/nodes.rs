//! Who is there and what runs where: every node, as its stream tells it.
//!
//! In memory only: after a restart the nodes come back within seconds and say it again. What a node reports changes
//! nothing but this, so it can never set off a new configuration.

mod health;

pub use health::{EndpointDown, NodeHealth, UpstreamHealth};

use crate::telemetry::Telemetry;
use proto::{identity::Identity, invalid::Invalid};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A node that says nothing for longer is not counted on.
pub const LIVE_FOR: Duration = Duration::from_secs(15);

/// How many nodes are known at once.
pub const MAX_NODES: usize = 10_000;

/// A node without a stream is forgotten after that.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// How often those are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Every node that was seen within the last hour.
pub struct Nodes {
    known: Mutex<Known>,
    // Counts reports; wakes those who wait.
    reports: watch::Sender<u64>,
    telemetry: Arc<Telemetry>,
}

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
    /// The endpoints that take no traffic there.
    pub health: NodeHealth,
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

/// What a node says of itself at the start of its stream.
pub(crate) struct Introduction {
    pub(crate) id: String,
    pub(crate) build: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) peer: Option<String>,
    pub(crate) status_address: Option<String>,
    pub(crate) running: Option<Identity>,
}

/// The stream of a node; its drop says that the stream has ended.
pub(crate) struct Session {
    nodes: Arc<Nodes>,
    id: String,
    // Cancelled when another stream of the same node begins.
    superseded: CancellationToken,
}

/// There are too many nodes.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_NODES} nodes are connected already")]
pub(crate) struct TooManyNodes;

#[derive(Default)]
struct Known {
    by_id: BTreeMap<String, Node>,
    connected: usize,
    swept: Option<Instant>,
}

struct Node {
    status: NodeStatus,
    seen: Instant,
    // The end of its newest stream; the session holds the other.
    superseded: CancellationToken,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    live: usize,
    running: usize,
    refused: usize,
}

// === impl Nodes ===

impl Nodes {
    /// Nobody yet.
    pub fn new(telemetry: Arc<Telemetry>) -> Nodes {
        Nodes { known: Mutex::default(), reports: watch::Sender::new(0), telemetry }
    }

    /// Every node, by id.
    pub fn list(&self) -> Vec<NodeStatus> {
        self.known().by_id.values().map(Node::status).collect()
    }

    /// One node.
    pub fn get(&self, id: &str) -> Option<NodeStatus> {
        self.known().by_id.get(id).map(Node::status)
    }

    /// Waits until as many live nodes as wanted run the configuration or a later one of its history, or the deadline.
    /// Without live nodes, or when too many have refused it, there is nothing to wait for.
    pub async fn wait(&self, identity: &Identity, want: Want, deadline: Instant) -> Waited {
        let mut reports = self.reports.subscribe();
        loop {
            reports.borrow_and_update();
            let tally = self.tally(identity);
            let needed = want.of(tally.live);
            let reached = tally.running >= needed;
            let hopeless = tally.live == 0 || (tally.refused > 0 && tally.live - tally.refused < needed);
            if reached || hopeless || Instant::now() >= deadline {
                let lags = |status: &NodeStatus| status.live && !status.runs(identity);
                let lagging = self.list().into_iter().filter(lags).collect();
                return Waited { reached, running: tally.running, lagging, live: tally.live };
            }
            // Silence is no report, but a node that falls silent ceases to be live.
            let recheck = deadline.min(Instant::now() + Duration::from_secs(1));
            let _ = tokio::time::timeout_at(recheck.into(), reports.changed()).await;
        }
    }

    /// Takes note of a new stream. An older stream of the same node ends.
    pub(crate) fn connect(self: &Arc<Nodes>, who: Introduction) -> Result<Session, TooManyNodes> {
        let now = OffsetDateTime::now_utc();
        let superseded = CancellationToken::new();
        let mut known = self.known();
        known.make_room(&who.id)?;
        let before = known.by_id.remove(&who.id);
        if let Some(before) = &before {
            before.superseded.cancel();
            if before.status.connected {
                known.connected -= 1;
                warn!(node.id = who.id, "another stream of this node begins; two nodes with one data directory?");
            }
        }
        let status = NodeStatus {
            id: who.id.clone(),
            build: who.build,
            labels: who.labels,
            peer: who.peer,
            status_address: who.status_address,
            connected: true,
            connected_since: now,
            last_seen: now,
            live: true,
            running: before.as_ref().and_then(|node| node.status.running.clone()),
            refused: before.and_then(|node| node.status.refused),
            draining: false,
            health: NodeHealth::default(),
        };
        let mut node = Node { status, seen: Instant::now(), superseded: superseded.clone() };
        match who.running {
            Some(identity) => node.runs(identity, false),
            None => node.status.running = None,
        }
        known.by_id.insert(who.id.clone(), node);
        known.connected += 1;
        self.telemetry.connected_nodes(known.connected);
        drop(known);
        self.wake();
        info!(node.id = who.id, "a node is connected");
        Ok(Session { nodes: self.clone(), id: who.id, superseded })
    }

    fn tally(&self, identity: &Identity) -> Tally {
        let mut tally = Tally::default();
        for node in self.known().by_id.values().filter(|node| node.live()) {
            tally.live += 1;
            tally.running += usize::from(node.status.runs(identity));
            tally.refused += usize::from(node.status.refuses(identity));
        }
        tally
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.reports.send_modify(|count| *count += 1);
    }
}

// === impl NodeStatus ===

impl NodeStatus {
    /// Whether it runs the configuration or a later one of its history.
    pub fn runs(&self, identity: &Identity) -> bool {
        self.running.as_ref().is_some_and(|running| {
            running.identity.history == identity.history && running.identity.revision >= identity.revision
        })
    }

    /// Whether it refused that very configuration.
    pub fn refuses(&self, identity: &Identity) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.identity == *identity)
    }
}

// === impl Want ===

impl Want {
    fn of(self, live: usize) -> usize {
        match self {
            Want::All => live,
            Want::Percent(share) => (live * usize::from(share)).div_ceil(100),
            Want::Count(count) => count,
        }
    }
}

// === impl Session ===

impl Session {
    /// Resolves when another stream of the same node begins.
    pub(crate) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// The node runs that.
    pub(crate) fn running(&self, identity: Identity, persisted: bool) {
        self.update(|node| node.runs(identity, persisted));
    }

    /// The node refused that; what it ran before goes on.
    pub(crate) fn refused(&self, identity: Identity, faults: Vec<Invalid>) {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        warn!(node.id = self.id, revision = identity.revision, fault = first, "a node refused the configuration");
        let at = OffsetDateTime::now_utc();
        self.update(|node| node.status.refused = Some(RefusedStatus { identity, faults, at }));
    }

    /// The node is there.
    pub(crate) fn heartbeat(&self, running: Option<Identity>, draining: bool) {
        self.update(|node| {
            if let Some(identity) = running {
                node.runs(identity, false);
            }
            node.status.draining = draining;
        });
    }

    /// How the endpoints are there.
    pub(crate) fn health(&self, health: NodeHealth) {
        self.update(|node| node.status.health = health);
    }

    fn update(&self, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.known().by_id.get_mut(&self.id).filter(|_| !self.superseded.is_cancelled()) {
            node.seen = Instant::now();
            node.status.last_seen = OffsetDateTime::now_utc();
            change(node);
        }
        self.nodes.wake();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut known = self.nodes.known();
        if let Some(node) = known.by_id.get_mut(&self.id).filter(|_| !self.superseded.is_cancelled()) {
            node.status.connected = false;
            known.connected -= 1;
            info!(node.id = self.id, "a node's stream has ended");
        }
        self.nodes.telemetry.connected_nodes(known.connected);
        drop(known);
        self.nodes.wake();
    }
}

// === impl Known ===

impl Known {
    // Who has been away for long is forgotten, looked for only now and then; and whoever was seen first of those without
    // a stream, when there is no place left.
    fn make_room(&mut self, id: &str) -> Result<(), TooManyNodes> {
        if self.swept.is_none_or(|at| at.elapsed() > SWEEP_EVERY) {
            self.swept = Some(Instant::now());
            self.by_id.retain(|_, node| node.status.connected || node.seen.elapsed() < FORGET_AFTER);
        }
        if self.by_id.len() >= MAX_NODES && !self.by_id.contains_key(id) {
            let gone = self.by_id.iter().filter(|(_, node)| !node.status.connected);
            let oldest = gone.min_by_key(|(_, node)| node.seen).map(|(id, _)| id.clone());
            self.by_id.remove(&oldest.ok_or(TooManyNodes)?);
        }
        Ok(())
    }
}

// === impl Node ===

impl Node {
    fn live(&self) -> bool {
        let left = self.status.draining && !self.status.connected;
        !left && self.seen.elapsed() < LIVE_FOR
    }

    fn status(&self) -> NodeStatus {
        NodeStatus { live: self.live(), ..self.status.clone() }
    }

    // A report again, or a heartbeat, does not change since when.
    fn runs(&mut self, identity: Identity, persisted: bool) {
        match &mut self.status.running {
            Some(running) if running.identity == identity => running.persisted |= persisted,
            Some(_) | None => {
                let since = OffsetDateTime::now_utc();
                self.status.running = Some(RunningStatus { identity, since, persisted });
            }
        }
        let outdated = |refused: &RefusedStatus| self.status.runs(&refused.identity);
        if self.status.refused.as_ref().is_some_and(outdated) {
            self.status.refused = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Arc<Nodes> {
        Arc::new(Nodes::new(Arc::default()))
    }

    fn named(id: impl Into<String>) -> Introduction {
        let (build, labels, running) = ("1".into(), BTreeMap::new(), None);
        Introduction { id: id.into(), build, labels, peer: None, status_address: None, running }
    }

    fn revision(revision: u64) -> Identity {
        Identity { history: [1; 16], revision, root: [0; 32] }
    }

    async fn waited(nodes: &Nodes, identity: Identity, want: Want) -> (bool, usize, usize, usize) {
        let waited = nodes.wait(&identity, want, Instant::now()).await;
        (waited.reached, waited.running, waited.lagging.len(), waited.live)
    }

    #[test]
    fn a_share_of_the_nodes_is_rounded_up() {
        for (want, live, expect) in
            [(Want::All, 7, 7), (Want::Percent(50), 7, 4), (Want::Percent(95), 100, 95), (Want::Percent(1), 0, 0)]
        {
            assert_eq!(want.of(live), expect, "{want:?} of {live}");
        }
        assert_eq!(Want::Count(3).of(0), 3);
    }

    #[tokio::test]
    async fn a_later_revision_of_the_same_history_counts() {
        let nodes = nodes();
        assert_eq!(waited(&nodes, revision(5), Want::All).await, (true, 0, 0, 0));
        assert_eq!(waited(&nodes, revision(5), Want::Count(1)).await, (false, 0, 0, 0));
        let (one, two) = (nodes.connect(named("one")).unwrap(), nodes.connect(named("two")).unwrap());
        one.running(revision(6), true);
        two.running(revision(4), true);
        assert_eq!(waited(&nodes, revision(5), Want::All).await, (false, 1, 1, 2));
        assert_eq!(waited(&nodes, revision(5), Want::Percent(50)).await, (true, 1, 1, 2));
        two.running(Identity { history: [2; 16], ..revision(9) }, true);
        assert_eq!(waited(&nodes, revision(5), Want::All).await, (false, 1, 1, 2));
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_report_it_is_for() {
        let nodes = nodes();
        let node = nodes.connect(named("node")).unwrap();
        let waiting = {
            let nodes = nodes.clone();
            let deadline = Instant::now() + Duration::from_secs(60);
            tokio::spawn(async move { nodes.wait(&revision(1), Want::All, deadline).await })
        };
        tokio::task::yield_now().await;
        node.running(revision(1), true);
        assert!(waiting.await.unwrap().reached);
    }

    #[tokio::test]
    async fn a_node_that_left_in_order_is_not_live_and_one_that_was_cut_off_still_is() {
        let nodes = nodes();
        let (leaves, cut) = (nodes.connect(named("leaves")).unwrap(), nodes.connect(named("cut")).unwrap());
        leaves.heartbeat(None, true);
        assert_eq!(nodes.list().iter().filter(|node| node.live).count(), 2);
        drop((leaves, cut));
        let live: Vec<String> = nodes.list().into_iter().filter(|node| node.live).map(|node| node.id).collect();
        assert_eq!(live, ["cut"]);
    }

    #[test]
    fn a_refusal_is_forgotten_when_something_newer_runs() {
        let nodes = nodes();
        let node = nodes.connect(named("node")).unwrap();
        node.running(revision(1), true);
        node.refused(revision(2), Vec::new());
        node.running(revision(1), true);
        assert!(nodes.get("node").unwrap().refuses(&revision(2)));
        node.running(revision(3), true);
        assert!(nodes.get("node").unwrap().refused.is_none());
    }

    #[test]
    fn the_number_of_nodes_is_bounded_and_those_without_a_stream_give_way() {
        let nodes = nodes();
        let mut sessions: Vec<Session> =
            (0..MAX_NODES).map(|at| nodes.connect(named(at.to_string())).unwrap()).collect();
        assert!(nodes.connect(named("one-more")).is_err());
        drop(sessions.pop());
        let kept = nodes.connect(named("one-more"));
        assert!(kept.is_ok());
        assert_eq!(nodes.list().len(), MAX_NODES);
    }
}
