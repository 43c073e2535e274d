//! The control stream: the only place of a node that speaks gRPC.
//!
//! The node dials one of the control planes, says what it has and runs, and from then on reports what becomes of what it
//! is sent. A control plane that is silent for three heartbeats is given up for the next one. Nothing here checks or
//! builds; whole configurations go to the builder, and [`super::state`] says what became of them.

mod backoff;
mod session;

use super::{Order, mailbox::Mailbox, state::Status};
use backoff::Backoff;
use http::uri::Scheme;
use proto::{pb, pb::discovery_client::DiscoveryClient};
use session::{Ended, Session};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// The most bytes of one message: a chunk, and the resource that went over it.
const MAX_MESSAGE: usize = 8 << 20;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a connection without traffic is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A stream that stood for so long was a good one.
const STEADY: Duration = Duration::from_secs(2);

/// A node's end of the control stream.
pub(crate) struct Discovery {
    planes: Vec<Endpoint>,
    token: Option<MetadataValue<Ascii>>,
    node: NodeInfo,
    status: Status,
    /// Takes whole configurations; the builder holds the other end.
    orders: Mailbox<Order>,
}

/// Who a node is.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeInfo {
    /// Its id.
    pub(crate) id: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where its status can be asked.
    pub(crate) status_address: String,
}

/// Why the settings of the control stream are wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error("{0:?} is not the URL of a control plane; write it as http://HOST:PORT")]
    Url(String),
    #[error("the join token has characters that cannot be sent")]
    Token,
}

// === impl Discovery ===

impl Discovery {
    /// A stream to one of the control planes.
    pub(crate) fn new(
        planes: &[String],
        token: Option<&str>,
        node: NodeInfo,
        status: Status,
        orders: Mailbox<Order>,
    ) -> Result<Discovery, DiscoveryError> {
        let planes: Result<_, _> =
            planes.iter().map(|url| endpoint(url).ok_or_else(|| DiscoveryError::Url(url.clone()))).collect();
        let token = token.map(|token| {
            let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| DiscoveryError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Discovery { planes: planes?, token: token.transpose()?, node, status, orders })
    }

    /// Keeps a stream to one of the control planes; ends only by being dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut told = None;
        // Nodes that start together do not all begin with the same one.
        let mut turn = fastrand::usize(..self.planes.len().max(1));
        loop {
            let Some(plane) = self.planes.get(turn % self.planes.len().max(1)) else {
                return std::future::pending().await;
            };
            let begun = Instant::now();
            let (lived, ended) = self.follow(plane).await;
            self.status.connected(false);
            if lived {
                told = None;
                // One that lets nodes in only to break is not hurried.
                if begun.elapsed() > STEADY {
                    backoff = Backoff::default();
                }
            }
            // A control plane that stays away is not told again and again.
            let text = ended.to_string();
            if told.as_ref() != Some(&text) {
                ended.log(plane.uri());
                told = Some(text);
            }
            tokio::time::sleep(if ended.is_final() { backoff.slow() } else { backoff.next() }).await;
            turn += 1;
        }
    }

    // Whether there was a stream at all, and why it ended.
    async fn follow(&self, plane: &Endpoint) -> (bool, Ended) {
        let channel = match plane.connect().await {
            Ok(channel) => channel,
            Err(error) => return (false, Ended::Unreachable(error)),
        };
        let session = Session::new(self);
        let mut lived = false;
        let ended = session.run(client(channel), plane.uri(), &mut lived).await;
        (lived, ended)
    }

    fn hello(&self) -> pb::Hello {
        pb::Hello {
            node_id: self.node.id.clone(),
            build: env!("CARGO_PKG_VERSION").into(),
            labels: self.node.labels.clone(),
            features: proto::snapshot::FEATURES.iter().map(|feature| feature.to_string()).collect(),
            running: None,
            status_address: self.node.status_address.clone(),
        }
    }
}

fn endpoint(url: &str) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_string()).ok()?;
    let uri = endpoint.uri();
    let host = uri.host().filter(|_| uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/")?;
    if !is_loopback(host) {
        tracing::warn!(control_plane = %uri, "the join token and the configuration cross the network in cleartext");
    }
    let endpoint = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).tcp_keepalive(Some(KEEP_ALIVE));
    Some(endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE).keep_alive_while_idle(true))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn client(channel: Channel) -> DiscoveryClient<Channel> {
    DiscoveryClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}
