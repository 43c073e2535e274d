//! Who is here and what runs there: every node whose stream is at this control plane, as it tells it.
//!
//! In memory only, and a stream never waits for more than that. What is to be told of it to other control planes is
//! noted, and [`crate::fleet`] does so. What a node reports changes nothing but this, so it can never set off a new
//! configuration.

mod health;
mod news;
mod own;

pub use health::{EndpointDown, NodeHealth, UpstreamHealth};
pub(crate) use news::{News, Seen};
pub(crate) use own::Mark;

use crate::telemetry::Telemetry;
use proto::{identity::Identity, invalid::Invalid};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
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

/// Every node that was seen here within the last hour.
pub struct Nodes {
    // What this control plane calls itself.
    name: String,
    known: Mutex<Known>,
    // Counts reports; wakes those who wait.
    reports: watch::Sender<u64>,
    // There is something to be told at once; the fleet's writer waits for it.
    urgent: Notify,
    telemetry: Arc<Telemetry>,
}

/// One node, as it was last seen.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The node's own id.
    pub id: String,
    /// The control plane that its last stream is or was at, as that calls itself.
    pub control_plane: String,
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
    /// Whether it said anything within 15 s, did not leave in order, and is not revoked.
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
    // Those of which something is to be told.
    changed: BTreeSet<String>,
    // How often something was told.
    written: u64,
}

struct Node {
    status: NodeStatus,
    // When its last stream began.
    since: Instant,
    seen: Instant,
    // As of which write all but `seen` was told last, and which `seen` it was told with.
    told: Option<(u64, Instant)>,
    // The end of its newest stream; the session holds the other.
    superseded: CancellationToken,
}

/// What a report changes for the other control planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// That the node was seen.
    Sign,
    /// Something that nobody waits for.
    Detail,
    /// Something that somebody may wait for.
    Urgent,
}

// === impl Nodes ===

impl Nodes {
    /// Nobody yet. Control planes have names for people.
    pub fn new(name: String, telemetry: Arc<Telemetry>) -> Nodes {
        let (reports, urgent) = (watch::Sender::new(0), Notify::new());
        Nodes { name, known: Mutex::default(), reports, urgent, telemetry }
    }

    /// What this control plane is called.
    pub(crate) fn control_plane(&self) -> &str {
        &self.name
    }

    /// Counts reports.
    pub(crate) fn reports(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
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
            control_plane: self.name.clone(),
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
        let began = Instant::now();
        let mut node = Node { status, since: began, seen: began, told: None, superseded: superseded.clone() };
        match who.running {
            Some(identity) => drop(node.runs(identity, false)),
            None => node.status.running = None,
        }
        known.by_id.insert(who.id.clone(), node);
        known.connected += 1;
        self.telemetry.connected_nodes(known.connected);
        self.note(known, &who.id, Change::Urgent);
        info!(node.id = who.id, "a node is connected");
        Ok(Session { nodes: self.clone(), id: who.id, superseded })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Of what is to be told, and wakes who waits for it.
    fn note(&self, mut known: MutexGuard<'_, Known>, id: &str, change: Change) {
        match change {
            Change::Sign => {}
            Change::Detail | Change::Urgent => drop(known.changed.insert(id.into())),
        }
        drop(known);
        if change == Change::Urgent {
            self.urgent.notify_one();
        }
        self.reports.send_modify(|count| *count += 1);
    }
}

// === impl NodeStatus ===

impl NodeStatus {
    /// Whether it runs the configuration or a later one of its history.
    pub fn runs(&self, identity: &Identity) -> bool {
        self.running.as_ref().is_some_and(|running| reaches(&running.identity, identity))
    }

    /// Whether it counts as live when it has been silent for so long.
    pub(crate) fn is_live_after(&self, silence: Duration) -> bool {
        is_live(self.draining, self.connected, silence)
    }

    /// Whether it refused that very configuration.
    pub fn refuses(&self, identity: &Identity) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.identity == *identity)
    }
}

/// Whether a node counts as live that has been silent for so long: it said something within 15 s and did not leave in
/// order.
pub(crate) fn is_live(draining: bool, connected: bool, silence: Duration) -> bool {
    let left = draining && !connected;
    !left && silence < LIVE_FOR
}

