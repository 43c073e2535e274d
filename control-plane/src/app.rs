//! Puts the control plane together: settings to listeners to a process that runs until it is told to stop.

mod admin;
mod exporters;

use crate::{
    access::Access,
    api::{self, refusals::Refusals, state::ApiState},
    commit::Committer,
    discovery::{Admission, Discovery},
    explain::Explainer,
    fleet::Fleet,
    nodes::Nodes,
    publisher::Publisher,
    settings::{Origin, Secret, Settings, Token},
    store::{Seal, Store, StoreError},
    telemetry::Telemetry,
    tls::{PortTls, authority::Authority},
};
use anyhow::{Context, anyhow, bail};
use exporters::Exporters;
use otel::Spans;
use proto::log_level::LogLevel;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

/// Between tries to reach the database at the start.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// What is spoken on the admin port, as TLS names it.
const ADMIN_PROTOCOL: &[u8] = b"http/1.1";

/// What is spoken on the discovery port, as TLS names it.
const DISCOVERY_PROTOCOL: &[u8] = b"h2";

/// How long answers and streams may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A control plane, bound and not yet running.
pub struct App {
    settings: Settings,
    explainer: Arc<dyn Explainer>,
    log_level: Arc<dyn LogLevel>,
    database: String,
    admin: TcpListener,
    discovery: TcpListener,
    addresses: Addresses,
    tls: Tls,
    seal: Seal,
    admin_secret: Secret,
    join_secret: Secret,
    spans: Spans,
    exporters: Exporters,
    // Held as long as the process runs, so that no second one takes the same directory.
    _lock: File,
}

#[derive(Clone, Copy)]
struct Addresses {
    admin: SocketAddr,
    discovery: SocketAddr,
}

/// What stands in the database, about to be read.
struct Opening<'a> {
    settings: &'a Settings,
    database: &'a str,
    seal: &'a Seal,
    admin_token: Token,
    telemetry: &'a Arc<Telemetry>,
}

/// TLS of both ports.
struct Tls {
    admin: Option<Arc<PortTls>>,
    discovery: Option<Arc<PortTls>>,
    authority: Option<Arc<Authority>>,
}

/// Takes the data directory, finds or makes the tokens, and binds both listeners. `explainer` is the node's code, and
/// `log_level` what sets the program's log.
pub async fn build(
    settings: Settings,
    explainer: Arc<dyn Explainer>,
    log_level: Arc<dyn LogLevel>,
) -> anyhow::Result<App> {
    let tls = Tls::open(&settings).await?;
    let lock = take_directory(&settings.data_dir)?;
    let database = settings.database_url()?;
    let (admin_secret, join_secret) = (settings.admin_secret()?, settings.join_secret()?);
    let seal = Seal::new(settings.secret_keys()?.iter().map(String::as_str));
    let seal = seal.map_err(|error| anyhow!("the key for secrets: {error}"))?;
    let admin = bind(settings.admin_listen).await?;
    let discovery = bind(settings.discovery_listen).await?;
    let addresses = Addresses { admin: admin.local_addr()?, discovery: discovery.local_addr()? };
    let (spans, exporters) = Exporters::new(&settings.otel, name(addresses.discovery))?;
    Ok(App {
        settings,
        explainer,
        log_level,
        database,
        admin,
        discovery,
        addresses,
        tls,
        seal,
        admin_secret,
        join_secret,
        spans,
        exporters,
        _lock: lock,
    })
}

// === impl App ===

impl App {
    /// Where the admin API listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Where nodes connect.
    pub fn discovery_address(&self) -> SocketAddr {
        self.addresses.discovery
    }

    /// The URL of the admin API.
    pub fn admin_url(&self) -> String {
        url(&self.tls.admin, self.addresses.admin)
    }

    /// The URL at which nodes connect.
    pub fn discovery_url(&self) -> String {
        url(&self.tls.discovery, self.addresses.discovery)
    }

