//! One call to an upstream: pick an endpoint, take or open a connection, send. What did not go well is looked at apart
//! ([`Tries`]), so that all else pays nothing for it.
//!
//! A connection that was used before and turns out to be closed costs no try: a server may close an idle connection at any
//! time, and that is nobody's fault.

use super::{
    Affinity,
    attempts::Attempts,
    connect::{Dial, connect},
    connection::{Connection, SendError},
    download::DownloadBody,
    health::Moment,
    http2,
    judge::Verdict,
    limiter::{Entry, Permit},
    live::Lack,
    local::{InFlight, LocalEndpoint, LocalPool, Picked, Upstreams},
    retry::{Outcome, Tries},
    switch::Upgrade,
};
use crate::{
    context::{Peer, Trace, UploadBody},
    error::Error,
};
use http::{HeaderMap, Method, Response, uri::PathAndQuery};
use proto::upstream::{Protocol, Retry, Timeouts};
use std::{
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

/// A request as the upstream sees it.
pub(crate) struct Outgoing<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) target: &'a PathAndQuery,
    /// All headers, but for those that frame the body or belong to the connection.
    pub(crate) headers: &'a HeaderMap,
    /// What the upstream is asked to switch to; never of one that speaks HTTP/2.
    pub(crate) upgrade: Option<&'a Upgrade>,
    /// The trace that it belongs to.
    pub(crate) trace: &'a Trace,
}

/// A call.
pub(crate) struct Call<'a> {
    /// What the worker has of upstreams.
    pub(crate) upstreams: &'a Upstreams,
    /// Whom.
    pub(crate) pool: &'a LocalPool,
    /// Which of the endpoints, as far as the request has a say in it.
    pub(crate) affinity: Affinity,
    /// What.
    pub(crate) outgoing: Outgoing<'a>,
    /// How many tries may follow the first, where that is not the upstream's to say.
    pub(crate) retries: Option<u32>,
    /// Its deadlines.
    pub(crate) timeouts: Timeouts<Duration>,
    /// The longest silence of the client within the body.
    pub(crate) client_idle: Duration,
    /// On whose behalf; the timer is that of the client's connection.
    pub(crate) peer: &'a Rc<Peer>,
}

// The wait for a permit.
type Turn<'a> = Pin<Box<dyn Future<Output = Result<Permit, Error>> + 'a>>;

/// Calls an upstream.
pub(crate) async fn call(
    call: &Call<'_>,
    body: &mut Option<UploadBody>,
    attempts: &mut Attempts,
) -> Result<Response<DownloadBody>, Error> {
    call.pool.count_request();
    call.peer.wire.set_due(None);
    let has_body = body.is_some();
    if let Some(body) = body
        && (call.may_repeat() || call.pool.pool.spec.protocol != Protocol::Http1)
    {
        body.keep(call.retry().buffer);
    }
    if let Some(turn) = call.enter(attempts)? {
        attempts.permit = Some(turn.await?);
    }
    let Picked { endpoint, trial } = match call.upstreams.pick(call.pool, call.affinity, &[]) {
        Ok(picked) => picked,
        Err(Lack::Error(error)) => return Err(error),
        // Boxed, for it hardly ever happens.
        Err(Lack::Pending) => Box::pin(call.await_endpoint()).await?,
    };
    if call.pool.pool.spec.circuit_breaker.is_some() {
        attempts.circuit = call.pool.pool.circuit.pass(Moment::now()).map_err(circuit_open)?;
    }
    // In a block, so that what is in it is not there while more is tried.
    let tries = {
        let outcome = attempt(call, &endpoint, body, attempts).await;
        let verdict = Verdict::of(&outcome, &call.pool.pool.spec);
        call.pool.pool.judge(&endpoint.endpoint, verdict, trial);
        call.pool.pool.note(&outcome, attempts.circuit.take());
        match outcome {
            Ok(response) if !call.retry().answers.contain(response.status()) => return Ok(response),
            outcome => tries(call, &endpoint, outcome, (has_body, body), attempts),
        }
    };
    tries.await.map_err(SendError::into_error)
}

fn circuit_open(left: Duration) -> Error {
    Error::CircuitOpen(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
}

// Boxed, and in a function of its own, for it hardly ever happens: nothing of it is in the future of a call.
fn tries<'a>(
    call: &'a Call<'_>,
    endpoint: &'a LocalEndpoint,
    outcome: Outcome,
    (has_body, body): (bool, &'a mut Option<UploadBody>),
    attempts: &'a mut Attempts,
) -> Pin<Box<impl Future<Output = Outcome> + 'a>> {
    Box::pin(Tries { call, has_body, body, tried: Vec::new(), attempts }.go_on(endpoint, outcome))
}