/// Whether a configuration is another or a later one of its history.
pub(crate) fn reaches(running: &Identity, wanted: &Identity) -> bool {
    running.history == wanted.history && running.revision >= wanted.revision
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
        self.update(|node| {
            node.status.refused = Some(RefusedStatus { identity, faults, at });
            Change::Urgent
        });
    }

    /// The node is there.
    pub(crate) fn heartbeat(&self, running: Option<Identity>, draining: bool) {
        self.update(|node| {
            let change = running.map_or(Change::Sign, |identity| node.runs(identity, false));
            let was_draining = std::mem::replace(&mut node.status.draining, draining);
            if was_draining == draining { change } else { Change::Urgent }
        });
    }

    /// How the endpoints are there.
    pub(crate) fn health(&self, health: NodeHealth) {
        self.update(|node| {
            node.status.health = health;
            Change::Detail
        });
    }

    fn update(&self, change: impl FnOnce(&mut Node) -> Change) {
        let mut known = self.nodes.known();
        let mut what = Change::Sign;
        if let Some(node) = known.by_id.get_mut(&self.id).filter(|_| !self.superseded.is_cancelled()) {
            node.seen = Instant::now();
            node.status.last_seen = OffsetDateTime::now_utc();
            what = change(node);
        }
        self.nodes.note(known, &self.id, what);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut known = self.nodes.known();
        let mut what = Change::Sign;
        if let Some(node) = known.by_id.get_mut(&self.id).filter(|_| !self.superseded.is_cancelled()) {
            node.status.connected = false;
            known.connected -= 1;
            what = Change::Urgent;
            info!(node.id = self.id, "a node's stream has ended");
        }
        self.nodes.telemetry.connected_nodes(known.connected);
        self.nodes.note(known, &self.id, what);
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
        self.status.is_live_after(self.seen.elapsed())
    }

    fn status(&self) -> NodeStatus {
        NodeStatus { live: self.live(), ..self.status.clone() }
    }

    // A report again, or a heartbeat, does not change since when.
    fn runs(&mut self, identity: Identity, persisted: bool) -> Change {
        let change = match &mut self.status.running {
            Some(running) if running.identity == identity => {
                let is_news = persisted && !running.persisted;
                running.persisted |= persisted;
                if is_news { Change::Detail } else { Change::Sign }
            }
            Some(_) | None => {
                let since = OffsetDateTime::now_utc();
                self.status.running = Some(RunningStatus { identity, since, persisted });
                Change::Urgent
            }
        };
        let outdated = |refused: &RefusedStatus| self.status.runs(&refused.identity);
        if self.status.refused.as_ref().is_some_and(outdated) {
            self.status.refused = None;
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Arc<Nodes> {
        Arc::new(Nodes::new("here".into(), Arc::default()))
    }

    fn named(id: impl Into<String>) -> Introduction {
        let (build, labels, running) = ("1".into(), BTreeMap::new(), None);
        Introduction { id: id.into(), build, labels, peer: None, status_address: None, running }
    }

    fn revision(revision: u64) -> Identity {
        Identity { history: [1; 16], revision, root: [0; 32] }
    }

    fn live(nodes: &Nodes) -> Vec<String> {
        nodes.look(|own| {
            let live = own.iter().filter(|(status, mark)| status.is_live_after(mark.silence));
            live.map(|(status, _)| status.id.clone()).collect()
        })
    }

    fn news(nodes: &Nodes) -> Vec<String> {
        nodes.take_news(MAX_NODES).into_iter().map(|news| news.status.id).collect()
    }

    #[test]
    fn a_node_that_left_in_order_is_not_live_and_one_that_was_cut_off_still_is() {
        let nodes = nodes();
        let (leaves, cut) = (nodes.connect(named("leaves")).unwrap(), nodes.connect(named("cut")).unwrap());
        leaves.heartbeat(None, true);
        assert_eq!(live(&nodes).len(), 2);
        drop((leaves, cut));
        assert_eq!(live(&nodes), ["cut"]);
    }

    #[test]
    fn a_refusal_is_forgotten_when_something_newer_runs() {
        let nodes = nodes();
        let node = nodes.connect(named("node")).unwrap();
        let status = || nodes.look(|own| own.get("node").unwrap().0.clone());
        node.running(revision(1), true);
        node.refused(revision(2), Vec::new());
        node.running(revision(1), true);
        assert!(status().refuses(&revision(2)));
        node.running(revision(3), true);
        assert!(status().refused.is_none());
    }

    #[test]
    fn what_changed_is_told_once_and_a_heartbeat_is_no_change() {
        let nodes = nodes();
        let (a, b) = (nodes.connect(named("a")).unwrap(), nodes.connect(named("b")).unwrap());
        assert_eq!(news(&nodes), ["a", "b"]);
        a.running(revision(1), false);
        a.running(revision(1), true);
        a.running(revision(2), true);
        assert_eq!(news(&nodes), ["a"], "many reports are one");
        b.heartbeat(None, false);
        a.running(revision(2), true);
        assert!(news(&nodes).is_empty());
        let seen = nodes.seen_since_told();
        assert_eq!(seen.iter().map(|seen| seen.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        nodes.note_told(&seen);
        assert!(nodes.seen_since_told().is_empty());
        b.heartbeat(None, true);
        assert_eq!(news(&nodes), ["b"]);
        b.refused(revision(3), Vec::new());
        assert_eq!(news(&nodes), ["b"]);
        nodes.tell_again(["a".to_owned()]);
        drop(b);
        assert_eq!(news(&nodes), ["a", "b"], "and that a stream has ended");
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
        assert_eq!(nodes.look(|own| own.iter().count()), MAX_NODES);
        assert_eq!(news(&nodes).len(), MAX_NODES, "nothing is told of who was forgotten");
    }
}
