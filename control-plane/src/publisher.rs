//! The head of the configuration in memory, and how this process learns of new ones.
//!
//! It learns by its own commits, by notifications, which are only a hint, and by a poll every second that is always on.
//! What was learnt is folded onto what is known and must add up to the root hash of the head row; if it does not, all is
//! read again. While the database is away the head stays, marked stale. A database that turns out to be older than what
//! was handed out gets a new history id, so that every node takes what is true now.

use crate::{
    store::{Stand, Store, StoreError},
    telemetry::{StoreOperation, Telemetry},
};
use otel::TraceContext;
use proto::{identity::Identity, resource::Change, snapshot::Snapshot};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tracing::{error, info, warn};

/// How often the head row is read, whatever the notifications say.
const POLL: Duration = Duration::from_secs(1);

/// How long the database may be silent before the head counts as stale.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// A gap of more revisions is not folded; all is read again.
const MAX_FOLD: u64 = 1_000;

/// At most one new history id in that time: a node that always claims too much must not keep the fleet busy.
const MINT_PAUSE: Duration = Duration::from_secs(10);

/// The newest configuration that this process knows.
#[derive(Clone, Debug)]
pub struct Head {
    /// Which one.
    pub identity: Identity,
    /// What it says.
    pub snapshot: Snapshot,
    /// When its revision was made.
    pub at: OffsetDateTime,
    /// In which trace.
    pub trace: Option<TraceContext>,
}

/// Holds the head and tells of new ones.
pub struct Publisher {
    store: Store,
    telemetry: Arc<Telemetry>,
    head: watch::Sender<Arc<Head>>,
    // Counts how often the database was asked; what else is learnt from it is learnt then.
    asked: watch::Sender<u64>,
    // When what is in memory was last known to be what stands.
    answered: Mutex<Instant>,
    minted: Mutex<Option<Instant>>,
}

// === impl Head ===

impl Head {
    /// Whether this head proves the database older than what that node or replica has seen.
    fn is_contradicted_by(&self, shown: &Identity) -> bool {
        let ours = &self.identity;
        shown.history == ours.history
            && (shown.revision > ours.revision || (shown.revision == ours.revision && shown.root != ours.root))
    }
}

// === impl Publisher ===

impl Publisher {
    /// Reads the head.
    pub async fn open(store: Store, telemetry: Arc<Telemetry>) -> Result<Publisher, StoreError> {
        let (stand, snapshot) = store.load().await?;
        info!(head = %stand.identity, resources = snapshot.len(), "the configuration is loaded");
        telemetry.head(stand.identity.revision, snapshot.len());
        let head = Arc::new(Head { identity: stand.identity, snapshot, at: stand.at, trace: stand.trace });
        Ok(Publisher {
            store,
            telemetry,
            head: watch::Sender::new(head),
            asked: watch::Sender::new(0),
            answered: Mutex::new(Instant::now()),
            minted: Mutex::new(None),
        })
    }

    /// The head.
    pub fn head(&self) -> Arc<Head> {
        self.head.borrow().clone()
    }

    /// Whether the database has not answered for more than 2 s, so that the head may be old.
    pub fn stale(&self) -> bool {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > STALE_AFTER
    }

