//! The body of a response that comes as a stream.

use super::{Lease, upload::UploadTask};
use crate::{
    context::{Peer, strip_untrailable},
    pool::{call::Call, download::DownloadFault, local::InFlight},
    wire::Elapsed,
};
use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;
use std::{
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// What is still to come.
#[derive(Debug)]
pub(in crate::pool) struct Download {
    stream: RecvStream,
    // Of the length that the head says, if it does.
    left: Option<u64>,
    // There is no more data; trailers may come.
    data_ended: bool,
    upload: Option<UploadTask>,
    idle: Duration,
    peer: Rc<Peer>,
    lease: Lease,
    _in_flight: InFlight,
}

impl Download {
    pub(super) fn new(
        stream: RecvStream,
        left: Option<u64>,
        upload: Option<UploadTask>,
        lease: Lease,
        in_flight: InFlight,
        call: &Call<'_>,
    ) -> Download {
        Download {
            stream,
            left,
            data_ended: false,
            upload,
            idle: call.timeouts.idle,
            peer: call.peer.clone(),
            lease,
            _in_flight: in_flight,
        }
    }

    /// How many bytes are left, if the head said so.
    pub(in crate::pool) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Whether nothing comes any more.
    pub(in crate::pool) fn has_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The next piece, or the trailers.
    pub(in crate::pool) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, DownloadFault>> {
        match self.poll_stream(cx) {
            Poll::Ready(Ok(frame)) => {
                self.peer.wire.progress();
                Poll::Ready(Ok(frame))
            }
            Poll::Ready(Err(_)) if self.upload.as_ref().is_some_and(UploadTask::is_broken) => {
                Poll::Ready(Err(DownloadFault::Upload))
            }
            // Whatever reason it was reset for: the end was not said.
            Poll::Ready(Err(_)) => Poll::Ready(Err(DownloadFault::Truncated)),
            Poll::Pending => match self.wait() {
                Ok(()) => Poll::Pending,
                Err(Elapsed) => {
                    self.lease.doubt();
                    Poll::Ready(Err(DownloadFault::Silent))
                }
            },
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        while !self.data_ended {
            let Some(data) = ready!(self.stream.poll_data(cx)).transpose()? else {
                self.data_ended = true;
                break;
            };
            // It is asked for when the client takes it, so the endpoint may send as much again.
            self.stream.flow_control().release_capacity(data.len())?;
            if !data.is_empty() {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(Ok(trailers.map(|mut trailers| {
            strip_untrailable(&mut trailers);
            Frame::trailers(trailers)
        })))
    }

    // Silence is when neither direction goes on.
    fn wait(&self) -> Result<(), Elapsed> {
        let wire = &self.peer.wire;
        wire.wait(self.idle).or_else(|elapsed| {
            let moved = self.upload.as_ref().map(UploadTask::moved_at);
            let silent = moved.map_or(self.idle, |moved| Instant::now().saturating_duration_since(moved));
            match self.idle.checked_sub(silent).filter(|rest| !rest.is_zero()) {
                Some(rest) => wire.wait(rest),
                None => Err(elapsed),
            }
        })
    }
}
