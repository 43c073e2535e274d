//! One control stream, from hello to its end.

use super::{Discovery, plane::DialError};
use crate::{
    pool::HealthReport,
    snapshot::{
        Order,
        assembly::{Assembly, AssemblyError},
        state::{Refusal, State},
    },
};
use proto::{
    identity::Identity,
    invalid::Invalid,
    pb,
    pb::{control_message::Message as Said, discovery_client::DiscoveryClient, node_message::Message as Report},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{
        mpsc,
        watch::{self, Receiver},
    },
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

/// How often a node tells that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After so long a silence the control plane is given up.
const SILENCE: Duration = Duration::from_secs(15);
/// How many reports may wait to be sent. A control plane that takes none for so long is given up.
const REPORTS: usize = 32;
/// After so many heartbeats with another head than what runs, and nothing on its way, the node asks again.
const BEHIND: u32 = 3;

/// One control stream.
pub(super) struct Session<'d> {
    discovery: &'d Discovery,
    state: Receiver<State>,
    assembly: Assembly,
    // What the control plane knows.
    told: Told,
    // What was handed to the builder last.
    handed: Option<Identity>,
    behind: u32,
}

#[derive(Default)]
struct Told {
    running: Option<(Identity, u64, bool)>,
    refused: Option<Arc<Refusal>>,
    draining: bool,
    health: Arc<HealthReport>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("it cannot be reached: {}", root(.0))]
    Unreachable(#[from] DialError),
    #[error("it does not let this node in: {0}")]
    Unknown(String),
    #[error("what it sends cannot be taken: {0}")]
    Unfit(String),
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("it ended the stream")]
    Closed,
    #[error("it was silent for {}s", SILENCE.as_secs())]
    Silent,
    #[error("it takes no reports")]
    Deaf,
    #[error("it has a configuration that it does not send")]
    Behind,
    #[error("the node renews its certificate")]
    Renews,
}

// === impl Session ===