    /// Tells of each new head.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Head>> {
        self.head.subscribe()
    }

    /// Tells whenever the database is asked: by the poll, or because somebody changed something.
    pub fn asks(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// Learns until it is dropped.
    pub async fn run(&self) {
        let hinted = Arc::new(Notify::new());
        let mut listening = JoinSet::new();
        let (mut hints, tell) = (self.store.hints(), hinted.clone());
        // A task of its own: a listener must not be dropped in the middle of a message.
        listening.spawn(async move {
            loop {
                hints.next().await;
                tell.notify_one();
            }
        });
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                () = hinted.notified() => {}
            }
            self.asked.send_modify(|count| *count += 1);
            match self.refresh().await {
                Ok(()) if away => {
                    info!(head = %self.head().identity, "the database answers again");
                    away = false;
                }
                Ok(()) => {}
                Err(error) if !away => {
                    error!(%error, "cannot learn of new revisions; reads go on from memory");
                    away = true;
                }
                Err(_) => {}
            }
            self.telemetry.stale(self.stale());
        }
    }

    /// Learns what stands in the database now.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        loop {
            let known = self.head();
            let asked = Instant::now();
            let stand = self.store.stand().await?;
            self.telemetry.store(StoreOperation::Poll, asked.elapsed());
            if stand.identity == known.identity {
                self.note_answer();
                return Ok(());
            }
            let (ours, theirs) = (&known.identity, &stand.identity);
            if theirs.history != ours.history {
                warn!(database = %theirs, known = %ours, "the configuration has a new history");
            } else if theirs.revision > ours.revision {
                let next = self.follow(&known, stand).await?;
                if self.install(&known, next) {
                    return Ok(());
                }
                continue;
            } else {
                error!(
                    database = %theirs, known = %ours,
                    "the database is older than what this control plane has handed out: it was restored or replaced"
                );
                self.mint(theirs).await?;
            }
            let next = self.reload(&known).await?;
            if self.install(&known, next) {
                return Ok(());
            }
        }
    }

    /// Takes a head that this process has just committed.
    pub(crate) fn publish(&self, head: Head) {
        self.note_answer();
        let head = Arc::new(head);
        let newer = self.head.send_if_modified(|known| {
            // A refresh may have been faster, and further, or have found another history: the poll sorts that out.
            let newer =
                known.identity.history == head.identity.history && known.identity.revision < head.identity.revision;
            if newer {
                *known = head.clone();
            }
            newer
        });
        if newer {
            self.telemetry.head(head.identity.revision, head.snapshot.len());
        }
    }

    /// Looks into an identity that a node shows. If the database turns out to be older than that, it gets a new
    /// history, and the head with it.
    pub(crate) async fn look_into(&self, shown: &Identity) -> Result<(), StoreError> {
        if !self.head().is_contradicted_by(shown) {
            return Ok(());
        }
        // Another replica may have made it a moment ago.
        self.refresh().await?;
        let head = self.head();
        if !head.is_contradicted_by(shown) {
            return Ok(());
        }
        error!(
            head = %head.identity, %shown,
            "a node has what this database never had or has no more: it was restored or replaced"
        );
        self.mint(&head.identity).await?;
        self.refresh().await
    }

    async fn mint(&self, seen: &Identity) -> Result<(), StoreError> {
        {
            let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
            if minted.is_some_and(|at| at.elapsed() < MINT_PAUSE) {
                return Err(StoreError::Unavailable("the history was renewed a moment ago; not again so soon".into()));
            }
            *minted = Some(Instant::now());
        }
        if self.store.mint(seen).await? {
            self.telemetry.minted();
            error!(head = %seen, "gave the configuration a new history id; every node takes it anew");
        }
        Ok(())
    }

    // Folds what is new onto what is known; reads all if that does not add up.
    async fn follow(&self, known: &Head, stand: Stand) -> Result<Head, StoreError> {
        let (from, to) = (known.identity.revision, stand.identity.revision);
        if to - from <= MAX_FOLD {
            let changes = self.store.changes(from, to).await?.into_iter().map(|(_, change)| change).collect();
            if let Some(snapshot) = fold(&known.snapshot, changes, &stand).await {
                return Ok(Head { identity: stand.identity, snapshot, at: stand.at, trace: stand.trace });
            }
            warn!(from, to, "the changes do not add up to the root hash of the head; reading all again");
        }
        self.reload(known).await
    }

    async fn reload(&self, known: &Head) -> Result<Head, StoreError> {
        let stand = self.store.stand().await?;
        if stand.identity.root == known.identity.root {
            return Ok(Head {
                identity: stand.identity,
                snapshot: known.snapshot.clone(),
                at: stand.at,
                trace: stand.trace,
            });
        }
        let (stand, snapshot) = self.store.load().await?;
        info!(head = %stand.identity, resources = snapshot.len(), "the configuration was read again");
        Ok(Head { identity: stand.identity, snapshot, at: stand.at, trace: stand.trace })
    }

    // Nothing that was read before another head came may take its place.
    fn install(&self, known: &Arc<Head>, next: Head) -> bool {
        let next = Arc::new(next);
        let installed = self.head.send_if_modified(|current| {
            let same = Arc::ptr_eq(current, known);
            if same {
                *current = next.clone();
            }
            same
        });
        if installed {
            self.note_answer();
            self.telemetry.head(next.identity.revision, next.snapshot.len());
        }
        installed
    }

    fn note_answer(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The configuration with the changes, if they add up to the root hash of the head row.
pub(crate) async fn fold(snapshot: &Snapshot, changes: Vec<Change>, stand: &Stand) -> Option<Snapshot> {
    let (snapshot, root) = (snapshot.clone(), stand.identity.root);
    let folding = move || snapshot.with(changes).ok().filter(|next| next.root() == root);
    tokio::task::spawn_blocking(folding).await.ok().flatten()
}
