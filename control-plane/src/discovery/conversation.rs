//! The conversation with one node, from its hello to its end.

use super::{
    Discovery,
    accept::{Link, Peer},
    frames, revoked,
};
use crate::{
    access::Watch,
    nodes::{EndpointDown, Introduction, LIVE_FOR, NodeHealth, Session, UpstreamHealth},
    publisher::Head,
    settings::clip,
};
use bytes::Bytes;
use proto::{
    identity::Identity,
    invalid::Invalid,
    name::Name,
    pb::{self, node_message},
    resource::{Kind, ResourceKey},
};
use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, sleep_until},
};
use tonic::{Status, Streaming};
use tracing::{debug, warn};

/// How long a node may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the control plane says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a node may take to run or refuse a configuration.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(60);

/// Configurations follow each other at least so far apart.
const PUSH_PAUSE: Duration = Duration::from_millis(10);

/// The most faults of one refusal that are kept.
const MAX_FAULTS: usize = 100;

/// The most upstreams of a report on health, and endpoints of one, that are kept.
const MAX_UPSTREAMS: usize = 100;
const MAX_DOWN: usize = 16;

pub(super) struct Conversation {
    discovery: Arc<Discovery>,
    session: Session,
    // The node's own.
    id: String,
    // Whether it is let in still.
    revocations: Watch,
    head: watch::Receiver<Arc<Head>>,
    // What the node has, or has refused: it is not sent again.
    settled: Option<Identity>,
    // What was sent and not answered to, and until when it has to be.
    under_way: Option<(Identity, Instant)>,
    // What of it is still to be sent.
    outgoing: VecDeque<Bytes>,
    // Not before then is the next configuration sent.
    next_push: Instant,
    // What the node shows contradicts the head, and the database could not be asked why.
    disputed: Option<Identity>,
    // Who can read what is sent.
    link: Link,
    // When the certificate of the node ends, if it has one.
    certificate_ends: Option<Instant>,
}

/// Why a conversation ends; `None`: the node has gone.
type End = Option<Status>;

// === impl Conversation ===

impl Conversation {
    pub(super) async fn hold(
        discovery: Arc<Discovery>,
        mut incoming: Streaming<pb::NodeMessage>,
        sender: mpsc::Sender<Result<Bytes, Status>>,
        peer: Peer,
    ) {
        let end = match Conversation::begin(discovery, &mut incoming, peer).await {
            Ok(conversation) => conversation.go_on(&mut incoming, &sender).await,
            Err(status) => Some(status),
        };
        if let Some(status) = end {
            // A node that does not read does not need to know.
            let _ = sender.try_send(Err(status));
        }
    }

