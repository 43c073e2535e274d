//! THE LIFE OF A CHANGE, second half: receive → verify → check → build → swap → report → persist.
//!
//! A whole configuration is received by [`discovery`] (or read from a file by [`mod@file`], or from the disk by [`disk`]) and
//! handed to the builder thread, which runs [`Builder::apply`] below. It is applied whole or not at all: whatever is wrong
//! with it, a panic included, becomes a refusal with its reasons, and the configuration before goes on. Between the
//! threads there are no queues: each hands over the newest, through a [`mailbox::Mailbox`] or [`state::Status`].

pub(crate) mod assembly;
pub(crate) mod discovery;
pub(crate) mod disk;
pub(crate) mod file;
pub(crate) mod keeper;
pub(crate) mod mailbox;
pub(crate) mod state;

use crate::{
    explain::Explainer,
    router::{LiveRouter, Retired, Router},
};
use assembly::Whole;
use disk::Stored;
use file::FileFaults;
use mailbox::{Mailbox, Taken};
use otel::span::Kind;
use proto::{
    identity::Identity,
    invalid::Invalid,
    pb,
    resource::{Change, Resource, ResourceKey},
    snapshot::{Snapshot, root_of_unchecked},
};
use state::{Refusal, Status};
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the builder looks whether routers that gave way can be dropped.
const SWEEP: Duration = Duration::from_secs(1);

/// The history of a configuration that comes from a file.
const FILE_HISTORY: [u8; 16] = [0; 16];

/// Why a node that has something does not take the configuration that is there before anybody said anything: nothing leads
/// back to it, so it is the database that is gone, and the traffic is not to go with it.
const FORGETFUL: &str = "the control plane was never told anything, and the node has a configuration of another one; if its \
    database was lost, restore it, and if it is a new one, commit what is to be: the node takes that";

/// What the builder thread is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Apply what the control plane sent.
    Apply(Whole),
    /// Read the file again and apply it.
    Reload(Box<Path>),
}

/// Checks configurations, builds routers and swaps them. One a node, on the builder thread.
pub(crate) struct Builder {
    live: LiveRouter,
    retired: Retired,
    status: Status,
    /// Takes what is to be kept on the disk; [`keeper::Keeper`] holds the other end.
    keep: Option<Mailbox<Stored>>,
    build: Build,
}

/// Why a configuration is not applied.
#[derive(Debug)]
enum Flaw {
    /// It is not what its identity names.
    Damaged,
    /// It is, and these are its faults.
    Faults(Vec<Invalid>),
}

/// [`Router::build`]; tests put a panic in its place.
type Build = fn(&Snapshot, Option<Identity>, Option<&Router>) -> Router;

// === impl Builder ===

impl Builder {
    /// A builder of routers for `live`.
    pub(crate) fn new(live: LiveRouter, status: Status, keep: Option<Mailbox<Stored>>) -> Builder {
        Builder { live, retired: Retired::default(), status, keep, build: Router::build }
    }

    /// Carries out orders until the mailbox is closed.
    pub(crate) fn run(mut self, orders: &Mailbox<Order>) {
        loop {
            match orders.take(SWEEP) {
                // A refusal has been reported and logged.
                Taken::Value(Order::Apply(whole)) => drop(self.apply(whole)),
                Taken::Value(Order::Reload(path)) => match self.load(&path) {
                    Ok(()) => tracing::info!(file = %path.display(), "the configuration was read again"),
                    Err(faults) => tracing::error!("{faults}; the configuration before goes on"),
                },
                Taken::Nothing => {}
                Taken::Closed => return,
            }
            self.retired.sweep();
        }
    }

    /// Applies a configuration that was received, or refuses it with all its faults.
    pub(crate) fn apply(&mut self, whole: Whole) -> Result<(), Arc<Refusal>> {
        let started = Instant::now();
        let identity = whole.identity;
        let mut span = self.status.spans().within(whole.trace, "apply revision", Kind::Consumer);
        if let Some(span) = &mut span {
            span.set("portico.revision", i64::try_from(identity.revision).unwrap_or(i64::MAX));
        }
        let previous = self.live.load_full();
        let applied = guarded(|| {
            let snapshot = check(previous.snapshot(), whole)?;
            if identity.revision == 0 && !previous.snapshot().is_empty() {
                return Err(Flaw::Faults(vec![of_the_whole(FORGETFUL.into())]));
            }
            Ok((self.build)(&snapshot, Some(identity), Some(&previous)))
        });
        match applied {
            Ok(router) => {
                let built = started.elapsed();
                self.swap(router, identity);
                if let Some(span) = &mut span {
                    span.set("portico.build.duration", built.as_secs_f64());
                    span.set("portico.swap.duration", (started.elapsed() - built).as_secs_f64());
                }
                tracing::info!(revision = %identity, duration_ms = started.elapsed().as_millis(), "a configuration runs");
                Ok(())
            }
            Err(flaw) => {
                if let Some(span) = &mut span {
                    span.fail("refused");
                }
                Err(self.refuse(identity, flaw))
            }
        }
    }

    /// Starts with what the disk kept, which is not written again.
    pub(crate) fn boot(&mut self, whole: Whole) -> Result<(), Arc<Refusal>> {
        let keep = self.keep.take();
        let booted = self.apply(whole);
        self.keep = keep;
        if booted.is_ok() {
            self.status.persisted(self.live.load_full().identity());
        }
        booted
    }

