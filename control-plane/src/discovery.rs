//! How configuration reaches the nodes: one stream each.
//!
//! Of a node only three things are kept: what was sent, what it has answered to, and where it is to go. One
//! configuration is under way at a time, then the newest; there is no queue. What is sent is encoded once a revision and
//! shared. A node that is silent for 15 s, or does not answer to a configuration within a minute, is let go; it comes
//! back by itself.

mod accept;
mod conversation;
mod frames;
mod join;
mod service;

use self::{accept::Peer, conversation::Conversation, frames::Frames, service::DiscoveryService};
use crate::{
    access::Access,
    fleet::Fleet,
    nodes::{MAX_NODES, Nodes},
    publisher::Publisher,
    settings::Token,
    telemetry::Telemetry,
    tls::{PortTls, authority::Authority},
};
use bytes::Bytes;
use proto::pb;
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming, metadata::MetadataMap, transport::Server};

/// How often a connection is asked whether it still stands.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long the answer to that may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many messages may wait for a node that reads slowly; each has at most 1 MiB.
const WINDOW: usize = 2;

/// Streams of one connection; a node needs one.
const MAX_STREAMS_A_CONNECTION: u32 = 8;

/// What the streams work on.
pub(crate) struct Discovery {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) admission: Admission,
    pub(crate) stop: CancellationToken,
    frames: Frames,
    streams: Arc<Semaphore>,
}

/// Who is let in.
pub(crate) struct Admission {
    /// What a node shows that has nothing else.
    pub(crate) join_token: Token,
    /// Gives certificates to nodes. Where there is one, a stream needs a certificate.
    pub(crate) authority: Option<Arc<Authority>>,
    /// How long they are good for.
    pub(crate) certificate_life: Duration,
    /// Knows which nodes are not let in any more.
    pub(crate) access: Arc<Access>,
    /// Knows which nodes there are.
    pub(crate) fleet: Arc<Fleet>,
}

// === impl Discovery ===

impl Discovery {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        nodes: Arc<Nodes>,
        telemetry: Arc<Telemetry>,
        admission: Admission,
        stop: CancellationToken,
    ) -> Discovery {
        let (frames, streams) = (Frames::default(), Arc::new(Semaphore::new(MAX_NODES)));
        Discovery { publisher, nodes, telemetry, admission, stop, frames, streams }
    }

    /// Serves until it is told to stop, and the streams have ended.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        tls: Option<Arc<PortTls>>,
    ) -> Result<(), tonic::transport::Error> {
        let stop = self.stop.clone();
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(Some(MAX_STREAMS_A_CONNECTION))
            .http2_max_header_list_size(Some(16 * 1024))
            .add_service(DiscoveryService::new(self))
            .serve_with_incoming_shutdown(accept::incoming(listener, tls), stop.cancelled_owned())
            .await
    }

    /// Begins the stream of a node that is let in.
    fn stream(
        self: Arc<Discovery>,
        request: Request<Streaming<pb::NodeMessage>>,
    ) -> Result<ReceiverStream<Result<Bytes, Status>>, Status> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        match self.admission.authority {
            Some(_) if peer.certificate.is_none() => {
                return Err(Status::unauthenticated(
                    "a node of this control plane joins first, and shows its certificate",
                ));
            }
            Some(_) => {}
            None => self.admission.check_token(request.metadata())?,
        }
        peer.let_in();
        let place = self.streams.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("too many nodes are connected"))?;
        let (sender, receiver) = mpsc::channel(WINDOW);
        // Ends with the stream: when the node goes, falls silent, or the control plane stops.
        tokio::spawn(async move {
            let _place = place;
            Conversation::hold(self, request.into_inner(), sender, peer).await;
        });
        Ok(ReceiverStream::new(receiver))
    }
}

// === impl Admission ===

impl Admission {
    fn check_revocation(&self, id: &str) -> Result<(), Status> {
        match self.access.is_revoked(id) {
            true => Err(revoked()),
            false => Ok(()),
        }
    }

    fn check_token(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let presented = metadata.get("authorization").map(|value| value.as_bytes());
        let presented = presented.and_then(|value| value.strip_prefix(b"Bearer "));
        match presented.is_some_and(|token| self.join_token.matches(token)) {
            true => Ok(()),
            false => Err(Status::unauthenticated("the join token is missing or wrong; see --join-token")),
        }
    }
}

/// What a node is told that is not let in any more.
fn revoked() -> Status {
    Status::permission_denied(
        "this node is revoked; it comes back when an admin admits it again (portico nodes readmit)",
    )
}