    async fn begin(
        discovery: Arc<Discovery>,
        incoming: &mut Streaming<pb::NodeMessage>,
        peer: Peer,
    ) -> Result<Conversation, Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello within 5 s"))??;
        let Some(node_message::Message::Hello(hello)) = first.and_then(|message| message.message) else {
            return Err(Status::invalid_argument("the first message has to be a hello"));
        };
        let running = hello.running.as_ref().map(identity).transpose()?;
        let ends = peer.certificate.as_ref().map(|shown| until(shown.ends));
        let (address, link) = (peer.address, peer.link);
        let who = introduction(hello, running, peer)?;
        discovery.admission.check_revocation(&who.id).inspect_err(|_| {
            warn!(node.id = who.id, peer = address.map(tracing::field::display), "a revoked node is not let in");
        })?;
        let (id, revocations) = (who.id.clone(), discovery.admission.access.watch());
        let session = discovery.nodes.connect(who).map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let head = discovery.publisher.subscribe();
        let mut conversation = Conversation {
            session,
            id,
            revocations,
            head,
            settled: running,
            under_way: None,
            outgoing: VecDeque::new(),
            next_push: Instant::now(),
            disputed: None,
            link,
            certificate_ends: ends,
            discovery,
        };
        if let Some(running) = running {
            conversation.look_into(running).await;
        }
        let head = conversation.discovery.publisher.head();
        if conversation.settled == Some(head.identity) {
            conversation.outgoing.push_back(frames::in_sync(&head.identity));
        }
        Ok(conversation)
    }

    async fn go_on(
        mut self,
        incoming: &mut Streaming<pb::NodeMessage>,
        sender: &mpsc::Sender<Result<Bytes, Status>>,
    ) -> End {
        let stop = self.discovery.stop.clone();
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_at = Instant::now() + LIVE_FOR;
        let certificate_ends = self.certificate_ends.unwrap_or_else(Instant::now);
        loop {
            let push_due = self.push_due();
            let verdict_at = self.under_way.map_or_else(|| Instant::now() + VERDICT_TIMEOUT, |(_, until)| until);
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        silent_at = Instant::now() + LIVE_FOR;
                        if let Err(status) = self.hear(message).await {
                            return Some(status);
                        }
                    }
                    Ok(None) => return None,
                    Err(status) => {
                        debug!(%status, "a node's stream broke");
                        return None;
                    }
                },
                place = sender.reserve(), if !self.outgoing.is_empty() => {
                    let Ok(place) = place else { return None };
                    if let Some(frame) = self.outgoing.pop_front() {
                        place.send(Ok(frame));
                        // A slow link takes its time; the node's own begins with the last frame.
                        if let Some((_, until)) = &mut self.under_way {
                            *until = Instant::now() + VERDICT_TIMEOUT;
                        }
                    }
                }
                () = sleep_until(self.next_push), if push_due => self.push().await,
                changed = self.head.changed(), if !push_due => {
                    if changed.is_err() {
                        return Some(Status::unavailable("the control plane stops"));
                    }
                }
                _ = heartbeat.tick() => self.beat().await,
                () = sleep_until(silent_at) => return Some(Status::deadline_exceeded("the node was silent for 15 s")),
                () = sleep_until(verdict_at), if self.under_way.is_some() => {
                    return Some(Status::deadline_exceeded("the node did not answer to a configuration"));
                }
                () = sleep_until(certificate_ends), if self.certificate_ends.is_some() => {
                    return Some(Status::unauthenticated("the certificate of the node has ended"));
                }
                () = self.revocations.revoked(&self.id) => {
                    warn!(node.id = self.id, "the stream of a node ends, for it was revoked");
                    return Some(revoked());
                }
                () = self.session.superseded() => {
                    return Some(Status::aborted("another stream of this node has begun"));
                }
                () = stop.cancelled() => return Some(Status::unavailable("the control plane stops")),
            }
        }
    }

    // One configuration is under way at a time.
    fn push_due(&self) -> bool {
        self.under_way.is_none()
            && self.disputed.is_none()
            && self.outgoing.is_empty()
            && self.settled != Some(self.head.borrow().identity)
    }

    async fn push(&mut self) {
        let head = self.head.borrow_and_update().clone();
        if self.link == Link::Open && self.discovery.frames.hold_secrets(&head).await {
            // It goes on with what it has, and gets the next that holds none.
            self.session.refused(head.identity, vec![unsendable()]);
            self.settled = Some(head.identity);
            return;
        }
        let frames = self.discovery.frames.of(&head).await;
        self.outgoing.extend(frames.iter().cloned());
        let now = Instant::now();
        self.under_way = Some((head.identity, now + VERDICT_TIMEOUT));
        self.next_push = now + PUSH_PAUSE;
        self.discovery.telemetry.pushed();
    }

    async fn beat(&mut self) {
        // Never between the pieces of a configuration.
        if self.outgoing.is_empty() {
            let head = self.head.borrow().identity;
            self.outgoing.push_back(frames::heartbeat(&head));
        }
        if let Some(shown) = self.disputed {
            self.look_into(shown).await;
        }
    }

    async fn hear(&mut self, message: pb::NodeMessage) -> Result<(), Status> {
        match message.message {
            Some(node_message::Message::Hello(_)) => Err(Status::invalid_argument("a hello comes once")),
            Some(node_message::Message::Running(running)) => {
                let identity = required(running.identity.as_ref())?;
                self.session.running(identity, running.persisted);
                self.settle(identity);
                Ok(())
            }
            Some(node_message::Message::Refused(refused)) => {
                let shown = required(refused.identity.as_ref())?;
                // One is under way at a time, so that is what was refused, even when its identity was damaged as well.
                let identity = self.under_way.map_or(shown, |(sent, _)| sent);
                let faults = refused.faults.into_iter().take(MAX_FAULTS).map(fault).collect();
                self.session.refused(identity, faults);
                self.settle(identity);
                Ok(())
            }
            Some(node_message::Message::Heartbeat(heartbeat)) => {
                let running = heartbeat.running.as_ref().map(identity).transpose()?;
                self.session.heartbeat(running, heartbeat.draining);
                if let Some(running) = running {
                    self.look_into(running).await;
                }
                Ok(())
            }
            Some(node_message::Message::Health(report)) => {
                self.session.health(health(report));
                Ok(())
            }
            // Of a newer node: it is there, whatever it says.
            None => {
                self.session.heartbeat(None, false);
                Ok(())
            }
        }
    }

    fn settle(&mut self, identity: Identity) {
        if self.under_way.is_some_and(|(under_way, _)| under_way == identity) {
            self.under_way = None;
            self.settled = Some(identity);
        }
    }

    // Nothing is sent to a node that has what this database never had, until that is understood.
    async fn look_into(&mut self, shown: Identity) {
        self.disputed = match self.discovery.publisher.look_into(&shown).await {
            Ok(()) => None,
            Err(error) => {
                warn!(%error, %shown, "a node contradicts the head, and it cannot be found out why");
                Some(shown)
            }
        };
    }
}

