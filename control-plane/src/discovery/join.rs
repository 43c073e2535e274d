//! How a node joins: it shows the join token, or the certificate that it has, and gets a certificate with its id.
//!
//! The key never leaves the node. Certificates are good for a short time and are renewed with the one before, so the
//! join token may change while nodes run. Under the id of a node that is there nobody joins but that node, by showing its
//! certificate: the token alone takes over no id.

use super::{Discovery, accept::Peer, conversation::check_id};
use proto::pb;
use std::{future::Future, pin::Pin, sync::Arc};
use tonic::{Request, Response, Status, server::UnaryService};
use tracing::{info, warn};

/// What a node is told that shows the id of another one.
const TAKEN: &str = "a node with this id is connected, or was within 15 s, and this one does not show its certificate; \
    if it is a copy of that node, give it a data directory of its own; if it takes its place, stop that one first";

pub(super) struct JoinMethod(pub(super) Arc<Discovery>);

// === impl JoinMethod ===

impl UnaryService<pb::JoinRequest> for JoinMethod {
    type Response = pb::JoinResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<pb::JoinResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<pb::JoinRequest>) -> Self::Future {
        let discovery = self.0.clone();
        Box::pin(async move { discovery.join(&request).await.map(Response::new) })
    }
}

// === impl Discovery ===

impl Discovery {
    async fn join(&self, request: &Request<pb::JoinRequest>) -> Result<pb::JoinResponse, Status> {
        let Some(authority) = &self.admission.authority else {
            return Err(Status::unimplemented("this control plane has no authority; the join token is enough"));
        };
        let pb::JoinRequest { node_id: id, request: asked } = request.get_ref();
        check_id(id)?;
        let peer = request.extensions().get::<Peer>();
        let address = peer.and_then(|peer| peer.address).map(tracing::field::display);
        let renews = peer.and_then(|peer| peer.certificate.as_ref()).is_some_and(|shown| shown.id == *id);
        if !renews {
            self.admission.check_token(request.metadata())?;
        }
        peer.inspect(|peer| peer.let_in());
        self.admission.check_revocation(id).inspect_err(|_| {
            warn!(node.id = id, peer = address, "a revoked node may not join");
        })?;
        if !renews && self.is_taken(id).await {
            warn!(node.id = id, peer = address, "a node may not join under the id of another one that is there");
            return Err(Status::already_exists(TAKEN));
        }
        let certificate = authority.issue_node(id, asked, self.admission.certificate_life).map_err(|error| {
            warn!(node.id = id, %error, "cannot give a node a certificate");
            Status::invalid_argument(error.to_string())
        })?;
        info!(node.id = id, renews, "gave a node a certificate");
        Ok(pb::JoinResponse { certificate })
    }

    // Wherever it is connected.
    async fn is_taken(&self, id: &str) -> bool {
        let found = self.admission.fleet.page(1, |other| other == id, |_| true).await;
        found.nodes.first().is_some_and(|node| node.live)
    }
}
