//! All nodes of all control planes: what is known here, and what the others have written.
//!
//! Each control plane writes what its own nodes report, and reads what the others wrote: often while somebody waits, and
//! otherwise now and then. Of a node that two know, the one with its newer stream is believed. Without the database what
//! was read last goes on to be told, marked stale, and nobody is told that all nodes run something. A node that is revoked
//! is not live, however lately it was seen: no configuration reaches it any more, so nobody is to wait for it.

mod reader;
mod record;
mod view;
mod wait;
mod writer;

pub use wait::{Waited, Want};

use self::view::View;
use crate::{
    access::Access,
    nodes::{NodeStatus, Nodes},
    store::{Store, status::Replica},
    telemetry::Telemetry,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The longest that somebody who only asks waits for the database.
const PATIENCE: Duration = Duration::from_millis(500);

/// Of so many nodes what takes room is told: why they refused, and the health of their upstreams.
const MAX_DETAILS: usize = 1_000;

/// Everything that is known of nodes.
pub struct Fleet {
    nodes: Arc<Nodes>,
    access: Arc<Access>,
    store: Store,
    replica: Replica,
    telemetry: Arc<Telemetry>,
    // What was read last.
    view: watch::Sender<Arc<View>>,
    // Somebody wants it to be read now; the reader waits for it.
    asked: Notify,
}

/// Some nodes, by id.
pub struct Page {
    /// They.
    pub nodes: Vec<NodeStatus>,
    /// Whether there are more.
    pub more: bool,
    /// Whether the database did not answer, so that what is told of nodes at other control planes may be old.
    pub stale: bool,
}

/// A node, and whether it is at another control plane.
struct Found {
    status: NodeStatus,
    elsewhere: bool,
}

// === impl Fleet ===

impl Fleet {
    /// Of these nodes, and of those that others write to the store.
    pub fn new(nodes: Arc<Nodes>, access: Arc<Access>, store: Store, telemetry: Arc<Telemetry>) -> Fleet {
        let replica = Replica { id: Uuid::new_v4(), name: nodes.control_plane().to_owned() };
        let view = watch::Sender::new(Arc::new(View::new(Instant::now())));
        Fleet { nodes, access, store, replica, telemetry, view, asked: Notify::new() }
    }

    /// Reads and writes until `ended`, and then writes once more.
    pub async fn run(&self, ended: CancellationToken) {
        tokio::select! {
            () = self.write(ended) => {}
            () = self.read() => {}
        }
    }

    /// Counts how far the live nodes of this control plane are behind the head.
    pub fn measure(&self, head: u64) {
        let revoked = self.access.revoked();
        let (behind, oldest) = self.nodes.look(|own| {
            let live = own.iter().filter(|(status, mark)| {
                status.connected && status.is_live_after(mark.silence) && !revoked.has(&status.id)
            });
            // One that runs nothing yet is behind whatever there is.
            let revisions = live.map(|(status, _)| status.running.as_ref().map_or(0, |run| run.identity.revision));
            revisions.fold((0, head), |(behind, oldest), revision| {
                (behind + usize::from(revision < head), oldest.min(revision))
            })
        });
        self.telemetry.nodes(behind, oldest);
    }

    /// At most `size` nodes of those that are wanted, by id; `among` are the ids of those that are looked at.
    pub async fn page(&self, size: usize, among: impl Fn(&str) -> bool, wanted: impl Fn(&NodeStatus) -> bool) -> Page {
        let fresh = self.refresh().await;
        let view = self.view.borrow().clone();
        let mut found = self.find(&view, among, |status, _| wanted(status));
        let more = found.len() > size;
        found.truncate(size);
        let detailed = self.fill(&mut found).await;
        let nodes = found.into_iter().map(|found| found.status).collect();
        Page { nodes, more, stale: !(fresh && detailed) }
    }

    // Those that are wanted, by id; whether each is live is told beside.
    fn find(
        &self,
        view: &View,
        among: impl Fn(&str) -> bool,
        wanted: impl Fn(&NodeStatus, bool) -> bool,
    ) -> Vec<Found> {
        let (now, revoked) = (Instant::now(), self.access.revoked());
        let mut found: Vec<Found> = self.nodes.look(|own| {
            let here = own.iter().filter(|(status, mark)| among(&status.id) && !view.beats(&status.id, mark, now));
            let here = here.filter_map(|(status, mark)| {
                let live = status.is_live_after(mark.silence) && !revoked.has(&status.id);
                wanted(status, live).then(|| Found { status: NodeStatus { live, ..status.clone() }, elsewhere: false })
            });
            let elsewhere = view.iter().filter(|(id, word)| {
                among(id) && own.get(id).is_none_or(|(_, mark)| !mark.beats(&word.mark(view, now)))
            });
            let elsewhere = elsewhere.filter_map(|(id, word)| {
                let mut status = word.status(id, view, now);
                status.live &= !revoked.has(id);
                wanted(&status, status.live).then_some(Found { status, elsewhere: true })
            });
            here.chain(elsewhere).collect()
        });
        found.sort_by(|a, b| a.status.id.cmp(&b.status.id));
        found
    }

    // What takes room is read only of those that are told of. Whether the database answered.
    async fn fill(&self, found: &mut [Found]) -> bool {
        let elsewhere = found.iter_mut().filter(|found| found.elsewhere).take(MAX_DETAILS);
        let mut lacking: Vec<&mut NodeStatus> = elsewhere.map(|found| &mut found.status).collect();
        if lacking.is_empty() {
            return true;
        }
        let ids: Vec<&str> = lacking.iter().map(|status| status.id.as_str()).collect();
        self.telemetry.status_statement("details");
        let Ok(Ok(details)) = tokio::time::timeout(PATIENCE, self.store.status_details(&ids)).await else {
            return false;
        };
        for (id, detail) in details {
            // Both are by id.
            if let Ok(at) = lacking.binary_search_by(|status| status.id.cmp(&id)) {
                record::add_detail(lacking[at], &detail);
            }
        }
        true
    }
}
