//! The threads besides the workers: `control` talks to the outside, `builder` builds routers, `disk` keeps them. They end
//! when [`Threads`] is dropped.

use crate::{
    fetch::Fetcher,
    memory::{self, Memory},
    pool::Resolver,
    router::LiveRouter,
    snapshot::{Builder, Order, discovery::Discovery, disk::Stored, keeper::Keeper, mailbox::Mailbox, state::Status},
    status::{self, StatusPort},
    telemetry::Telemetry,
    tls::expiry,
    upkeep::{keep_keys, upkeep},
};
use otel::{MetricExporter, SpanExporter};
use proto::log_level::LogLevel;
use std::{
    io,
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// How much the workers come before the builder and the disk.
const LOW: i32 = 10;
/// After a panic of the control stream, which is a bug, the wait before the next.
const RESTART: Duration = Duration::from_secs(5);

/// The threads besides the workers. Dropping it ends them, the builder before the disk, so that the last is kept.
pub(super) struct Threads {
    stop: CancellationToken,
    orders: Mailbox<Order>,
    keep: Mailbox<Stored>,
    control: Option<JoinHandle<()>>,
    builder: Option<JoinHandle<()>>,
    disk: Option<JoinHandle<()>>,
}

/// What runs on the control thread.
pub(super) struct Control {
    pub(super) source: Source,
    pub(super) status_listener: TcpListener,
    pub(super) telemetry: Telemetry,
    pub(super) router: LiveRouter,
    pub(super) status: Status,
    pub(super) resolver: Resolver,
    pub(super) fetcher: Fetcher,
    /// What the program's own log tells.
    pub(super) log_level: Arc<dyn LogLevel>,
    /// None when there is no limit.
    pub(super) memory: Option<Memory>,
}

/// What tells an OpenTelemetry collector.
pub(super) struct Exporters {
    pub(super) spans: SpanExporter,
    pub(super) metrics: MetricExporter,
}

/// Where configurations come from.
pub(super) enum Source {
    /// From a file, which SIGHUP reads again.
    File(PathBuf),
    /// From a control plane.
    ControlPlane(Discovery),
}

// === impl Threads ===

impl Threads {
    /// No thread yet.
    pub(super) fn new(orders: Mailbox<Order>, keep: Mailbox<Stored>) -> Threads {
        Threads { stop: CancellationToken::new(), orders, keep, control: None, builder: None, disk: None }
    }

    /// Starts the builder thread.
    pub(super) fn build(&mut self, builder: Builder) -> io::Result<()> {
        let orders = self.orders.clone();
        self.builder = Some(spawn("builder", move || {
            step_back();
            builder.run(&orders);
        })?);
        Ok(())
    }

    /// Starts the disk's thread.
    pub(super) fn keep(&mut self, keeper: Keeper) -> io::Result<()> {
        let keep = self.keep.clone();
        self.disk = Some(spawn("disk", move || {
            step_back();
            keeper.run(&keep);
        })?);
        Ok(())
    }

    /// Starts the control thread. It ends when what there is has been exported, within a bound.
    pub(super) fn control(&mut self, control: Control, exporters: Exporters) -> io::Result<()> {
        let (stop, orders) = (self.stop.clone(), self.orders.clone());
        let (started, start) = std::sync::mpsc::sync_channel(1);
        self.control = Some(spawn("control", move || match control_runtime() {
            Ok(runtime) => {
                // Whoever started the thread waits for this.
                let _ = started.send(Ok(()));
                runtime.block_on(async {
                    let exporting = exporters.start(&control, &stop);
                    stop.run_until_cancelled(control.run(orders)).await;
                    exporting.await;
                });
            }
            Err(error) => drop(started.send(Err(error))),
        })?);
        start.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread ended")))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        join(self.control.take());
        self.orders.close();
        join(self.builder.take());
        self.keep.close();
        join(self.disk.take());
    }
}

// === impl Control ===

impl Control {
    // A task each, so that a panic of one leaves the others alone.
    async fn run(self, orders: Mailbox<Order>) {
        let Control { source, status_listener, telemetry, router, status, resolver, fetcher, log_level, memory } = self;
        drop(tokio::spawn(upkeep(router.clone(), status, resolver)));
        drop(tokio::spawn(keep_keys(router.clone(), fetcher)));
        let listener =
            status_listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(status_listener));
        drop(tokio::spawn(expiry::watch(router.clone())));
        if let Some(memory) = memory {
            drop(tokio::spawn(memory::watch(memory, telemetry.clone())));
        }
        match listener {
            Ok(listener) => drop(tokio::spawn(status::serve(listener, StatusPort { telemetry, router, log_level }))),
            Err(error) => tracing::error!(%error, "the status port does not answer"),
        }
        match source {
            Source::File(path) => reload(path, orders).await,
            Source::ControlPlane(discovery) => {
                // Nothing is to be read again, but the signal must not end the process.
                let _hangup = signal(SignalKind::hangup());
                let discovery = Arc::new(discovery);
                loop {
                    let ended = tokio::spawn(discovery.clone().run()).await;
                    tracing::error!(?ended, "the control stream ended, which is a bug of the node; it starts again");
                    tokio::time::sleep(RESTART).await;
                }
            }
        }
    }
}

// === impl Exporters ===

impl Exporters {
    // What is returned ends when the last has been sent, within a bound after the stop.
    fn start(self, control: &Control, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
        let (telemetry, router) = (control.telemetry.clone(), control.router.clone());
        let spans = tokio::spawn(self.spans.run(stop.clone()));
        let stop = stop.clone();
        let metrics = tokio::spawn(async move {
            self.metrics.run(|| status::figures(&telemetry, &router), stop).await;
        });
        async move {
            for exporting in [spans, metrics] {
                if exporting.await.is_err() {
                    tracing::error!("an exporter ended by a panic");
                }
            }
        }
    }
}

/// Has the file read again at each SIGHUP.
async fn reload(path: PathBuf, orders: Mailbox<Order>) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                orders.put(Order::Reload(path.as_path().into()));
            }
        }
        Err(error) => tracing::error!(%error, "SIGHUP cannot be heard; restart the node to read the file again"),
    }
    std::future::pending().await
}

fn control_runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

// Linux counts niceness by thread. Elsewhere, or where it is not allowed, the thread is as good as any.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(LOW) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(Err(_)) = thread.map(JoinHandle::join) {
        tracing::error!("a thread of the node had panicked");
    }
}
