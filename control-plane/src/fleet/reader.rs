//! Reads what the other control planes wrote: at once when somebody asks, and one reading at a time however many do.

use super::{Fleet, PATIENCE, view::View};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// How often it is read when nobody asks, so that something is known when the database is away.
const REFRESH: Duration = Duration::from_secs(5);

/// Readings follow each other at least so far apart.
const PAUSE: Duration = Duration::from_millis(20);

/// And so many times as far as one takes.
const SHARE: u32 = 4;

/// After one that failed.
const AWAY_PAUSE: Duration = Duration::from_millis(250);

// === impl Fleet ===

impl Fleet {
    /// Reads until it is dropped.
    pub(super) async fn read(&self) {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.asked.notified() => {}
                _ = refresh.tick() => {}
            }
            let began = Instant::now();
            self.telemetry.status_statement("read");
            let read = self.store.statuses_of_others(&self.replica).await;
            let pause = if read.is_ok() { PAUSE.max(began.elapsed() * SHARE) } else { AWAY_PAUSE };
            let view = self.view.borrow().clone();
            let (view, was_failed) = match read {
                Ok(rows) => (view.with(rows, began), view.failed),
                Err(error) => {
                    if !view.failed {
                        warn!(%error, "cannot read of the nodes at other control planes");
                    }
                    (view.without_answer(began), false)
                }
            };
            if was_failed {
                info!("nodes at other control planes are known again");
            }
            self.view.send_replace(Arc::new(view));
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks for a reading that begins now. Whether there was one in time.
    pub(super) async fn refresh(&self) -> bool {
        let began = Instant::now();
        let mut views = self.view.subscribe();
        self.asked.notify_one();
        let tried = |view: &Arc<View>| view.tried >= began;
        match tokio::time::timeout(PATIENCE, views.wait_for(tried)).await {
            Ok(Ok(view)) => !view.failed,
            // The reader does not come to it, or there is none any more.
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
