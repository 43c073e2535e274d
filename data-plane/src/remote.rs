//! A document of somebody else that this node keeps, such as the keys of an issuer.
//!
//! One keeper loads it, on the control thread: at its interval, and sooner when a request needs what is not in it, but never
//! again within `floor` of the last time, whether that came to something or not. Requests share what there is, and go on
//! with it while the other side is down, up to a maximum age. Whoever needs a load that begins after now may wait for it,
//! for so long and in such a number as is bounded here; nothing else ever waits for somebody else's server.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, sleep_until, timeout},
};

/// How long a request waits for a load, after it may begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many requests wait for one document; more are told to come again.
const MAX_WAITING: usize = 1024;
/// How many missing things are remembered, so that nobody asks for them again and again.
const MAX_MISSING: usize = 1024;
/// How long something is missing before it is looked for again.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// How a document is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How often it is loaded.
    pub(crate) refresh: Duration,
    /// How long after a load the next may begin, if a request needs it.
    pub(crate) floor: Duration,
    /// How old it may get while it cannot be loaded.
    pub(crate) max_age: Duration,
}

/// A document that is kept.
#[derive(Debug)]
pub(crate) struct Remote<T> {
    terms: Terms,
    held: Mutex<Held<T>>,
    // Changes with each document; 0: none yet.
    generation: AtomicU64,
    waiting: AtomicUsize,
    // The keeper waits for it, also when nobody holds the document any more.
    wanted: Arc<Notify>,
    // How many loads have ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held<T> {
    document: Option<(Arc<T>, Instant)>,
    // How many loads have begun.
    begun: u64,
    failed: u64,
    last_failed: bool,
    // What is missing since when, and in which order.
    missing: HashMap<Box<str>, Instant>,
    order: VecDeque<Box<str>>,
}

/// What came of needing something that is not in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Look again: a load has come to an end that began after it was needed.
    Again,
    /// It was looked for not long ago, and is not there.
    Missing,
    /// Nobody can say: the other side is down or slow.
    Unknown,
}

/// Figures of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// How many loads came to something.
    pub(crate) loaded: u64,
    /// How many did not.
    pub(crate) failed: u64,
    /// How old the document is.
    pub(crate) age: Option<Duration>,
}

// === impl Remote ===

impl<T> Remote<T> {
    /// None yet.
    pub(crate) fn new(terms: Terms) -> Remote<T> {
        let held = Held {
            document: None,
            begun: 0,
            failed: 0,
            last_failed: false,
            missing: HashMap::new(),
            order: VecDeque::new(),
        };
        Remote {
            terms,
            held: Mutex::new(held),
            generation: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            wanted: Arc::default(),
            ended: watch::Sender::new(0),
        }
    }

    /// Which document there is; 0 where there is none.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The document, if it is not too old.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        let held = self.held();
        let (document, loaded) = held.document.as_ref()?;
        (loaded.elapsed() <= self.terms.max_age).then(|| document.clone())
    }

    /// Something is needed that is not in the document: has it loaded, if it may be there by now.
    pub(crate) async fn look_for(&self, what: &str) -> Looked {
        let need = {
            let held = self.held();
            if held.missing.get(what).is_some_and(|since| since.elapsed() < MISSING_FOR) {
                return Looked::Missing;
            }
            if held.last_failed {
                // Who comes first after the floor pays for the others, who need not wait for it.
                self.wanted.notify_one();
                return Looked::Unknown;
            }
            match held.document {
                // A load that is under way may have begun too early.
                Some(_) => {
                    self.wanted.notify_one();
                    held.begun + 1
                }
                // But not the first.
                None => 1,
            }
        };
        if !self.wait_for(need).await {
            return Looked::Unknown;
        }
        match self.held().last_failed {
            true => Looked::Unknown,
            false => Looked::Again,
        }
    }

    /// It was looked for, and is not there.
    pub(crate) fn note_missing(&self, what: &str) {
        let mut held = self.held();
        if held.order.len() >= MAX_MISSING
            && let Some(oldest) = held.order.pop_front()
        {
            held.missing.remove(&oldest);
        }
        if held.missing.insert(what.into(), Instant::now()).is_none() {
            held.order.push_back(what.into());
        }
    }

    /// Figures.
    pub(crate) fn figures(&self) -> Figures {
        let ended = *self.ended.borrow();
        let held = self.held();
        let age = held.document.as_ref().map(|(_, loaded)| loaded.elapsed());
        Figures { loaded: ended.saturating_sub(held.failed), failed: held.failed, age }
    }

    async fn wait_for(&self, need: u64) -> bool {
        if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return false;
        }
        // A request that is given up waits no more.
        let _waiting = Waiting(&self.waiting);
        let mut ended = self.ended.subscribe();
        timeout(self.terms.floor + PATIENCE, ended.wait_for(|ended| *ended >= need))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }

    fn begin(&self) {
        self.held().begun += 1;
    }

    fn end(&self, loaded: Result<T, String>, name: &str) {
        let mut held = self.held();
        let was_failing = std::mem::replace(&mut held.last_failed, loaded.is_err());
        match loaded {
            Ok(document) => {
                held.document = Some((Arc::new(document), Instant::now()));
                self.generation.fetch_add(1, Relaxed);
                if was_failing {
                    tracing::info!(document = name, "a document can be loaded again");
                }
            }
            Err(error) => {
                held.failed += 1;
                if !was_failing {
                    let what = "failed to load a document; what there was is kept";
                    tracing::warn!(document = name, error, "{what}");
                }
            }
        }
        drop(held);
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting<'w>(&'w AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Keeps the document of a holder until nobody holds that any more. `load` loads it.
pub(crate) async fn keep<H, T, F>(
    holder: Weak<H>,
    of: impl Fn(&H) -> &Remote<T>,
    name: String,
    load: impl Fn(Arc<H>) -> F,
) where
    F: Future<Output = Result<T, String>>,
{
    loop {
        let Some(held) = holder.upgrade() else { return };
        let (terms, wanted) = (of(&held).terms, of(&held).wanted.clone());
        let began = tokio::time::Instant::now();
        of(&held).begin();
        let loaded = load(held.clone()).await;
        let next = if loaded.is_ok() { terms.refresh } else { terms.floor.min(terms.refresh) };
        of(&held).end(loaded, &name);
        drop(held);
        tokio::select! {
            // Not all nodes at once.
            () = sleep(next.mul_f32(0.9 + 0.1 * fastrand::f32())) => {}
            () = wanted.notified() => sleep_until(began + terms.floor).await,
        }
    }
}

#[cfg(test)]
mod tests;