impl<'d> Session<'d> {
    pub(super) fn new(discovery: &'d Discovery) -> Session<'d> {
        let state = discovery.status.watch();
        Session { discovery, state, assembly: Assembly::default(), told: Told::default(), handed: None, behind: 0 }
    }

    /// Runs until the stream ends; sets `lived` once the control plane has said something.
    pub(super) async fn run(
        mut self,
        mut client: DiscoveryClient<Channel>,
        plane: &http::Uri,
        lived: &mut bool,
    ) -> Ended {
        let (reports, outgoing) = mpsc::channel(REPORTS);
        let running = self.state.borrow().running.as_ref().map(Into::into);
        let hello = Report::Hello(pb::Hello { running, ..self.discovery.hello() });
        let request = self.discovery.authorized(ReceiverStream::new(outgoing));
        let opened = async {
            send(&reports, hello)?;
            Ok(client.stream(request).await?.into_inner())
        };
        let mut incoming = match timeout(SILENCE, opened).await {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Silent,
        };
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        self.state.mark_changed();
        loop {
            let step = tokio::select! {
                said = next(&mut incoming, heard + SILENCE) => match said {
                    Ok(said) => {
                        heard = Instant::now();
                        if !std::mem::replace(lived, true) {
                            self.discovery.status.connected(true);
                            tracing::info!(control_plane = %plane, "connected to a control plane");
                        }
                        self.hear(said)
                    }
                    Err(ended) => Err(ended),
                },
                _ = heartbeat.tick() => send(&reports, self.heartbeat()),
                changed = self.state.changed() => match changed {
                    Ok(()) => self.report(&reports),
                    // Its other end is in the discovery, which outlives this.
                    Err(watch::error::RecvError { .. }) => Err(Ended::Closed),
                },
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    fn hear(&mut self, said: pb::ControlMessage) -> Result<(), Ended> {
        match said.message {
            Some(Said::Snapshot(chunk)) => self.receive(chunk),
            Some(Said::Heartbeat(heartbeat)) => self.compare(heartbeat.head.as_ref()),
            Some(Said::InSync(_)) => {
                self.behind = 0;
                Ok(())
            }
            // A newer control plane may say more.
            None => Ok(()),
        }
    }

    fn receive(&mut self, chunk: pb::SnapshotChunk) -> Result<(), Ended> {
        self.behind = 0;
        match self.assembly.add(chunk) {
            Ok(None) => Ok(()),
            Ok(Some(whole)) => {
                self.handed = Some(whole.identity);
                self.discovery.orders.put(Order::Apply(whole));
                Ok(())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    // Told on the next stream, for what is said last on this one may be lost with it.
    fn refuse(&self, error: AssemblyError) -> Ended {
        let (identity, ended) = match error {
            // What follows would not fit together either: a new stream begins anew.
            AssemblyError::Unidentified => return Ended::Broken(error.to_string()),
            AssemblyError::Mixed(_, identity) => (identity, Ended::Broken(error.to_string())),
            AssemblyError::TooLarge(identity) => (identity, Ended::Unfit(error.to_string())),
        };
        let faults = vec![Invalid { resource: None, pointer: String::new(), detail: error.to_string() }];
        self.discovery.status.refused(&Arc::new(Refusal { identity, faults, damaged: true }));
        ended
    }

    // What was damaged on the way, or got lost, is asked for again.
    fn compare(&mut self, head: Option<&pb::Identity>) -> Result<(), Ended> {
        let head = head.and_then(Identity::from_message);
        let state = self.state.borrow();
        let refused = state.refused.as_ref().filter(|refusal| Some(refusal.identity) == head);
        let is_settled = head == state.running || refused.is_some_and(|refusal| !refusal.damaged);
        let is_at_work = self.handed.is_some() && self.handed == head && refused.is_none();
        if head.is_none() || is_settled || is_at_work {
            self.behind = 0;
            return Ok(());
        }
        self.behind += 1;
        if refused.is_some() || self.behind >= BEHIND { Err(Ended::Behind) } else { Ok(()) }
    }

    // Tells what changed since it was told last.
    fn report(&mut self, reports: &mpsc::Sender<pb::NodeMessage>) -> Result<(), Ended> {
        let state = self.state.borrow_and_update().clone();
        let running = state.running.map(|identity| (identity, state.applied, state.persisted == Some(identity)));
        if let Some((identity, _, persisted)) = running
            && running != self.told.running
        {
            self.told.running = running;
            send(reports, Report::Running(pb::Running { identity: Some((&identity).into()), persisted }))?;
        }
        if let Some(refusal) = &state.refused
            && self.told.refused.as_ref().is_none_or(|told| !Arc::ptr_eq(told, refusal))
        {
            self.told.refused = Some(refusal.clone());
            send(reports, Report::Refused(refusal.message()))?;
        }
        if state.draining != self.told.draining {
            self.told.draining = state.draining;
            send(reports, self.heartbeat())?;
        }
        if state.health != self.told.health {
            self.told.health = state.health;
            send(reports, Report::Health(self.told.health.message()))?;
        }
        Ok(())
    }

    fn heartbeat(&self) -> Report {
        let state = self.state.borrow();
        let running = state.running.as_ref().map(Into::into);
        Report::Heartbeat(pb::NodeHeartbeat { running, draining: state.draining })
    }
}

fn send(reports: &mpsc::Sender<pb::NodeMessage>, report: Report) -> Result<(), Ended> {
    reports.try_send(pb::NodeMessage { message: Some(report) }).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Ended::Deaf,
        mpsc::error::TrySendError::Closed(_) => Ended::Closed,
    })
}

// Cancelling this loses nothing: the stream keeps what it has read of a message.
async fn next(incoming: &mut Streaming<pb::ControlMessage>, deadline: Instant) -> Result<pb::ControlMessage, Ended> {
    match tokio::time::timeout_at(deadline, incoming.message()).await {
        Ok(Ok(Some(said))) => Ok(said),
        Ok(Ok(None)) => Err(Ended::Closed),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Ended::Silent),
    }
}

// === impl Ended ===

impl Ended {
    /// Whether it will hardly change by itself.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Ended::Unknown(_) | Ended::Unfit(_) => true,
            Ended::Unreachable(_)
            | Ended::Broken(_)
            | Ended::Closed
            | Ended::Silent
            | Ended::Deaf
            | Ended::Behind
            | Ended::Renews => false,
        }
    }

    pub(super) fn log(&self, plane: &http::Uri) {
        if let Ended::Renews = self {
            tracing::debug!(control_plane = %plane, "{self}");
        } else if self.is_final() {
            tracing::error!(control_plane = %plane, "no control plane: {self}; trying again slowly");
        } else {
            tracing::warn!(control_plane = %plane, "no control plane: {self}; the node goes on with what it has");
        }
    }
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Ended {
        let text = status.message().to_string();
        let refused = [Code::Unauthenticated, Code::PermissionDenied, Code::NotFound, Code::Unimplemented];
        if refused.contains(&status.code()) { Ended::Unknown(text) } else { Ended::Broken(text) }
    }
}

// === impl Refusal ===

impl Refusal {
    // A node tells the first faults: a broken configuration of any size has its reason in them.
    fn message(&self) -> pb::Refused {
        let fault = |fault: &Invalid| pb::Fault {
            resource: fault.resource.as_ref().map(ToString::to_string).unwrap_or_default(),
            pointer: fault.pointer.clone(),
            detail: fault.detail.clone(),
        };
        let faults = self.faults.iter().take(100).map(fault).collect();
        pb::Refused { identity: Some((&self.identity).into()), faults }
    }
}

// === impl HealthReport ===

impl HealthReport {
    fn message(&self) -> pb::HealthReport {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let upstreams = self.upstreams.iter().map(|upstream| {
            let down = upstream.down.iter().map(|down| pb::EndpointDown {
                address: down.address.clone(),
                reason: down.reason.into(),
                since: down.since,
            });
            pb::UpstreamHealth {
                name: upstream.name.clone(),
                endpoints: count(upstream.endpoints),
                healthy: count(upstream.healthy),
                down: down.collect(),
            }
        });
        pb::HealthReport { upstreams: upstreams.collect(), omitted: count(self.omitted) }
    }
}

/// The innermost cause, which says the most.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
