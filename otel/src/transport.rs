//! Sends messages to a collector, by gRPC or HTTP: what it may take, what is tried again, and when that ends.
//!
//! A message is tried again only where the protocol says that this helps, and for a bounded time: what waits behind it
//! is the newer.

mod dial;
mod grpc;
mod http1;

use crate::{
    retry::{Backoff, Outage},
    settings::Protocol,
    target::Target,
};
use grpc::Grpc;
use http1::Http1;
use prost::Message;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a message is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is sent: traces, metrics.
pub(crate) trait Signal: Message + Clone + Default + 'static {
    /// What the collector answers.
    type Answer: Message + Default + 'static;
    /// The method of gRPC.
    const METHOD: &'static str;

    /// How many of its parts the collector did not want, and why.
    fn rejected(answer: Self::Answer) -> (u64, String);
}

/// The connection to a collector, made when it is needed.
pub(crate) enum Sender {
    Grpc(Grpc),
    Http(Http1),
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct SendError {
    why: String,
    /// Whether it may arrive later, and when the collector asks for it.
    again: Again,
}

/// Whether a message is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    Later(Option<Duration>),
}

// === impl Sender ===

impl Sender {
    /// Not connected yet.
    pub(crate) fn new(target: Target) -> Sender {
        match target.protocol {
            Protocol::Grpc => Sender::Grpc(Grpc::new(target)),
            Protocol::Http => Sender::Http(Http1::new(target)),
        }
    }

    /// Sends until it arrives or there is no point in it; returns how many parts were not wanted.
    pub(crate) async fn deliver<S: Signal>(&mut self, message: &S, outage: &mut Outage) -> Result<u64, SendError> {
        let until = Instant::now() + PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            let error = match self.send(message).await {
                Ok(answer) => {
                    outage.ended();
                    let (rejected, why) = S::rejected(answer);
                    if rejected > 0 {
                        tracing::debug!(rejected, why, "the OpenTelemetry collector took only a part");
                    }
                    return Ok(rejected);
                }
                Err(error) => error,
            };
            outage.failed(&error.why);
            let Again::Later(asked) = error.again else { return Err(error) };
            let wait = backoff.next(asked);
            if Instant::now() + wait >= until {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn send<S: Signal>(&mut self, message: &S) -> Result<S::Answer, SendError> {
        let (limit, sent) = match self {
            Sender::Grpc(grpc) => (grpc.timeout(), timeout(grpc.timeout(), grpc.send(message)).await),
            Sender::Http(http) => (http.timeout(), timeout(http.timeout(), http.send(message)).await),
        };
        sent.unwrap_or_else(|_| Err(SendError::later(format!("no answer within {limit:?}"))))
    }
}

// === impl SendError ===

impl SendError {
    /// It may arrive later.
    fn later(why: impl Into<String>) -> SendError {
        SendError { why: why.into(), again: Again::Later(None) }
    }

    /// It will not.
    fn never(why: impl Into<String>) -> SendError {
        SendError { why: why.into(), again: Again::Never }
    }
}
