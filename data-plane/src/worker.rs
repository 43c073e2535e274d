//! Workers: one thread a core, each with a runtime, a socket of every listener, connections and counters of its own.
//!
//! Nothing on the path of a request crosses threads. What reaches a worker from outside is asked of it, twice a second at
//! most: its counts, and to let go of its clients.

use crate::{
    context::{ClientAuth, Door},
    listener::{Clients, Listener, accept},
    proxy::Local,
    router::LiveRouter,
    settings::{Listen, Settings},
    telemetry::{Scrapes, Telemetry},
    tls::ServerTls,
};
use http::HeaderValue;
use proto::matching::Scheme;
use std::{
    io,
    net::TcpListener,
    rc::Rc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, LocalSet},
    time::{MissedTickBehavior, interval, timeout},
};

/// How often a worker hands its log lines to the writer.
const TICK: Duration = Duration::from_millis(250);
/// How many ticks pass between two sweeps of idle connections.
const SWEEP: u32 = 4;

/// The threads that answer requests.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    // What is in it is how long requests in flight may take once it is there. The other ends are the threads'.
    drain: watch::Sender<Option<Duration>>,
    telemetry: Telemetry,
}

// What one thread begins with.
struct Worker {
    settings: Settings,
    sockets: Vec<(TcpListener, Listen)>,
    router: LiveRouter,
    tls: Option<ServerTls>,
    telemetry: Telemetry,
    drain: watch::Receiver<Option<Duration>>,
    scrapes: Scrapes,
}

// === impl Workers ===

impl Workers {
    /// Starts them.
    pub(crate) fn start(
        settings: &Settings,
        listeners: Vec<Listener>,
        router: &LiveRouter,
        telemetry: &Telemetry,
    ) -> io::Result<Workers> {
        let (drain, receiver) = watch::channel(None);
        let mut sockets: Vec<Vec<(TcpListener, Listen)>> = Vec::new();
        for listener in listeners {
            sockets.resize_with(listener.sockets.len().max(sockets.len()), Vec::new);
            for (worker, socket) in sockets.iter_mut().zip(listener.sockets) {
                worker.push((socket, listener.listen.clone()));
            }
        }
        let tls = settings.listen.iter().any(|listen| listen.scheme == Scheme::Https);
        // One for all workers, which resume each other's sessions.
        let tls = tls.then(|| ServerTls::new(settings, router)).transpose().map_err(io::Error::other)?;
        let mut threads = Vec::new();
        for (number, sockets) in sockets.into_iter().enumerate() {
            let worker = Worker {
                settings: settings.clone(),
                sockets,
                router: router.clone(),
                tls: tls.clone(),
                telemetry: telemetry.clone(),
                drain: receiver.clone(),
                scrapes: telemetry.register(),
            };
            // A runtime that cannot be made is known here, not in the thread.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            threads.push(thread.spawn(move || {
                LocalSet::new().block_on(&runtime, worker.run());
                // A look-up that is stuck in the system's resolver does not keep the process.
                runtime.shutdown_background();
            })?);
        }
        Ok(Workers { threads, drain, telemetry: telemetry.clone() })
    }

    /// Lets go of clients without failing a request: answers say `Connection: close`, the accept queues are emptied and
    /// closed, idle connections are closed, requests in flight have until the deadline. Returns when the threads ended.
    pub(crate) async fn drain(self, deadline: Duration) {
        self.drain.send_replace(Some(deadline));
        let telemetry = self.telemetry.clone();
        let ended = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended by a panic");
                }
            }
            telemetry.flush();
        });
        if ended.await.is_err() {
            tracing::error!("failed to wait for the workers");
        }
    }
}

// === impl Worker ===

impl Worker {
    async fn run(self) {
        let local = Rc::new(Local::new(&self.settings, &self.router, &self.telemetry));
        let clients = Rc::new(Clients::new(&self.settings, local.clone(), self.tls, &self.telemetry));
        let mut accepting = Vec::new();
        for (socket, listen) in self.sockets {
            let door = Rc::new(Door {
                trusts_traces: self.settings.trust_traces.contains(&listen.name),
                trusts_identity: self.settings.trust_identity.contains(&listen.name),
                client_auth: match self.settings.ask_client_certificate.contains(&listen.name) {
                    true => ClientAuth::Asked,
                    false => ClientAuth::Unasked,
                },
                name: listen.name,
                port: HeaderValue::from(listen.address.port()),
                scheme: listen.scheme,
                proxy_protocol: listen.proxy_protocol,
            });
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => accepting.push(tokio::task::spawn_local(accept(clients.clone(), socket, door))),
                Err(error) => tracing::error!(%error, listener = door.name, "failed to accept on a listener"),
            }
        }
        let last = self.scrapes.last();
        let upkeep = tokio::task::spawn_local(upkeep(clients.clone(), self.scrapes));
        let mut drain = self.drain;
        // An error means that whoever would say so is gone, which is to say so.
        let deadline = drain.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        local.draining.set(true);
        clients.drain.begin();
        // The accept queues are emptied first: who is in them is let in.
        let aborts: Vec<AbortHandle> = accepting.iter().map(|accepting| accepting.abort_handle()).collect();
        let emptied = async {
            for accepting in accepting {
                accepting.await.ok();
            }
            clients.drain.emptied().await;
        };
        if timeout(deadline.unwrap_or_default(), emptied).await.is_err() {
            aborts.iter().for_each(AbortHandle::abort);
            tracing::warn!(connections = clients.drain.open(), "the drain's deadline passed; connections are cut");
            clients.drain.cut();
            clients.drain.emptied().await;
        }
        upkeep.abort();
        local.end();
        last.keep(local.counts());
        local.log.hand_off();
    }
}

async fn upkeep(clients: Rc<Clients>, mut scrapes: Scrapes) {
    let local = &clients.local;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1_u32.. {
        loop {
            tokio::select! {
                due = ticks.tick() => {
                    // What keeps the worker from its clock keeps it from requests.
                    local.counters.lag.borrow_mut().observe(due.elapsed());
                    break;
                }
                Some(scrape) = scrapes.asked() => drop(scrape.send(local.counts())),
            }
        }
        clients.tick();
        local.log.hand_off();
        if tick % SWEEP == 0 {
            local.sweep(Instant::now());
        }
    }
}