    /// Applies a file; each time it is read it is a revision of its own.
    pub(crate) fn load(&mut self, path: &Path) -> Result<(), FileFaults> {
        let previous = self.live.load_full();
        let applied = file::read(path).and_then(|file| {
            let build = || {
                let changes = differences(previous.snapshot(), file.resources())?;
                let snapshot = previous.snapshot().with(changes)?;
                // Whoever has no control plane has nobody else to run them.
                let broken = Explainer::default().broken_tests(&snapshot);
                if !broken.is_empty() {
                    return Err(Flaw::Faults(broken));
                }
                let revision = previous.revision() + 1;
                let identity = Identity { history: FILE_HISTORY, revision, root: snapshot.root() };
                Ok(((self.build)(&snapshot, Some(identity), Some(&previous)), identity))
            };
            match guarded(build) {
                Ok(built) if file.is_sound() => Ok(built),
                Ok(_) => Err(file.place(Vec::new())),
                Err(flaw) => Err(file.place(flaw.into_faults())),
            }
        });
        match applied {
            Ok((router, identity)) => {
                self.swap(router, identity);
                Ok(())
            }
            Err(faults) => {
                self.status.refused_file();
                Err(faults)
            }
        }
    }

    // One pointer changes; what follows is told, and kept, afterwards.
    fn swap(&mut self, router: Router, identity: Identity) {
        let snapshot = router.snapshot().clone();
        self.retired.keep(self.live.store(Arc::new(router)));
        self.status.running(identity);
        if let Some(keep) = &self.keep {
            keep.put(Stored { identity, snapshot });
        }
    }

    fn refuse(&mut self, identity: Identity, flaw: Flaw) -> Arc<Refusal> {
        let damaged = matches!(flaw, Flaw::Damaged);
        let faults = flaw.into_faults();
        for fault in faults.iter().take(10) {
            tracing::error!(revision = %identity, "a configuration was refused: {fault}");
        }
        if faults.len() > 10 {
            tracing::error!(revision = %identity, "and {} more faults", faults.len() - 10);
        }
        let refusal = Arc::new(Refusal { identity, faults, damaged });
        self.status.refused(&refusal);
        refusal
    }
}

// === impl Flaw ===

impl Flaw {
    fn into_faults(self) -> Vec<Invalid> {
        match self {
            Flaw::Damaged => {
                let detail = "its content does not have the root hash of its identity; it was damaged on the way";
                vec![of_the_whole(detail.into())]
            }
            Flaw::Faults(faults) => faults,
        }
    }
}

impl From<Vec<Invalid>> for Flaw {
    fn from(faults: Vec<Invalid>) -> Flaw {
        Flaw::Faults(faults)
    }
}

/// The configuration that was received, if it is the one that its identity names and nothing is wrong with it.
fn check(previous: &Snapshot, whole: Whole) -> Result<Snapshot, Flaw> {
    let resources = understand(previous, whole.resources)?;
    let checked = differences(previous, &resources).and_then(|changes| previous.with(changes));
    match checked {
        Ok(snapshot) if snapshot.root() == whole.identity.root => Ok(snapshot),
        // What is damaged is not what somebody said, and so has no faults.
        Ok(_) => Err(Flaw::Damaged),
        Err(_) if root_of_unchecked(&resources) != whole.identity.root => Err(Flaw::Damaged),
        Err(faults) => Err(Flaw::Faults(faults)),
    }
}

fn understand(previous: &Snapshot, messages: Vec<pb::Resource>) -> Result<Vec<Resource>, Flaw> {
    let mut resources = Vec::with_capacity(messages.len());
    let mut faults = Vec::new();
    for message in messages {
        match Resource::from_message(message) {
            Ok(resource) => resources.push(settled(previous, resource)),
            Err(detail) => faults.push(of_the_whole(detail)),
        }
    }
    if faults.is_empty() { Ok(resources) } else { Err(Flaw::Faults(faults)) }
}

/// The payload is a slice of a chunk, which must not stay in memory for the sake of it; and what is the same as before is
/// in memory already.
fn settled(previous: &Snapshot, resource: Resource) -> Resource {
    match previous.get(&resource.key) {
        Some(entry) if entry.resource == resource => entry.resource.clone(),
        Some(_) | None => Resource { payload: resource.payload.to_vec().into(), ..resource },
    }
}

/// The steps from a configuration to another, of which all resources are given.
fn differences(previous: &Snapshot, resources: &[Resource]) -> Result<Vec<Change>, Vec<Invalid>> {
    let mut changes = Vec::new();
    let mut keys: BTreeSet<ResourceKey> = BTreeSet::new();
    let mut twice = Vec::new();
    for resource in resources {
        if !keys.insert(resource.key.clone()) {
            let detail = "stands twice; give one of them another name".into();
            twice.push(Invalid { resource: Some(resource.key.clone()), pointer: "/name".into(), detail });
        }
        if previous.get(&resource.key).is_none_or(|entry| entry.resource != *resource) {
            changes.push(Change::Put(resource.clone()));
        }
    }
    if !twice.is_empty() {
        return Err(twice);
    }
    let gone = previous.entries().map(|entry| &entry.resource.key).filter(|key| !keys.contains(*key));
    changes.extend(gone.cloned().map(Change::Delete));
    Ok(changes)
}

/// A panic is a fault of the configuration that brought it about, and of nothing else.
fn guarded<T>(work: impl FnOnce() -> Result<T, Flaw>) -> Result<T, Flaw> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Flaw::Faults(vec![of_the_whole(format!("the node panicked over it, which is a bug of the node: {text}"))]))
    })
}

fn of_the_whole(detail: String) -> Invalid {
    Invalid { resource: None, pointer: String::new(), detail }
}

#[cfg(test)]
mod tests;
