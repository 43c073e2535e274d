//! What a node tells about itself: metrics, the access log, and what it runs.
//!
//! Nothing here is shared on the path of a request: a worker counts in cells of its own and formats log lines into a
//! buffer of its own. Counts are asked for and added up when somebody scrapes; log blocks go to one writer thread.

pub(crate) mod access_log;
pub(crate) mod counters;

use crate::settings::Settings;
use access_log::{LogBuffer, LogWriter};
use counters::Counts;
use futures_util::future::join_all;
use http::Version;
use otel::Spans;
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Where a worker hears that its counts are wanted.
#[derive(Debug)]
pub(crate) struct Scrapes {
    asked: mpsc::Receiver<oneshot::Sender<Counts>>,
    last: LastCounts,
}

/// A worker's counts as they were last known: those that count on do not fall back when it does not answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastCounts(Arc<Mutex<Counts>>);

// Where a worker is asked for its counts; the other end is its own.
#[derive(Clone, Debug)]
struct Asked {
    worker: mpsc::Sender<oneshot::Sender<Counts>>,
    last: LastCounts,
}

/// How long a scrape waits for a worker.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the threads of a node share to tell about it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ConfigStatus,
    draining: AtomicBool,
    memory: MemoryStatus,
    connections: AtomicUsize,
    log: Option<LogWriter>,
    spans: Spans,
    workers: Mutex<Vec<Asked>>,
}

/// Which configuration runs. Written by the life of a change, read by the status port.
#[derive(Debug, Default)]
pub(crate) struct ConfigStatus {
    revision: AtomicU64,
    // Milliseconds since the epoch; 0 while there is none.
    since: AtomicU64,
    refused: AtomicU64,
}

/// How much memory there is, and whether that is too little. Written by whoever looks, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct MemoryStatus {
    used: AtomicU64,
    // 0: there is none.
    limit: AtomicU64,
    overloaded: AtomicBool,
}

/// A version of HTTP as OpenTelemetry names it.
pub(crate) fn version_label(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        // No other is spoken.
        _ => "1.1",
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Opens the access log; spans are handed in there.
    pub(crate) fn new(settings: &Settings, spans: Spans) -> io::Result<Telemetry> {
        Ok(Telemetry {
            inner: Arc::new(Inner {
                config: ConfigStatus::default(),
                draining: AtomicBool::new(false),
                memory: MemoryStatus::default(),
                connections: AtomicUsize::new(0),
                log: LogWriter::open(&settings.access_log)?,
                spans,
                workers: Mutex::default(),
            }),
        })
    }

    /// Which configuration runs.
    pub(crate) fn config(&self) -> &ConfigStatus {
        &self.inner.config
    }

    /// How much memory is used.
    pub(crate) fn memory(&self) -> &MemoryStatus {
        &self.inner.memory
    }

    /// From now on the node is not ready.
    pub(crate) fn set_draining(&self) {
        self.inner.draining.store(true, Relaxed);
    }

    /// Whether requests are welcome: there is a configuration and the node is not about to stop.
    pub(crate) fn is_ready(&self) -> bool {
        self.inner.config.since().is_some() && !self.inner.draining.load(Relaxed)
    }

    /// Why they are not, for people.
    pub(crate) fn unready_because(&self) -> &'static str {
        match self.inner.draining.load(Relaxed) {
            true => "the node drains\n",
            false => "there is no configuration yet\n",
        }
    }

    /// The client connections that stand, of all workers.
    pub(crate) fn connections(&self) -> &AtomicUsize {
        &self.inner.connections
    }

    /// A buffer for one worker's log lines.
    pub(crate) fn log_buffer(&self) -> LogBuffer {
        LogBuffer::new(self.inner.log.as_ref())
    }

    /// Where spans are handed in.
    pub(crate) fn spans(&self) -> &Spans {
        &self.inner.spans
    }

    /// How many lines of the access log were lost because the writer did not keep up.
    pub(crate) fn log_dropped(&self) -> u64 {
        self.inner.log.as_ref().map_or(0, LogWriter::dropped)
    }

    /// Waits until what workers handed to the access log is written.
    pub(crate) fn flush(&self) {
        if let Some(log) = &self.inner.log {
            log.flush();
        }
    }

    /// A worker's end of scraping.
    pub(crate) fn register(&self) -> Scrapes {
        let (worker, asked) = mpsc::channel(4);
        let last = LastCounts::default();
        let asking = Asked { worker, last: last.clone() };
        self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner).push(asking);
        Scrapes { asked, last }
    }

    /// The counts of all workers, of those that do not answer in time as they were.
    pub(crate) async fn scrape(&self) -> Counts {
        let workers = self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = workers.iter().map(|asked| asked.counts());
        let mut total = Counts::default();
        join_all(answers).await.into_iter().for_each(|counts| total.add(counts));
        total
    }
}

// === impl Scrapes ===

impl Scrapes {
    /// Waits until somebody wants to know; whoever asked may have gone, and then nobody misses the answer.
    pub(crate) async fn asked(&mut self) -> Option<oneshot::Sender<Counts>> {
        self.asked.recv().await
    }

    /// Where the last counts are left when the worker ends.
    pub(crate) fn last(&self) -> LastCounts {
        self.last.clone()
    }
}

// === impl LastCounts ===

impl LastCounts {
    /// Leaves them there.
    pub(crate) fn keep(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn read(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Asked ===

impl Asked {
    async fn counts(&self) -> Counts {
        let (sender, receiver) = oneshot::channel();
        let ask = async { self.worker.send(sender).await.is_ok().then_some(receiver.await.ok()).flatten() };
        if let Ok(Some(counts)) = tokio::time::timeout(SCRAPE_TIMEOUT, ask).await {
            self.last.keep(counts);
        }
        self.last.read()
    }
}

// === impl ConfigStatus ===

impl ConfigStatus {
    /// A configuration runs since `now`, milliseconds since the epoch.
    pub(crate) fn running(&self, revision: u64, now: u64) {
        self.revision.store(revision, Relaxed);
        self.since.store(now.max(1), Relaxed);
    }

    /// A configuration was refused.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The revision that runs.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Relaxed)
    }

    /// Since when, in milliseconds since the epoch.
    pub(crate) fn since(&self) -> Option<u64> {
        match self.since.load(Relaxed) {
            0 => None,
            since => Some(since),
        }
    }

    /// How many were refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

// === impl MemoryStatus ===

impl MemoryStatus {
    /// Somebody looked.
    pub(crate) fn looked(&self, used: u64, limit: u64, overloaded: bool) {
        self.used.store(used, Relaxed);
        self.limit.store(limit, Relaxed);
        self.overloaded.store(overloaded, Relaxed);
    }

    /// Whether there is too little: what is new is turned away.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.overloaded.load(Relaxed)
    }

    /// How much is used and how much may be, in bytes; none when there is no limit.
    pub(crate) fn figures(&self) -> Option<(u64, u64)> {
        let limit = Some(self.limit.load(Relaxed)).filter(|limit| *limit > 0)?;
        Some((self.used.load(Relaxed), limit))
    }
}
