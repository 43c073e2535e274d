//! The certificate that a client showed when it connected, and proved to have the key of.
//!
//! Whether anybody vouches for it, policies say, each by its own authorities. To follow a chain of signatures costs more
//! than all the rest of a request: what a policy said is kept with the connection, for a while.

use crate::principal::Principal;
use proto::policy::{self, Distrust};
use rustls::pki_types::CertificateDer;
use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// The most judgements that are kept; hardly ever a connection meets two policies.
const MAX_JUDGEMENTS: usize = 8;
/// How long one holds: a certificate may expire while its connection stands.
const HOLDS: Duration = Duration::from_secs(30);

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// It is not.
    Unasked,
    /// It is, and need not have one.
    Asked,
}

/// What a client showed.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    // Its own first.
    chain: Vec<CertificateDer<'static>>,
    judgements: RefCell<Vec<Judgement>>,
}

/// Whose it is, or why a policy does not say so.
pub(crate) type Judged = Result<Rc<Principal>, Distrust>;

#[derive(Debug)]
struct Judgement {
    // Held, so that no other has its address.
    by: Arc<policy::ClientCertificate>,
    at: Instant,
    judged: Judged,
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// A chain that a client showed.
    pub(crate) fn shown(chain: &[CertificateDer<'_>]) -> ClientCertificate {
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        ClientCertificate { chain, judgements: RefCell::default() }
    }

    /// What the policy says of it; it is asked if it did not say so a moment ago.
    pub(crate) fn judge(
        &self,
        by: &Arc<policy::ClientCertificate>,
        now: Instant,
        ask: impl FnOnce(&[CertificateDer<'static>]) -> Judged,
    ) -> Judged {
        let mut judgements = self.judgements.borrow_mut();
        judgements.retain(|judgement| now.saturating_duration_since(judgement.at) < HOLDS);
        if let Some(known) = judgements.iter().find(|judgement| Arc::ptr_eq(&judgement.by, by)) {
            return known.judged.clone();
        }
        let judged = ask(&self.chain);
        if judgements.len() < MAX_JUDGEMENTS {
            judgements.push(Judgement { by: by.clone(), at: now, judged: judged.clone() });
        }
        judged
    }
}