    /// Where to find the token of the admin API, for people.
    pub fn admin_token_source(&self) -> String {
        match self.admin_secret.origin() {
            Origin::Given => "as given by --admin-token or PORTICO_ADMIN_TOKEN".into(),
            Origin::File(file) => format!("in {}", file.display()),
        }
    }

    /// The token with which nodes join, for a node in the same process.
    pub fn join_token(&self) -> &str {
        self.join_secret.text()
    }

    /// Runs until `stop` resolves and what was under way has ended. While the database is not there at the start, it
    /// keeps trying.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let stopping = CancellationToken::new();
        let telling = stopping.clone();
        let running = self.run_until(stopping);
        tokio::pin!(running, stop);
        tokio::select! {
            result = &mut running => return result,
            () = &mut stop => telling.cancel(),
        }
        running.await
    }

    async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        info!(admin = %self.addresses.admin, discovery = %self.addresses.discovery, "the control plane starts");
        // If this is dropped, all that it has started ends too.
        let _ends = stop.clone().drop_guard();
        let telemetry = Arc::new(Telemetry::new(self.spans));
        // Liveness is answered, and everything else with 503, until the configuration is there.
        let (routers, router) = watch::channel(api::starting());
        let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let serving = admin::serve(self.admin, self.tls.admin.clone(), router, stop.clone());
        parts.spawn(async move {
            serving.await;
            Ok(())
        });
        let opening = Opening {
            settings: &self.settings,
            database: &self.database,
            seal: &self.seal,
            admin_token: self.admin_secret.token(),
            telemetry: &telemetry,
        };
        let opened = opening.keep_trying(&stop).await?;
        let Some((store, publisher, access)) = opened else {
            return Ok(());
        };

        let (publisher, access) = (Arc::new(publisher), Arc::new(access));
        let nodes = Arc::new(Nodes::new(name(self.addresses.discovery), telemetry.clone()));
        let fleet = Arc::new(Fleet::new(nodes.clone(), access.clone(), store.clone(), telemetry.clone()));
        let exporting = self.exporters.start({
            let (publisher, fleet, telemetry) = (publisher.clone(), fleet.clone(), telemetry.clone());
            move || {
                fleet.measure(publisher.head().identity.revision);
                telemetry.figures()
            }
        });
        let committer =
            Arc::new(Committer::new(store.clone(), publisher.clone(), telemetry.clone(), self.explainer.clone()));
        let state = ApiState {
            committer,
            publisher: publisher.clone(),
            fleet: fleet.clone(),
            store: store.clone(),
            telemetry: telemetry.clone(),
            access: access.clone(),
            refusals: Arc::new(Refusals::new(telemetry.clone())),
            explainer: self.explainer.clone(),
            log_level: self.log_level.clone(),
            max_body: self.settings.max_body,
        };
        let admission = Admission {
            join_token: self.join_secret.token(),
            authority: self.tls.authority.clone(),
            certificate_life: self.settings.node_certificate_life,
            access: access.clone(),
            fleet: fleet.clone(),
        };
        let discovery = Discovery::new(publisher.clone(), nodes, telemetry, admission, stop.child_token());
        let _tls = self.tls.follow();

        let discovery_tls = self.tls.discovery;
        parts.spawn(async move {
            discovery.serve(self.discovery, discovery_tls).await.context("the discovery service broke off")
        });
        routers.send_modify(|router| *router = api::router(state));
        let streams_ended = CancellationToken::new();
        let mut telling = AbortOnDropHandle::new(tokio::spawn({
            let ended = streams_ended.clone();
            async move { fleet.run(ended).await }
        }));
        let pruning = AbortOnDropHandle::new(tokio::spawn(prune(store.clone())));

        // A part that ends alone takes the others with it, rather than half a control plane going on.
        let first = tokio::select! {
            ended = parts.join_next() => ended,
            () = publisher.run() => None,
            () = access.run(publisher.asks()) => None,
            _ = &mut telling => None,
        };
        stop.cancel();
        info!("the control plane stops");
        drop(pruning);
        let rest = async {
            let mut ended = first;
            while let Some(part) = ended {
                part.context("a part of the control plane broke off")??;
                ended = parts.join_next().await;
            }
            Ok(())
        };
        let result = tokio::time::timeout(STOP_LIMIT, rest).await.unwrap_or_else(|_| {
            warn!("some answers and streams did not end in time");
            Ok(())
        });
        streams_ended.cancel();
        let closing = async {
            if !telling.is_finished() {
                let _ = telling.await;
            }
            store.close().await;
        };
        let _ = tokio::time::timeout(STOP_LIMIT, closing).await;
        exporting.end().await;
        result
    }
}

