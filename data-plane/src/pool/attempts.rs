//! What was tried, for the record of a request: balancing and retries write it, everything that tells of the request
//! reads it.

use super::{circuit::CircuitTrial, limiter::Permit, local::LocalEndpoint, retry::Outcome};
use http::StatusCode;
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    last: Option<Try>,
    // Most requests are tried once. As many as the upstream's retries allow.
    earlier: Vec<Try>,
    // As long as the record lives, the request is under way.
    pub(super) permit: Option<Permit>,
    // It tries whether the upstream is well again.
    pub(super) circuit: Option<CircuitTrial>,
}

/// One try: an endpoint was chosen, and it answered or did not.
#[derive(Debug)]
pub(crate) struct Try {
    /// Whom.
    pub(crate) endpoint: Rc<LocalEndpoint>,
    /// Its span, for the trace.
    pub(crate) span: u64,
    /// When the endpoint was chosen.
    pub(crate) begun: Instant,
    /// When a connection was there, if one had to be opened.
    pub(crate) connected: Option<Instant>,
    /// When the head of its answer was there, or it had failed, and what it was; nothing if the client left before.
    pub(crate) ended: Option<(Instant, TryEnd)>,
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryEnd {
    /// It was answered.
    Answered(StatusCode),
    /// It was not; why, as metrics name it.
    Failed(&'static str),
}

/// What the time of a request went to; the sum is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phases {
    /// From its first byte to the first choice of an endpoint: its head, policies, a wait for its turn.
    pub(crate) gateway: Duration,
    /// All tries but the last, and the pauses between them.
    pub(crate) tries: Duration,
    /// Opening a connection, if there was none.
    pub(crate) connect: Option<Duration>,
    /// From then until the head of the answer was there.
    pub(crate) upstream: Duration,
    /// From then until the answer's last byte was handed to the client.
    pub(crate) body: Duration,
}

// === impl Attempts ===

impl Attempts {
    /// How often after the first.
    pub(crate) fn retries(&self) -> u32 {
        u32::try_from(self.earlier.len()).unwrap_or(u32::MAX)
    }

    /// The last endpoint.
    pub(crate) fn endpoint(&self) -> Option<&Rc<LocalEndpoint>> {
        self.last.as_ref().map(|last| &last.endpoint)
    }

    /// All tries, in their order.
    pub(crate) fn tries(&self) -> impl Iterator<Item = &Try> {
        self.earlier.iter().chain(&self.last)
    }

    /// The status of the last answer, if the last try was answered.
    pub(crate) fn received_status(&self) -> Option<StatusCode> {
        match self.last.as_ref()?.ended?.1 {
            TryEnd::Answered(status) => Some(status),
            TryEnd::Failed(_) => None,
        }
    }

    /// What the time went to, of a request that began and ended then; nothing if no endpoint was ever chosen.
    pub(crate) fn phases(&self, begun: Instant, ended: Instant) -> Option<Phases> {
        let first = self.earlier.first().or(self.last.as_ref())?;
        let last = self.last.as_ref()?;
        let answered = last.ended.map_or(ended, |(at, _)| at);
        Some(Phases {
            gateway: first.begun.saturating_duration_since(begun),
            tries: last.begun.saturating_duration_since(first.begun),
            connect: last.connected.map(|at| at.saturating_duration_since(last.begun)),
            upstream: answered.saturating_duration_since(last.connected.unwrap_or(last.begun)),
            body: ended.saturating_duration_since(answered),
        })
    }

    /// The request is not under way any more, though its record goes on.
    pub(crate) fn let_go(&mut self) {
        (self.permit, self.circuit) = (None, None);
    }

    /// A try begins.
    pub(super) fn begin(&mut self, endpoint: &Rc<LocalEndpoint>, span: u64) {
        let next = Try { endpoint: endpoint.clone(), span, begun: Instant::now(), connected: None, ended: None };
        self.earlier.extend(self.last.replace(next));
    }

    /// It has a new connection.
    pub(super) fn connected(&mut self) {
        if let Some(last) = &mut self.last {
            last.connected = Some(Instant::now());
        }
    }

    /// It ended.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        if let Some(last) = &mut self.last {
            let end = match outcome {
                Ok(response) => TryEnd::Answered(response.status()),
                Err(error) => TryEnd::Failed(error.error().reason()),
            };
            last.ended = Some((Instant::now(), end));
        }
    }
}