/// One try.
pub(super) async fn attempt(
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    body: &mut Option<UploadBody>,
    attempts: &mut Attempts,
) -> Outcome {
    let span = call.upstreams.span();
    attempts.begin(endpoint, span);
    let outcome = match call.pool.pool.spec.protocol {
        Protocol::Http1 => send(call, endpoint, span, body, attempts).await,
        protocol @ Protocol::Http2 { .. } => http2::send(call, endpoint, (protocol, span), body, attempts).await,
    };
    attempts.end(&outcome);
    outcome
}

async fn send(
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    span: u64,
    body: &mut Option<UploadBody>,
    attempts: &mut Attempts,
) -> Outcome {
    let has_body = body.is_some();
    // What is to be switched begins on a connection of its own.
    if call.outgoing.upgrade.is_none()
        && let Some(connection) = endpoint.take_idle()
    {
        match connection.send(call, span, body, InFlight::new(endpoint.clone())).await {
            Ok(response) => return Ok(response),
            Err(error) if call.is_repeatable(&error, has_body == body.is_some()) => {}
            Err(error) => return Err(error),
        }
    }
    let (stream, seat) = connect(endpoint, &call.dial()).await.map_err(SendError::Unsent)?;
    attempts.connected();
    Connection::new(stream, seat).send(call, span, body, InFlight::new(endpoint.clone())).await
}

// === impl Call ===

impl Call<'_> {
    // The first requests of an upstream wait for its name, as long as they would for a connection.
    async fn await_endpoint(&self) -> Result<Picked, Error> {
        let vitals = self.pool.pool.vitals();
        loop {
            // Before it looks, so that no change is missed.
            let mut changed = pin!(vitals.changed());
            changed.as_mut().enable();
            match self.upstreams.pick(self.pool, self.affinity, &[]) {
                Ok(picked) => return Ok(picked),
                Err(Lack::Error(error)) => return Err(error),
                Err(Lack::Pending) => {}
            }
            self.peer.wire.limit(self.timeouts.connect, changed).await.map_err(|_| Error::Resolve)?;
        }
    }

    // Where requests at once are bounded: it goes on, or has to await its turn.
    fn enter(&self, attempts: &mut Attempts) -> Result<Option<Turn<'_>>, Error> {
        let Some(limit) = self.pool.pool.spec.concurrency else { return Ok(None) };
        match self.pool.pool.limiter.enter(limit) {
            Entry::Permit(permit) => attempts.permit = Some(permit),
            Entry::Place(place) => {
                let turn = self.peer.wire.limit(limit.wait, place.turn(limit));
                return Ok(Some(Box::pin(async { turn.await.map_err(|_| Error::QueueTimeout) })));
            }
            Entry::Full => return Err(Error::QueueFull),
        }
        Ok(None)
    }

    /// What a new connection is subject to.
    pub(super) fn dial(&self) -> Dial<'_> {
        Dial {
            wire: &self.peer.wire,
            max_connections: self.pool.pool.spec.max_connections,
            within: self.timeouts.connect,
        }
    }

    /// What the operator said of further tries.
    pub(super) fn retry(&self) -> &Retry {
        &self.pool.pool.spec.retry
    }

    /// How long a try may take to be answered once it was sent.
    pub(super) fn answer_within(&self) -> Duration {
        let response = self.timeouts.response;
        self.retry().per_try.map_or(response, |per_try| per_try.min(response))
    }

    /// The request was sent whole, and its connection waits for the answer so long: from the first time on it is for all
    /// tries that the time runs.
    pub(super) fn awaits_answer(&self, within: Duration) {
        let wire = &self.peer.wire;
        if wire.due().is_none() {
            let rest = self.timeouts.response.saturating_sub(within);
            wire.set_due(wire.deadline().map(|deadline| deadline + rest));
        }
    }

    /// Whether the request may be sent again although it may have arrived.
    pub(super) fn may_repeat(&self) -> bool {
        self.outgoing.upgrade.is_none() && self.retry().may_repeat(self.outgoing.method)
    }

    /// Whether the request may be sent again at once after that, its body being there as it was.
    pub(super) fn is_repeatable(&self, error: &SendError, whole: bool) -> bool {
        whole
            && match error {
                SendError::Unsent(_) => true,
                SendError::Unanswered(_) => self.may_repeat(),
                SendError::Late(_) | SendError::Final(_) => false,
            }
    }
}