/// Node ids stand in logs, in paths and in certificates.
pub(super) fn check_id(id: &str) -> Result<(), Status> {
    match (1..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Status::invalid_argument("a node id has 1 to 64 visible ASCII characters")),
    }
}

// The monotonic clock's for that time; what lies in the past is now.
fn until(time: OffsetDateTime) -> Instant {
    let left = time - OffsetDateTime::now_utc();
    Instant::now() + left.try_into().unwrap_or(Duration::ZERO)
}

fn introduction(hello: pb::Hello, running: Option<Identity>, peer: Peer) -> Result<Introduction, Status> {
    check_id(&hello.node_id)?;
    if peer.certificate.is_some_and(|shown| shown.id != hello.node_id) {
        return Err(Status::permission_denied("the certificate is that of another node"));
    }
    let too_long = |text: &String| text.len() > 256;
    if hello.labels.len() > 32 || hello.labels.iter().any(|(key, value)| too_long(key) || too_long(value)) {
        return Err(Status::invalid_argument("a node has at most 32 labels of at most 256 characters"));
    }
    Ok(Introduction {
        id: hello.node_id,
        build: clip(hello.build, 64),
        labels: hello.labels,
        peer: peer.address.map(|address| address.to_string()),
        status_address: reachable(clip(hello.status_address, 256), peer.address),
        running,
    })
}

// Bound to every address of its machine, a node does not know by which of them it is reached; its stream comes from one.
fn reachable(status_address: String, peer: Option<SocketAddr>) -> Option<String> {
    let bound = status_address.parse::<SocketAddr>().ok().filter(|bound| bound.ip().is_unspecified());
    match (bound, peer) {
        (Some(bound), Some(peer)) => Some(SocketAddr::new(peer.ip().to_canonical(), bound.port()).to_string()),
        (Some(_), None) | (None, _) => Some(status_address).filter(|address| !address.is_empty()),
    }
}

// What a node may say is bounded here as well as there.
fn health(report: pb::HealthReport) -> NodeHealth {
    let down = |down: pb::EndpointDown| EndpointDown {
        address: clip(down.address, 300),
        reason: clip(down.reason, 64),
        since: OffsetDateTime::from_unix_timestamp_nanos(i128::from(down.since) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
    };
    let upstream = |upstream: pb::UpstreamHealth| UpstreamHealth {
        name: clip(upstream.name, 64),
        endpoints: upstream.endpoints,
        healthy: upstream.healthy,
        down: upstream.down.into_iter().take(MAX_DOWN).map(down).collect(),
    };
    let upstreams = report.upstreams.into_iter().take(MAX_UPSTREAMS).map(upstream).collect();
    NodeHealth { upstreams, omitted: report.omitted }
}

// In the place of a node's own refusal, so that whoever waits for the node learns it.
fn unsendable() -> Invalid {
    const DETAIL: &str = "not sent to this node: the configuration holds secrets, and the node is connected in cleartext, \
                          where others could read them; give the control plane --tls-ca-dir, and the node an https URL";
    Invalid { resource: None, pointer: String::new(), detail: DETAIL.into() }
}

fn required(message: Option<&pb::Identity>) -> Result<Identity, Status> {
    identity(message.ok_or_else(|| Status::invalid_argument("an identity is missing"))?)
}

fn identity(message: &pb::Identity) -> Result<Identity, Status> {
    Identity::from_message(message).ok_or_else(|| Status::invalid_argument("an identity has parts of a wrong length"))
}

fn fault(fault: pb::Fault) -> Invalid {
    let parsed = fault
        .resource
        .split_once('/')
        .and_then(|(kind, name)| Some(ResourceKey::new(Kind::parse(kind)?, Name::parse(name).ok()?)));
    Invalid { resource: parsed, pointer: clip(fault.pointer, 1_024), detail: clip(fault.detail, 1_024) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, peer: Option<&str>, expect: Option<&str>) {
        let reached = reachable(bound.into(), peer.map(|peer| peer.parse().unwrap()));
        assert_eq!(reached.as_deref(), expect, "{bound} from {peer:?}");
    }

    #[test]
    fn a_status_port_on_every_address_is_reached_where_the_stream_comes_from() {
        check("0.0.0.0:7090", Some("10.0.0.7:40000"), Some("10.0.0.7:7090"));
        check("[::]:7090", Some("[2001:db8::7]:40000"), Some("[2001:db8::7]:7090"));
        check("[::]:7090", Some("[::ffff:10.0.0.7]:40000"), Some("10.0.0.7:7090"));
    }

    #[test]
    fn what_a_node_knows_of_its_status_port_is_left_as_it_is() {
        check("127.0.0.1:7090", Some("10.0.0.7:40000"), Some("127.0.0.1:7090"));
        check("node-7.example:7090", Some("10.0.0.7:40000"), Some("node-7.example:7090"));
        check("0.0.0.0:7090", None, Some("0.0.0.0:7090"));
        check("", Some("10.0.0.7:40000"), None);
    }
}
