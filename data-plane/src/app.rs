//! A node as a whole: binds everything and tells its addresses, then runs until it is told to stop.
//!
//! A node first takes the configuration that its disk kept (or its file holds), then binds and serves, and only then
//! dials a control plane: it needs nobody in order to start.

mod threads;

use crate::{
    fetch::Fetcher,
    listener::{self, Listener},
    memory::Memory,
    pool::Resolver,
    router::{LiveRouter, Router},
    settings::Settings,
    snapshot::{
        Builder,
        discovery::{Discovery, NodeInfo, Reach},
        disk::{DataDir, Slot, Stored},
        keeper::Keeper,
        mailbox::Mailbox,
        state::Status,
    },
    telemetry::Telemetry,
    worker::Workers,
};
use anyhow::Context as _;
use otel::{MetricExporter, Service, Spans};
use proto::log_level::LogLevel;
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use threads::{Control, Exporters, Source, Threads};
use uuid::Uuid;

/// A node, bound and serving. Dropping it ends its threads.
pub struct App {
    addresses: Vec<(String, SocketAddr)>,
    status_address: SocketAddr,
    node_id: String,
    shutdown_delay: Duration,
    drain_timeout: Duration,
    workers: Workers,
    telemetry: Telemetry,
    status: Status,
    threads: Threads,
}

/// The file of `--config` cannot be run; the text has all its faults.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfiguration(String);

/// Where the configuration comes from, opened.
enum Opened {
    File(PathBuf),
    ControlPlane(DataDir),
}

/// Binds everything, and serves what the node has. A file that cannot be run is an [`InvalidConfiguration`]. `log_level` is
/// what sets the program's log.
pub async fn build(settings: Settings, log_level: Arc<dyn LogLevel>) -> anyhow::Result<App> {
    let opened = open(&settings)?;
    let node_id = match &opened {
        Opened::File(_) => Uuid::new_v4().to_string(),
        Opened::ControlPlane(data_dir) => data_dir.node_id().to_string(),
    };
    let service = Service { name: "portico-node", version: env!("CARGO_PKG_VERSION"), instance: node_id.clone() };
    let (spans, span_exporter) = Spans::new(&settings.otel, &service)?;
    let exporters = Exporters { spans: span_exporter, metrics: MetricExporter::new(&settings.otel, &service)? };
    let telemetry = Telemetry::new(&settings, spans).context("failed to open the access log")?;
    let live = LiveRouter::new(Router::empty());
    let status = Status::new(telemetry.clone());
    let (orders, keep) = (Mailbox::new(), Mailbox::new());
    let kept = match &opened {
        Opened::File(_) => None,
        Opened::ControlPlane(_) => Some(keep.clone()),
    };
    let mut builder = Builder::new(live.clone(), status.clone(), kept);
    let booted = boot(&mut builder, &opened, &live)?;

    let listeners = listener::bind(&settings).context("failed to bind a listener")?;
    let addresses = listeners.iter().map(|Listener { listen, .. }| (listen.name.clone(), listen.address)).collect();
    let status_listener = TcpListener::bind(settings.status_listen)
        .with_context(|| format!("failed to bind the status port {}", settings.status_listen))?;
    let status_address = status_listener.local_addr().context("failed to bind the status port")?;
    let node = NodeInfo { id: node_id.clone(), labels: settings.labels(), status_address: status_address.to_string() };
    let mut threads = Threads::new(orders.clone(), keep);
    let source = match opened {
        Opened::File(path) => Source::File(path),
        Opened::ControlPlane(data_dir) => {
            let reach = Reach {
                urls: settings.control_plane.clone(),
                authorities: settings.control_plane_ca.clone(),
                token: settings.join_token()?,
                folder: data_dir.path().into(),
            };
            let discovery = Discovery::new(reach, node, status.clone(), orders)?;
            threads.keep(Keeper::new(data_dir, status.clone(), booted))?;
            Source::ControlPlane(discovery)
        }
    };
    let workers = Workers::start(&settings, listeners, &live, &telemetry).context("failed to start the workers")?;
    threads.build(builder)?;
    let memory = Memory::new(settings.max_memory);
    let resolver = Resolver::system();
    let fetcher = Fetcher::new(&settings, resolver.clone()).context("failed to read --fetch-ca")?;
    let control = Control {
        source,
        status_listener,
        telemetry: telemetry.clone(),
        router: live,
        status: status.clone(),
        resolver,
        fetcher,
        log_level,
        memory,
    };
    threads.control(control, exporters)?;
    let Settings { shutdown_delay, drain_timeout, .. } = settings;
    Ok(App { addresses, status_address, node_id, shutdown_delay, drain_timeout, workers, telemetry, status, threads })
}

impl App {
    /// The name and address of each listener.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.addresses.clone()
    }

    /// The address of the status port.
    pub fn status_address(&self) -> SocketAddr {
        self.status_address
    }

    /// The node's id.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Runs until `stop` resolves, then drains; returns when drained.
    ///
    /// First the node is unready, so that balancers look elsewhere, and goes on for a while as if nothing had happened;
    /// then the workers let go of their clients.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        stop.await;
        tracing::info!(delay_ms = self.shutdown_delay.as_millis(), "the node drains");
        self.telemetry.set_draining();
        self.status.draining();
        tokio::time::sleep(self.shutdown_delay).await;
        self.workers.drain(self.drain_timeout).await;
        drop(self.threads);
        Ok(())
    }
}

fn open(settings: &Settings) -> anyhow::Result<Opened> {
    match &settings.config {
        // Without a control plane there is nothing to keep.
        Some(path) => Ok(Opened::File(path.clone())),
        None if settings.control_plane.is_empty() => {
            anyhow::bail!("a node needs --control-plane URL, or --config FILE to run without one")
        }
        None => Ok(Opened::ControlPlane(DataDir::open(&settings.data_dir)?)),
    }
}

/// What the disk kept and runs now, if so.
fn boot(builder: &mut Builder, opened: &Opened, live: &LiveRouter) -> anyhow::Result<Option<Stored>> {
    let data_dir = match opened {
        Opened::File(path) => {
            builder.load(path).map_err(|faults| InvalidConfiguration(faults.to_string()))?;
            return Ok(None);
        }
        Opened::ControlPlane(data_dir) => data_dir,
    };
    for slot in [Slot::Current, Slot::Proven] {
        let Some(whole) = data_dir.read(slot) else { continue };
        let identity = whole.identity;
        // A refusal has been logged.
        if builder.boot(whole).is_ok() {
            tracing::info!(revision = %identity, "started with the configuration that was kept");
            return Ok(Some(Stored { identity, snapshot: live.load_full().snapshot().clone() }));
        }
    }
    tracing::info!("no configuration was kept; the node is ready when a control plane has sent one");
    Ok(None)
}

#[cfg(test)]
mod tests;
