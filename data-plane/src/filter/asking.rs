//! One question to an upstream, on behalf of a request: with the upstream's connections, and deadlines of its own.

use super::sequence::Caller;
use crate::{
    context::{RequestBody, Trace, UploadBody},
    pool::{Affinity, Attempts, Call, DownloadBody, Outgoing, Pool, call},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, uri::PathAndQuery};
use proto::route::BodyLimit;
use std::{
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// A question.
pub(super) struct Question<'q> {
    pub(super) pool: &'q Arc<Pool>,
    pub(super) method: &'q Method,
    pub(super) target: &'q PathAndQuery,
    pub(super) headers: &'q HeaderMap,
    pub(super) body: Option<Bytes>,
    /// How long the head of the answer may take, whatever it waits for.
    pub(super) within: Duration,
    /// The trace of the request.
    pub(super) trace: &'q Trace,
}

/// Nobody answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered;

/// Asks it.
pub(super) async fn ask(question: Question<'_>, caller: Caller<'_>) -> Result<Response<DownloadBody>, Unanswered> {
    let Question { pool, method, target, headers, body, within, trace } = question;
    let pool = caller.upstreams.local(pool);
    // A wire of its own: the deadlines of this call are not the request's.
    let peer = Rc::new(caller.peer.of_stream(Instant::now()));
    let request = Call {
        upstreams: caller.upstreams,
        pool: &pool,
        affinity: Affinity::None,
        outgoing: Outgoing { method, target, headers, upgrade: None, trace },
        retries: None,
        timeouts: pool.spec().timeouts,
        client_idle: within,
        peer: &peer,
    };
    let body = body.map_or(RequestBody::None, |body| RequestBody::Whole(Some(body)));
    let mut body = UploadBody::new(body, BodyLimit::Unlimited).map_err(|_| Unanswered)?;
    let mut attempts = Attempts::default();
    let asking = pin!(call(&request, &mut body, &mut attempts));
    timeout(within, peer.wire.drive(asking)).await.map_err(|_| Unanswered)?.map_err(|_| Unanswered)
}
