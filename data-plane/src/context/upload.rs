//! The body of a request on its way to an upstream: counted, limited, and never silent for long.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use proto::route::BodyLimit;
use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// What became of a body; the request that waits for the upstream's answer reads it.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: Cell<u64>,
    begun: Cell<bool>,
    fault: Cell<Option<UploadFault>>,
}

/// Why a body did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadFault {
    /// It is larger than it may be.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The client went silent.
    #[error("the client stopped sending the body")]
    Silent,
    /// The client went away, or broke the framing.
    #[error("the client did not send the body whole")]
    Broken,
}

/// The body.
#[derive(Debug)]
pub(crate) struct UploadBody {
    incoming: Incoming,
    // How many bytes may still come.
    left: u64,
    idle: Duration,
    // Made when there is first something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
    upload: Rc<Upload>,
}

// === impl Upload ===

impl Upload {
    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether anything was taken out of the body, so that it cannot be sent again.
    pub(crate) fn begun(&self) -> bool {
        self.begun.get()
    }

    /// What went wrong.
    pub(crate) fn fault(&self) -> Option<UploadFault> {
        self.fault.get()
    }
}

// === impl UploadBody ===

impl UploadBody {
    /// The body, if there is one; an error when it says itself that it is too large.
    pub(crate) fn new(
        incoming: Incoming,
        limit: BodyLimit,
        idle: Duration,
        upload: &Rc<Upload>,
    ) -> Result<Option<UploadBody>, UploadFault> {
        if incoming.is_end_stream() {
            return Ok(None);
        }
        let left = match limit {
            BodyLimit::Bytes(limit) => limit,
            BodyLimit::Unlimited => u64::MAX,
        };
        if incoming.size_hint().lower() > left {
            return Err(UploadFault::TooLarge);
        }
        Ok(Some(UploadBody { incoming, left, idle, sleep: None, upload: upload.clone() }))
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle))).as_mut().poll(cx)
    }

    fn fail(&self, fault: UploadFault) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        self.upload.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let this = self.get_mut();
        this.upload.begun.set(true);
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.poll_silence(cx));
            return this.fail(UploadFault::Silent);
        };
        if let Some(sleep) = &mut this.sleep {
            sleep.as_mut().reset(Instant::now() + this.idle);
        }
        match frame {
            None => Poll::Ready(None),
            Some(Err(_)) => this.fail(UploadFault::Broken),
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.upload.bytes.set(this.upload.bytes.get() + len);
                if len > this.left {
                    return this.fail(UploadFault::TooLarge);
                }
                this.left -= len;
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
