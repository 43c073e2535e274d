//! The body of a request on its way to the endpoint: no more is taken of it than the endpoint takes.

use crate::{
    context::{UploadBody, UploadFault},
    pool::outbound::Side,
};
use bytes::Bytes;
use h2::{Reason, SendStream};
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tokio::task::AbortHandle;

/// A body on its way.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: UploadBody,
    // Taken out of the body; the endpoint has no room for it yet.
    data: Bytes,
    // Something of it was sent.
    sent: bool,
    moved: bool,
    waits_for: Side,
}

/// A body that goes on while the response comes: both have a pace of their own. Dropped, it is cut off.
#[derive(Debug)]
pub(super) struct UploadTask {
    task: AbortHandle,
    progress: Rc<Progress>,
}

#[derive(Debug)]
struct Progress {
    last: Cell<Instant>,
    fault: Cell<Option<UploadFault>>,
}

// === impl Upload ===

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: UploadBody) -> Upload {
        let data = Bytes::new();
        Upload { stream, body, data, sent: false, moved: false, waits_for: Side::Client }
    }

    /// Whom it waits for, when it does.
    pub(super) fn waits_for(&self) -> Side {
        self.waits_for
    }

    /// Whether it went on since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether the body can be sent from its beginning.
    pub(super) fn is_kept(&self) -> bool {
        self.body.is_kept()
    }

    /// The body, if it can be sent from its beginning.
    pub(super) fn into_body(mut self) -> Option<UploadBody> {
        if !self.body.rewind() && !self.sent {
            // One piece at most was taken out.
            self.body.give_back(std::mem::take(&mut self.data));
        }
        Some(self.body).filter(|body| !body.has_begun())
    }

    /// Sends until all of it is sent; never ready once the endpoint takes no more, for that has answered, or fails to.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadFault>> {
        loop {
            if !self.data.is_empty() {
                self.waits_for = Side::Upstream;
                let room = ready!(self.poll_room(cx));
                let data = self.data.split_to(room.min(self.data.len()));
                let last = self.data.is_empty() && self.body.has_ended();
                if self.stream.send_data(data, last).is_err() {
                    return Poll::Pending;
                }
                (self.sent, self.moved) = (true, true);
                if last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            self.waits_for = Side::Client;
            let frame = match ready!(self.body.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(fault)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(fault));
                }
                None => {
                    // That it does not want the end shows in its answer.
                    self.stream.send_data(Bytes::new(), true).ok();
                    return Poll::Ready(Ok(()));
                }
            };
            self.moved = true;
            match frame.into_data() {
                Ok(data) => self.data = data,
                Err(frame) => {
                    self.stream.send_trailers(frame.into_trailers().unwrap_or_default()).ok();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.stream.reserve_capacity(self.data.len());
        loop {
            if self.stream.capacity() > 0 {
                return Poll::Ready(self.stream.capacity());
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Pending,
            }
        }
    }

    /// Lets it go on by itself.
    pub(super) fn spawn(mut self) -> UploadTask {
        let progress = Rc::new(Progress { last: Cell::new(Instant::now()), fault: Cell::new(None) });
        let moves = progress.clone();
        let task = tokio::task::spawn_local(poll_fn(move |cx| {
            let poll = self.poll(cx);
            if self.take_moved() {
                moves.last.set(Instant::now());
            }
            poll.map(|sent| moves.fault.set(sent.err()))
        }));
        UploadTask { task: task.abort_handle(), progress }
    }
}

// === impl UploadTask ===

impl UploadTask {
    /// When it last went on.
    pub(super) fn moved_at(&self) -> Instant {
        self.progress.last.get()
    }

    /// Whether the client broke it off.
    pub(super) fn is_broken(&self) -> bool {
        self.progress.fault.get().is_some()
    }
}

impl Drop for UploadTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}
