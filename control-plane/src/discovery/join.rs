//! How a node joins: it shows the join token, or the certificate that it has, and gets a certificate with its id.
//!
//! The key never leaves the node. Certificates are good for a short time and are renewed with the one before, so the
//! join token may change while nodes run.

use super::{Discovery, accept::Peer, conversation::check_id};
use proto::pb;
use std::{future::Future, pin::Pin, sync::Arc};
use tonic::{Request, Response, Status, server::UnaryService};
use tracing::{info, warn};

pub(super) struct JoinMethod(pub(super) Arc<Discovery>);

// === impl JoinMethod ===

impl UnaryService<pb::JoinRequest> for JoinMethod {
    type Response = pb::JoinResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<pb::JoinResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<pb::JoinRequest>) -> Self::Future {
        let joined = self.0.join(&request);
        Box::pin(std::future::ready(joined.map(Response::new)))
    }
}

// === impl Discovery ===

impl Discovery {
    fn join(&self, request: &Request<pb::JoinRequest>) -> Result<pb::JoinResponse, Status> {
        let Some(authority) = &self.admission.authority else {
            return Err(Status::unimplemented("this control plane has no authority; the join token is enough"));
        };
        let pb::JoinRequest { node_id: id, request: asked } = request.get_ref();
        check_id(id)?;
        let peer = request.extensions().get::<Peer>();
        let renews = peer.and_then(|peer| peer.certificate.as_ref()).is_some_and(|shown| shown.id == *id);
        if !renews {
            self.admission.check_token(request.metadata())?;
        }
        let certificate = authority.issue_node(id, asked, self.admission.certificate_life).map_err(|error| {
            warn!(node.id = id, %error, "cannot give a node a certificate");
            Status::invalid_argument(error.to_string())
        })?;
        info!(node.id = id, renews, "gave a node a certificate");
        Ok(pb::JoinResponse { certificate })
    }
}
