//! Copies of requests for another upstream.
//!
//! A copy is a task of the worker's own, beside the request: nothing waits for it, and nothing of it reaches the client. A
//! node has only so many in hand; each holds its place from the first byte that is copied to the end of the answer.

use super::{
    local::{Local, LocalRoute},
    record::Record,
};
use crate::{
    context::{BodyCopy, Context, Peer, RequestBody, UploadBody},
    error::Error,
    pool::{Attempts, Call, DownloadBody, Outgoing, affinity, call},
    router::{Action, Mirror},
    telemetry::counters::{Mirrored, count},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use http_body_util::BodyExt;
use proto::route::BodyLimit;
use std::{
    cell::RefCell,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinSet,
    time::timeout,
};

/// The most copies that a node has in hand.
const MAX_AT_ONCE: usize = 128;
/// How much of an answer is read, so that the connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// And how long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What tells an upstream that the request is a copy.
const X_PORTICO_MIRROR: HeaderName = HeaderName::from_static("x-portico-mirror");

static AT_ONCE: Semaphore = Semaphore::const_new(MAX_AT_ONCE);

/// The copies of one worker that are being sent; they end with it.
#[derive(Debug, Default)]
pub(super) struct Mirrors(RefCell<JoinSet<()>>);

/// A copy whose body is still to come. Dropped, it is not sent.
pub(super) struct Pending {
    // `None` once it is sent.
    copy: Option<Copy>,
    body: Rc<BodyCopy>,
}

struct Copy {
    local: Rc<Local>,
    route: Rc<LocalRoute>,
    context: Context,
    peer: Rc<Peer>,
    outcome: Outcome,
    _place: SemaphorePermit<'static>,
}

// What became of it is counted when it is known, or when the copy is dropped.
struct Outcome {
    local: Rc<Local>,
    mirrored: Mirrored,
}

/// Begins a copy of the request, for as many as are to be copied. One without a body is on its way at once.
pub(super) fn begin(
    record: &Record,
    route: &Rc<LocalRoute>,
    mirror: &Mirror,
    target: Option<&PathAndQuery>,
    body: Option<&mut UploadBody>,
) -> Option<Box<Pending>> {
    if mirror.spec.percent < 100 && fastrand::u32(..100) >= mirror.spec.percent {
        return None;
    }
    let mut outcome = Outcome { local: record.local.clone(), mirrored: Mirrored::Busy };
    let place = AT_ONCE.try_acquire().ok()?;
    let told = body.as_ref().and_then(|body| body.len());
    if told.is_some_and(|len| len > mirror.spec.max_body as u64) {
        outcome.mirrored = Mirrored::TooLarge;
        return None;
    }
    outcome.mirrored = Mirrored::Failed;
    let mut context = record.context.clone();
    if let Some(target) = target {
        context.target = target.clone();
    }
    context.headers.insert(X_PORTICO_MIRROR, HeaderValue::from_static("1"));
    // A copy is not worth waiting for.
    match mirror.filters.request(&mut context, record.lent()).now_or_never() {
        Some(Ok(None)) => {}
        Some(Ok(Some(_)) | Err(_)) | None => return None,
    }
    let peer = Rc::new(record.peer.of_stream(Instant::now()));
    let copy = Copy { local: record.local.clone(), route: route.clone(), context, peer, outcome, _place: place };
    match body {
        None => {
            copy.send(None);
            None
        }
        Some(body) => Some(Box::new(Pending { copy: Some(copy), body: body.copy(mirror.spec.max_body) })),
    }
}

// === impl Mirrors ===

impl Mirrors {
    /// Ends all of them.
    pub(super) fn end(&self) {
        self.0.borrow_mut().abort_all();
    }

    fn spawn(&self, copy: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(copy);
    }
}

// === impl Pending ===

impl Pending {
    /// The request was answered: the copy is sent if its body came by then.
    pub(super) fn send(mut self) {
        match (self.body.take(), self.copy.take()) {
            (Ok(body), Some(copy)) => copy.send(Some(body)),
            (Err(true), Some(mut copy)) => copy.outcome.mirrored = Mirrored::TooLarge,
            (Err(false), Some(mut copy)) => copy.outcome.mirrored = Mirrored::CutOff,
            (Ok(_) | Err(_), None) => {}
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The client went away.
        if let Some(copy) = &mut self.copy {
            copy.outcome.mirrored = Mirrored::CutOff;
        }
    }
}

// === impl Copy ===

impl Copy {
    fn send(self, body: Option<Vec<u8>>) {
        let local = self.local.clone();
        local.mirrors.spawn(async move {
            let mut copy = self;
            let peer = copy.peer.clone();
            let answered = peer.wire.drive(pin!(copy.ask(body))).await;
            match answered {
                Ok(()) => copy.outcome.mirrored = Mirrored::Sent,
                Err(error) => tracing::debug!(route.name = %copy.route.entry.name, %error, "failed to send a copy"),
            }
        });
    }

    async fn ask(&self, body: Option<Vec<u8>>) -> Result<(), Error> {
        let (Action::Forward(forward), Some(pool)) = (&self.route.entry.action, &self.route.mirror) else {
            return Err(Error::NoEndpoint);
        };
        let mirror = forward.mirror.as_ref().ok_or(Error::NoEndpoint)?;
        let context = &self.context;
        let body = body.filter(|body| !body.is_empty()).map(Bytes::from);
        let body = body.map_or(RequestBody::None, |body| RequestBody::Whole(Some(body)));
        let mut body = UploadBody::new(body, BodyLimit::Unlimited).map_err(Error::Upload)?;
        let request = Call {
            upstreams: &self.local.upstreams,
            pool,
            affinity: affinity(&pool.spec().balance, context),
            outgoing: Outgoing {
                method: &context.method,
                target: &context.target,
                headers: &context.headers,
                upgrade: None,
                trace: &context.trace,
            },
            retries: None,
            timeouts: mirror.timeouts,
            client_idle: self.local.settings.idle_timeout,
            peer: &self.peer,
        };
        let response = call(&request, &mut body, &mut Attempts::default()).await?;
        // What of it is left then is not read.
        timeout(ANSWER_WITHIN, drop_answer(response.into_body())).await.ok();
        Ok(())
    }
}

async fn drop_answer(mut body: DownloadBody) {
    let mut left = MAX_ANSWER;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        if len > left {
            return;
        }
        left -= len;
    }
}

// === impl Outcome ===

impl Drop for Outcome {
    fn drop(&mut self) {
        count(&self.local.counters.mirrored[self.mirrored as usize], 1);
    }
}
