//! Writes what the nodes here report, for the other control planes: many nodes in one statement, what somebody may wait
//! for at once, and that nodes were seen now and then.
//!
//! Nothing waits for it. What could not be written is how nodes stand, and is written as they stand when it can be.

use super::{Fleet, record};
use crate::{
    nodes::{News, Seen},
    store::{
        StoreError,
        status::{STATUS_BATCH, Sign, StatusRow},
    },
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Writings follow each other at least so far apart; what comes meanwhile is gathered.
const GATHER: Duration = Duration::from_millis(20);

/// How often it is written that nodes were seen: often enough that one that says so every 5 s never looks silent.
const TOUCH: Duration = Duration::from_secs(2);

/// How often nodes that are gone for good are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// A node that nobody saw for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// How soon it is tried again to tell of nodes that another control plane has a newer stream of, or had.
const OUTDONE_PAUSE: Duration = Duration::from_millis(250);

/// After a writing that failed.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

// === impl Fleet ===

impl Fleet {
    /// Writes until `ended`, and then once more.
    pub(super) async fn write(&self, ended: CancellationToken) {
        let mut touch = tokio::time::interval(TOUCH);
        touch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        // The nodes that stand here and that another control plane has a newer stream of.
        let outdone = &mut BTreeSet::new();
        loop {
            let last = ended.is_cancelled();
            let written = tokio::select! {
                // What is seldom comes first: there may always be something that is urgent.
                biased;
                () = ended.cancelled() => self.write_news(outdone).await,
                _ = sweep.tick() => self.sweep().await,
                _ = touch.tick() => self.write_signs(outdone).await,
                () = self.nodes.urgent() => self.write_news(outdone).await,
                () = tokio::time::sleep(OUTDONE_PAUSE), if !outdone.is_empty() => self.write_news(outdone).await,
            };
            if last {
                return;
            }
            let pause = match written {
                Ok(()) => {
                    if std::mem::take(&mut away) {
                        info!("other control planes are told of the nodes here again");
                    }
                    GATHER
                }
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        warn!(%error, "cannot tell other control planes of the nodes here");
                    }
                    AWAY_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended.cancelled() => {}
            }
        }
    }

    async fn write_news(&self, outdone: &mut BTreeSet<String>) -> Result<(), StoreError> {
        let mut later = Vec::new();
        loop {
            let news = self.nodes.take_news(STATUS_BATCH);
            if news.is_empty() {
                outdone.retain(|id| later.contains(id));
                self.nodes.tell_again(later);
                return Ok(());
            }
            let (rows, then): (Vec<StatusRow>, _) = (news.iter().map(record::row).collect(), Instant::now());
            self.telemetry.status_statement("put");
            let standing = match self.store.put_statuses(&self.replica, &rows, then).await {
                Ok(standing) => BTreeSet::from_iter(standing),
                Err(error) => {
                    self.nodes.tell_again(news.into_iter().map(|news| news.status.id));
                    return Err(error);
                }
            };
            self.telemetry.status_rows(standing.len());
            for News { status, .. } in news {
                if standing.contains(&status.id) || !status.connected {
                    continue;
                }
                // The other one's stream ends soon, if it has not moved; then what is told here counts again.
                if outdone.insert(status.id.clone()) {
                    warn!(
                        node.id = status.id,
                        "this node has a newer stream at another control plane, or its id twice"
                    );
                }
                later.push(status.id);
            }
        }
    }

    // What nobody waits for is written on this occasion too.
    async fn write_signs(&self, outdone: &mut BTreeSet<String>) -> Result<(), StoreError> {
        let seen = self.nodes.seen_since_told();
        for seen in seen.chunks(STATUS_BATCH) {
            let sign = |seen: &Seen| Sign { id: seen.id.clone(), written: seen.written, seen: seen.at.elapsed() };
            let signs: Vec<Sign> = seen.iter().map(sign).collect();
            self.telemetry.status_statement("touch");
            let standing: BTreeSet<String> =
                self.store.touch_statuses(&self.replica, &signs).await?.into_iter().collect();
            self.telemetry.status_rows(standing.len());
            self.nodes.note_told(seen);
            // Lost with the database, or another control plane has written meanwhile: then the whole is written again.
            self.nodes.tell_again(signs.into_iter().map(|sign| sign.id).filter(|id| !standing.contains(id)));
        }
        self.write_news(outdone).await
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.telemetry.status_statement("forget");
        let forgotten = self.store.forget_statuses(FORGET_AFTER).await?;
        if forgotten > 0 {
            debug!(nodes = forgotten, "forgot nodes that are gone");
        }
        Ok(())
    }
}