// === impl Opening ===

impl Opening<'_> {
    // While the database is not there. `None`: told to stop before it was.
    async fn keep_trying(&self, stop: &CancellationToken) -> anyhow::Result<Option<(Store, Publisher, Access)>> {
        let opening = async {
            loop {
                match self.open().await {
                    Ok(opened) => return Ok(opened),
                    Err(StoreError::Unavailable(error)) => {
                        warn!(error, "the database does not answer yet; trying again");
                        tokio::time::sleep(REOPEN_PAUSE).await;
                    }
                    Err(error @ (StoreError::Refused(_) | StoreError::Corrupt(_))) => return Err(error),
                }
            }
        };
        tokio::select! {
            opened = opening => Ok(Some(opened?)),
            () = stop.cancelled() => Ok(None),
        }
    }

    async fn open(&self) -> Result<(Store, Publisher, Access), StoreError> {
        let store = Store::open(self.database, self.settings.retention, self.seal.clone()).await?;
        let store = store.with_audit_retention(self.settings.audit_retention);
        let publisher = Publisher::open(store.clone(), self.telemetry.clone()).await?;
        let access = Access::open(store.clone(), self.admin_token.clone(), self.telemetry.clone()).await?;
        Ok((store, publisher, access))
    }
}

// === impl Tls ===

impl Tls {
    async fn open(settings: &Settings) -> anyhow::Result<Tls> {
        let certificates = settings.certificates()?;
        let authority = certificates.authority;
        let admin = match certificates.admin {
            Some(source) => Some(Arc::new(PortTls::open(source, ADMIN_PROTOCOL, None).await?)),
            None => None,
        };
        let discovery = match certificates.discovery {
            Some(source) => Some(Arc::new(PortTls::open(source, DISCOVERY_PROTOCOL, authority.as_deref()).await?)),
            None => None,
        };
        Ok(Tls { admin, discovery, authority })
    }

    // Keeps the certificates up to date, until what is returned is dropped.
    fn follow(&self) -> Vec<AbortOnDropHandle<()>> {
        let ports = [&self.admin, &self.discovery].into_iter().flatten().cloned();
        ports.map(|port| AbortOnDropHandle::new(tokio::spawn(async move { port.run().await }))).collect()
    }
}

// What this control plane calls itself: its machine, and the port that tells it from others there.
fn name(discovery: SocketAddr) -> String {
    let machine = rustix::system::uname();
    format!("{}:{}", machine.nodename().to_string_lossy(), discovery.port())
}

fn url(tls: &Option<Arc<PortTls>>, address: SocketAddr) -> String {
    let scheme = if tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

// A retention that was lowered takes effect at the start.
async fn prune(store: Store) {
    if let Err(error) = store.prune().await {
        warn!(%error, "cannot forget old revisions; trying again later");
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn take_directory(directory: &Path) -> anyhow::Result<File> {
    let failed = || format!("cannot use the data directory {}", directory.display());
    if !directory.try_exists().with_context(failed)? {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(failed)?;
    }
    let file = directory.join("control-plane.lock");
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&file).with_context(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.into());
            bail!("another control plane runs on {}; give this one another --data-dir", directory.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}
