//! The control stream: the only place of a node that speaks gRPC.
//!
//! The node dials one of the control planes, says what it has and runs, and from then on reports what becomes of what it
//! is sent. A control plane that is silent for three heartbeats is given up for the next one. Nothing here checks or
//! builds; whole configurations go to the builder, and [`super::state`] says what became of them.

mod backoff;
mod credential;
mod join;
mod plane;
mod session;

use super::{Order, mailbox::Mailbox, state::Status};
use crate::settings::Secret;
use backoff::Backoff;
use credential::Credential;
use join::Standing;
use plane::{Plane, Trust};
use proto::{pb, pb::discovery_client::DiscoveryClient};
use session::{Ended, Session};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// The most bytes of one message: a chunk, and the resource that went over it.
const MAX_MESSAGE: usize = 8 << 20;
/// A certificate is shown for at least so long, whatever the clock says, before it is renewed.
const SHOWN: Duration = Duration::from_secs(1);

/// A stream that stood for so long was a good one.
const STEADY: Duration = Duration::from_secs(2);

/// A node's end of the control stream.
pub(crate) struct Discovery {
    planes: Vec<Plane>,
    trust: Trust,
    token: Option<MetadataValue<Ascii>>,
    /// Where the node's certificate is kept.
    folder: PathBuf,
    node: NodeInfo,
    status: Status,
    /// Takes whole configurations; the builder holds the other end.
    orders: Mailbox<Order>,
}

/// How control planes are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// Their URLs.
    pub(crate) urls: Vec<String>,
    /// The authorities whose certificates they may show, PEM; without it those of the system.
    pub(crate) authorities: Option<PathBuf>,
    /// The fleet's join token.
    pub(crate) token: Option<Secret>,
    /// The node's data directory, where its certificate is kept.
    pub(crate) folder: PathBuf,
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
    #[error("{0:?} is not the URL of a control plane; write it as https://HOST:PORT or http://HOST:PORT")]
    Url(String),
    #[error("the join token has characters that cannot be sent")]
    Token,
}

// === impl Discovery ===

impl Discovery {
    /// A stream to one of the control planes.
    pub(crate) fn new(
        reach: Reach,
        node: NodeInfo,
        status: Status,
        orders: Mailbox<Order>,
    ) -> Result<Discovery, DiscoveryError> {
        let Reach { urls, authorities, token, folder } = reach;
        let planes = urls.into_iter().map(|url| Plane::parse(&url).ok_or(DiscoveryError::Url(url)));
        let planes = planes.collect::<Result<Vec<_>, _>>()?;
        let token = token.map(|token| {
            let text = format!("Bearer {}", token.expose());
            let mut value = MetadataValue::try_from(text).map_err(|_| DiscoveryError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let trust = Trust::new(authorities, &planes);
        Ok(Discovery { planes, trust, token: token.transpose()?, folder, node, status, orders })
    }

    /// Keeps a stream to one of the control planes; ends only by being dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut told = None;
        let mut standing = Credential::load(&self.folder).map_or(Standing::Outside, Standing::Joined);
        // Nodes that start together do not all begin with the same one.
        let mut turn = fastrand::usize(..self.planes.len().max(1));
        loop {
            let Some(plane) = self.planes.get(turn % self.planes.len().max(1)) else {
                return std::future::pending().await;
            };
            let begun = Instant::now();
            let (lived, ended) = self.follow(plane, &mut standing).await;
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
                ended.log(plane.url());
                told = Some(text);
            }
            tokio::time::sleep(if ended.is_final() { backoff.slow() } else { backoff.next() }).await;
            turn += 1;
        }
    }

    // Whether there was a stream at all, and why it ended.
    async fn follow(&self, plane: &Plane, standing: &mut Standing) -> (bool, Ended) {
        let mut lived = false;
        let ended = match self.hold(plane, standing, &mut lived).await {
            Ok(ended) | Err(ended) => ended,
        };
        // A certificate that is not taken, of another authority or of a node that was removed, is asked for anew.
        if !lived && !matches!(ended, Ended::Unreachable(_)) {
            *standing = Standing::Outside;
        }
        (lived, ended)
    }

    async fn hold(&self, plane: &Plane, standing: &mut Standing, lived: &mut bool) -> Result<Ended, Ended> {
        self.see_to_standing(plane, standing).await?;
        let credential = standing.credential();
        let client = self.client(plane, credential).await?;
        let renewal = credential.map(|credential| credential.renews_in().max(SHOWN));
        let session = Session::new(self).run(client, plane.url(), lived);
        Ok(match renewal {
            None => session.await,
            Some(renewal) => tokio::time::timeout(renewal, session).await.unwrap_or(Ended::Renews),
        })
    }

    async fn client(&self, plane: &Plane, shown: Option<&Credential>) -> Result<DiscoveryClient<Channel>, Ended> {
        let channel = plane.dial(&self.trust, shown).await?;
        Ok(DiscoveryClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    fn authorized<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
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
