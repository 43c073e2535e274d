//! Joining: a node asks a control plane for a certificate of its own, and renews it in time.

use super::{
    Discovery,
    credential::{Credential, Request},
    plane::Plane,
    session::Ended,
};
use proto::pb;
use tonic::Code;

/// What a node shows of itself.
pub(super) enum Standing {
    /// It has not joined, or has to join again.
    Outside,
    /// It has joined.
    Joined(Credential),
}

/// What came of asking.
enum Answer {
    Given(Credential),
    /// The control plane gives none; the join token is enough.
    NotNeeded,
}

// === impl Standing ===

impl Standing {
    /// What is shown, if anything.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Standing::Joined(credential) => Some(credential),
            Standing::Outside => None,
        }
    }
}

// === impl Discovery ===

impl Discovery {
    /// Sees that the node has a certificate, where control planes give some. One that is good still outlives a control
    /// plane that cannot renew it now.
    pub(super) async fn see_to_standing(&self, plane: &Plane, standing: &mut Standing) -> Result<(), Ended> {
        if !plane.speaks_tls() || standing.credential().is_some_and(|credential| !credential.renews_in().is_zero()) {
            return Ok(());
        }
        let asked = self.ask(plane, standing.credential()).await;
        match (asked, standing) {
            (Ok(Answer::Given(credential)), standing) => {
                tracing::info!(control_plane = %plane.url(), "the node has a certificate of its own");
                *standing = Standing::Joined(credential);
                Ok(())
            }
            (Ok(Answer::NotNeeded), standing) => {
                *standing = Standing::Outside;
                Ok(())
            }
            (Err(ended), Standing::Joined(credential)) if !credential.has_ended() => {
                tracing::warn!(control_plane = %plane.url(), "the node's certificate is not renewed now: {ended}");
                credential.postpone();
                Ok(())
            }
            (Err(ended), standing) => {
                *standing = Standing::Outside;
                Err(ended)
            }
        }
    }

    async fn ask(&self, plane: &Plane, shown: Option<&Credential>) -> Result<Answer, Ended> {
        let shown = shown.filter(|credential| !credential.has_ended());
        let mut client = self.client(plane, shown).await?;
        let request = Request::new(&self.node.id).map_err(|error| Ended::Unfit(error.to_string()))?;
        let message = pb::JoinRequest { node_id: self.node.id.clone(), request: request.der.clone().into() };
        let answer = match client.join(self.authorized(message)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::Unimplemented => return Ok(Answer::NotNeeded),
            Err(status) => return Err(status.into()),
        };
        let credential = request.answered(&answer.certificate, &self.folder);
        Ok(Answer::Given(credential.map_err(|error| Ended::Unfit(error.to_string()))?))
    }
}
