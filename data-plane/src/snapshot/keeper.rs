//! The disk's thread: keeps what runs, so that swapping never waits for a disk. Of a burst only the newest is written.

use super::{
    disk::{DataDir, Slot, Stored},
    mailbox::{Mailbox, Taken},
    state::Status,
};
use std::time::{Duration, Instant};

/// How long a configuration has to run before it is a proven one.
const PROOF: Duration = Duration::from_secs(60);
/// How long after a failure the disk is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Nothing has to be done.
const IDLE: Duration = Duration::from_secs(3600);

/// Keeps what runs on the disk.
pub(crate) struct Keeper {
    data_dir: DataDir,
    status: Status,
    // What runs, and what is still to be done for it.
    running: Option<(Stored, Task)>,
    failing: bool,
}

#[derive(Clone, Copy)]
enum Task {
    // Not on the disk yet: try at that time.
    Keep { at: Instant, since: Instant },
    // On the disk, and proven at that time.
    Prove { at: Instant },
    Nothing,
}

// === impl Keeper ===

impl Keeper {
    /// A keeper; `booted` is what was read from the disk and runs.
    pub(crate) fn new(data_dir: DataDir, status: Status, booted: Option<Stored>) -> Keeper {
        let running = booted.map(|stored| (stored, Task::Prove { at: Instant::now() + PROOF }));
        Keeper { data_dir, status, running, failing: false }
    }

    /// Keeps what is put into the mailbox until it is closed; the last is kept even then.
    pub(crate) fn run(mut self, mailbox: &Mailbox<Stored>) {
        loop {
            match mailbox.take(self.wait()) {
                Taken::Value(stored) => {
                    let now = Instant::now();
                    self.running = Some((stored, Task::Keep { at: now, since: now }));
                }
                Taken::Nothing => {}
                Taken::Closed => return,
            }
            self.work();
        }
    }

    fn wait(&self) -> Duration {
        match &self.running {
            Some((_, Task::Keep { at, .. } | Task::Prove { at })) => at.saturating_duration_since(Instant::now()),
            Some((_, Task::Nothing)) | None => IDLE,
        }
    }

    fn work(&mut self) {
        let now = Instant::now();
        let Some((stored, task)) = &mut self.running else { return };
        let (slot, next) = match *task {
            Task::Keep { at, since } if at <= now => (Slot::Current, Task::Prove { at: since + PROOF }),
            Task::Prove { at } if at <= now => (Slot::Proven, Task::Nothing),
            Task::Keep { .. } | Task::Prove { .. } | Task::Nothing => return,
        };
        match self.data_dir.write(slot, stored) {
            Ok(()) => {
                *task = next;
                self.failing = false;
                if slot == Slot::Current {
                    self.status.persisted(Some(&stored.identity));
                }
            }
            Err(error) => {
                let at = now + AGAIN;
                match task {
                    Task::Keep { at: when, .. } | Task::Prove { at: when } => *when = at,
                    Task::Nothing => {}
                }
                if !std::mem::replace(&mut self.failing, true) {
                    let revision = stored.identity;
                    tracing::error!(%revision, %error, "failed to keep the configuration on the disk; trying again");
                }
            }
        }
    }
}
