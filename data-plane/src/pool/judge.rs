//! Judges an endpoint by what requests to it come to: ejects it after failures in a row, and lets one request find out
//! whether it may come back.

use super::{
    Endpoint, Pool,
    circuit::CircuitTrial,
    connection::SendError,
    health::{Cause, Moment},
};
use crate::error::{Error, Fault};
use http::Response;
use proto::upstream::{CountedAnswers, Ejection, Upstream};
use std::sync::Arc;

/// What a try says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is well.
    Well,
    /// It is not.
    Failed(Cause),
    /// Nothing: what went wrong was another's fault.
    Nothing,
}

/// The trial of an endpoint after its ejection. Dropped without a verdict, another may try.
#[derive(Debug)]
pub(super) struct Trial(Arc<Endpoint>);

// === impl Verdict ===

impl Verdict {
    /// The verdict of a try on its endpoint.
    pub(super) fn of<B>(outcome: &Result<Response<B>, SendError>, upstream: &Upstream) -> Verdict {
        Verdict::by(upstream.ejection.as_ref().map_or(CountedAnswers::None, |ejection| ejection.answers), outcome)
    }

    fn by<B>(answers: CountedAnswers, outcome: &Result<Response<B>, SendError>) -> Verdict {
        let counts = |status| answers.count(status);
        match outcome {
            Ok(response) if counts(response.status()) => Verdict::Failed(Cause::Status),
            Ok(_) => Verdict::Well,
            Err(error) => cause(error.error()).map_or(Verdict::Nothing, Verdict::Failed),
        }
    }
}

/// What the endpoint did, if it was its fault.
fn cause(error: &Error) -> Option<Cause> {
    if error.fault() != Fault::Upstream || matches!(error, Error::Resolve | Error::NoHealthyEndpoint) {
        None
    } else if matches!(error, Error::ConnectRefused) {
        Some(Cause::Connect)
    } else if matches!(error, Error::ConnectTimeout | Error::ResponseTimeout) {
        Some(Cause::Timeout)
    } else {
        Some(Cause::Broken)
    }
}

// === impl Trial ===

impl Trial {
    /// Begins it, if the time is over and nobody else has.
    pub(super) fn begin(endpoint: &Arc<Endpoint>, now: Moment) -> Option<Trial> {
        endpoint.health.begin_trial(now).then(|| Trial(endpoint.clone()))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.health.give_up_trial(Moment::now());
    }
}

// === impl Pool ===

impl Pool {
    /// Takes note of what a try came to.
    pub(super) fn judge(&self, endpoint: &Endpoint, verdict: Verdict, trial: Option<Trial>) {
        if matches!(verdict, Verdict::Failed(Cause::Connect | Cause::Timeout)) {
            // The name may stand for another address by now.
            endpoint.wanted.notify_one();
        }
        let Some(ejection) = &self.spec.ejection else { return };
        match (verdict, &trial) {
            (Verdict::Well, None) => endpoint.health.succeeded(),
            (Verdict::Well, Some(_)) => {
                endpoint.health.pass_trial(Moment::now());
                tracing::info!(upstream.name = %self.name(), endpoint = endpoint.as_str(), "an endpoint is back");
            }
            (Verdict::Failed(cause), None) => {
                if endpoint.health.failed() >= ejection.consecutive_failures {
                    self.eject(endpoint, ejection, cause);
                }
            }
            (Verdict::Failed(_), Some(_)) => endpoint.health.fail_trial(Moment::now(), ejection, fastrand::f32()),
            (Verdict::Nothing, None | Some(_)) => {}
        }
    }

    /// Takes note of what a try came to for the upstream as a whole.
    pub(super) fn note<B>(&self, outcome: &Result<Response<B>, SendError>, trial: Option<CircuitTrial>) {
        let Some(breaker) = &self.spec.circuit_breaker else { return };
        let (verdict, now, name) = (Verdict::by(breaker.answers, outcome), Moment::now(), self.name());
        match (verdict, trial) {
            (Verdict::Nothing, None | Some(_)) => {}
            (Verdict::Well, Some(trial)) => {
                trial.pass(now);
                tracing::info!(upstream.name = %name, "an upstream gets requests again");
            }
            (Verdict::Failed(_), Some(trial)) => trial.fail(breaker, now, fastrand::f32()),
            (verdict, None) => {
                let failed = verdict != Verdict::Well;
                if self.circuit.note(breaker, failed, now, fastrand::f32()) {
                    tracing::warn!(upstream.name = %name, "an upstream gets no requests, for too many failed");
                }
            }
        }
    }

    fn eject(&self, endpoint: &Endpoint, ejection: &Ejection, cause: Cause) {
        let health = &endpoint.health;
        if !health.eject(Moment::now(), ejection, fastrand::f32()) {
            return;
        }
        // Counted afterwards: of two that eject at once, both see both, and so too few are ejected rather than too many.
        let members = self.members().0;
        let out = members.iter().filter(|member| member.endpoint.health.is_out()).count();
        if out > ejection.most(members.len()) {
            health.pardon();
            return;
        }
        health.proclaim(cause);
        let (upstream, address) = (self.name(), endpoint.as_str());
        tracing::warn!(upstream.name = %upstream, endpoint = address, cause = cause.as_str(), "an endpoint is ejected");
    }
}
