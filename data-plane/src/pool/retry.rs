//! Further tries: whether there is one, when, and of which endpoint.
//!
//! A request that reached nobody is tried again whatever it is. One that may have arrived is only if its method may be
//! repeated, its body is there as it was, and the budget of the upstream has room; so what is wrong with all endpoints is
//! not made worse. Whoever gets here has failed once already: it may cost something.

use super::{
    attempts::Attempts,
    call::{Call, attempt},
    connection::SendError,
    download::DownloadBody,
    judge::Verdict,
    local::{LocalEndpoint, Picked},
};
use crate::{context::UploadBody, error::Error};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use std::{
    pin::pin,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};
use tokio::time::{sleep_until, timeout, timeout_at};

/// How much is read of an answer that nobody gets, for the sake of its connection.
const MAX_DRAINED: usize = 64 * 1024;

/// What a try came to.
pub(super) type Outcome = Result<Response<DownloadBody>, SendError>;

/// The tries of a request after the first.
pub(super) struct Tries<'a, 'c> {
    pub(super) call: &'a Call<'c>,
    /// Whether there was a body at first.
    pub(super) has_body: bool,
    /// What is there of it.
    pub(super) body: &'a mut Option<UploadBody>,
    /// The endpoints, by their ids.
    pub(super) tried: Vec<u64>,
    pub(super) attempts: &'a mut Attempts,
}

// === impl Tries ===

impl Tries<'_, '_> {
    /// Tries again until it goes well or may not be tried again; what the last try came to.
    pub(super) async fn go_on(mut self, endpoint: &LocalEndpoint, mut outcome: Outcome) -> Outcome {
        let call = self.call;
        self.tried.push(endpoint.endpoint.id);
        while let Some((endpoint, pause)) = self.next(&outcome) {
            self.rest(outcome, pause).await;
            outcome = match call.peer.wire.due() {
                None => self.attempt(&endpoint).await,
                Some(due) => {
                    let tried = timeout_at(due.into(), self.attempt(&endpoint)).await;
                    // It may have had too little time: that says nothing of the endpoint.
                    tried.unwrap_or_else(|_| {
                        let outcome = Err(SendError::Final(Error::ResponseTimeout));
                        self.attempts.end(&outcome);
                        outcome
                    })
                }
            };
            self.tried.push(endpoint.endpoint.id);
        }
        outcome
    }

    async fn attempt(&mut self, endpoint: &Rc<LocalEndpoint>) -> Outcome {
        let (call, pool) = (self.call, &self.call.pool.pool);
        call.peer.wire.progress();
        let outcome = attempt(call, endpoint, self.body, self.attempts).await;
        pool.judge(&endpoint.endpoint, Verdict::of(&outcome, &pool.spec), None);
        pool.note(&outcome, None);
        outcome
    }

    // The endpoint for another try and how long to wait before it, if there may be one.
    fn next(&self, outcome: &Outcome) -> Option<(Rc<LocalEndpoint>, Duration)> {
        let (call, retry) = (self.call, self.call.retry());
        let arrived = match outcome {
            Ok(response) if retry.answers.contain(response.status()) => true,
            Err(SendError::Unanswered(_) | SendError::Late(_)) => true,
            Err(SendError::Unsent(_)) => false,
            Ok(_) | Err(SendError::Final(_)) => return None,
        };
        let is_whole = self.has_body == self.body.is_some();
        if self.attempts.retries() >= call.retries.unwrap_or(retry.attempts)
            || !is_whole
            || (arrived && !call.may_repeat())
        {
            return None;
        }
        if call.pool.pool.spec.circuit_breaker.is_some() && !call.pool.pool.circuit.is_closed() {
            return None;
        }
        let Picked { endpoint, trial: _ } = call.upstreams.pick(call.pool, call.affinity, &self.tried).ok()?;
        let random = call.upstreams.rng.borrow_mut().f64();
        let pause = match arrived || self.tried.contains(&endpoint.endpoint.id) {
            true => retry.back_off.pause(self.attempts.retries() + 1, random),
            false => Duration::ZERO,
        };
        let asked = outcome.as_ref().ok().and_then(|response| retry_after(response.headers(), SystemTime::now()));
        let pause = asked.map_or(pause, |asked| pause.max(asked));
        if arrived {
            let (now, wire) = (Instant::now(), &call.peer.wire);
            let due = wire.due().unwrap_or(now + call.timeouts.response);
            wire.set_due(Some(due));
            if pause >= due.saturating_duration_since(now) || !call.pool.spend_retry() {
                return None;
            }
        }
        Some((endpoint, pause))
    }

    // Waits so long, and meanwhile reads what is left of an answer that nobody gets.
    async fn rest(&self, outcome: Outcome, pause: Duration) {
        let until = Instant::now() + pause;
        if let Ok(response) = outcome {
            timeout(pause, drain(response.into_body())).await.ok();
        }
        if !pause.is_zero() {
            sleep_until(until.into()).await;
        }
    }
}

// Dropped before its end, it closes its connection.
async fn drain(body: DownloadBody) {
    let (mut body, mut drained) = (pin!(body), 0);
    while drained <= MAX_DRAINED
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, |data| data.len());
    }
}

// How long an answer asks to wait: so many seconds, or until a time of the clock.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let time = httpdate::parse_http_date(value).ok()?;
    Some(time.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_an_answer_asks_for_is_seconds_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |value: &'static str, expect: Option<u64>| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now), expect.map(Duration::from_secs), "{value}");
        };
        check("0", Some(0));
        check("120", Some(120));
        check("99999999999999999999999", Some(u64::from(u32::MAX)));
        check("Sun, 06 Nov 1994 08:49:57 GMT", Some(20));
        check("Sun, 06 Nov 1994 08:49:17 GMT", Some(0));
        for bad in ["-1", "soon", "1.5", "Sun, 06 Nov"] {
            check(bad, None);
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
