//! The body of a response on its way to the client, as it comes, and never as complete when it is not.

use super::{
    call::Call,
    connection::Connection,
    head::Framing,
    local::InFlight,
    outbound::{Outbound, OutboundError},
};
use crate::{
    chunked::{Chunked, Decoded},
    context::Peer,
    wire::Elapsed,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How much is read at once of a large body.
const ROOM: usize = 64 * 1024;

/// The body of a response.
#[derive(Debug)]
pub(crate) struct DownloadBody {
    // What came together with the head.
    first: Option<Bytes>,
    // What is still to come; `None`: nothing, and the connection has been given back.
    rest: Option<Box<Rest>>,
}

/// Why a response did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DownloadFault {
    /// The upstream went silent.
    #[error("the upstream stopped sending the body")]
    Silent,
    /// The upstream closed the connection, or broke the framing.
    #[error("the upstream did not send the body whole")]
    Truncated,
    /// The client did not send the request whole.
    #[error("the client did not send its body whole")]
    Upload,
}

#[derive(Debug)]
struct Rest {
    connection: Connection,
    in_flight: InFlight,
    left: Left,
    keep_alive: bool,
    // What is left of the request: an answer may come before everything was sent.
    outbound: Option<Outbound>,
    idle: Duration,
    peer: Rc<Peer>,
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(Chunked),
    Close,
}

// === impl DownloadBody ===

impl DownloadBody {
    /// The body of a response whose head was read.
    pub(super) fn new(
        mut connection: Connection,
        framing: Framing,
        keep_alive: bool,
        outbound: Option<Outbound>,
        in_flight: InFlight,
        call: &Call<'_>,
    ) -> DownloadBody {
        let mut first = None;
        let left = match framing {
            Framing::Length(length) => {
                let have = usize::try_from(length).unwrap_or(usize::MAX).min(connection.buffer.len());
                if have > 0 {
                    first = Some(connection.buffer.split_to(have).freeze());
                }
                Left::Length(length - have as u64)
            }
            Framing::Chunked => Left::Chunked(Chunked::Size),
            Framing::Close => Left::Close,
        };
        if matches!(left, Left::Length(0)) {
            // What is left of the request is not wanted any more, but then the connection cannot be used again.
            finish(connection, in_flight, keep_alive && outbound.is_none());
            return DownloadBody { first, rest: None };
        }
        let (idle, peer) = (call.timeouts.idle, call.peer.clone());
        let rest = Rest { connection, in_flight, left, keep_alive, outbound, idle, peer };
        DownloadBody { first, rest: Some(Box::new(rest)) }
    }

    fn fail(&mut self, fault: DownloadFault) -> Poll<Option<Result<Frame<Bytes>, DownloadFault>>> {
        self.rest = None;
        Poll::Ready(Some(Err(fault)))
    }

    fn end(&mut self) {
        if let Some(rest) = self.rest.take() {
            finish(rest.connection, rest.in_flight, rest.keep_alive && rest.outbound.is_none());
        }
    }
}

// Gives a connection back if it can be used again, and closes it otherwise.
fn finish(connection: Connection, in_flight: InFlight, keep_alive: bool) {
    if keep_alive && connection.buffer.is_empty() {
        in_flight.0.give_back(connection);
    }
}

impl Body for DownloadBody {
    type Data = Bytes;
    type Error = DownloadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadFault>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        match rest.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(fault)) => this.fail(fault),
            Poll::Ready(Ok(None)) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Ready(Ok(Some(data))) => {
                if matches!(rest.left, Left::Length(0)) {
                    this.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        match self.rest.as_ref().map(|rest| &rest.left) {
            None => SizeHint::with_exact(first),
            Some(Left::Length(left)) => SizeHint::with_exact(first + left),
            Some(Left::Chunked(_) | Left::Close) => SizeHint::default(),
        }
    }
}

// === impl Rest ===

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, DownloadFault>> {
        if let Some(outbound) = &mut self.outbound {
            let poll = outbound.poll(&mut self.connection.stream, cx);
            if outbound.take_moved() {
                self.peer.wire.progress();
            }
            match poll {
                Poll::Ready(Ok(())) => self.outbound = None,
                Poll::Ready(Err(OutboundError::Upload(_))) => return Poll::Ready(Err(DownloadFault::Upload)),
                // It has answered nevertheless; as long as this is here, the connection is not used again.
                Poll::Ready(Err(OutboundError::Unsent)) | Poll::Pending => {}
            }
        }
        match self.poll_data(cx) {
            Poll::Ready(data) => {
                self.peer.wire.progress();
                Poll::Ready(data)
            }
            Poll::Pending => match self.peer.wire.wait(self.idle) {
                Ok(()) => Poll::Pending,
                Err(Elapsed) => Poll::Ready(Err(DownloadFault::Silent)),
            },
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, DownloadFault>> {
        let Rest { connection, left, .. } = self;
        loop {
            let room = match left {
                Left::Length(0) => return Poll::Ready(Ok(None)),
                Left::Length(length) => {
                    if !connection.buffer.is_empty() {
                        let len = usize::try_from(*length).unwrap_or(usize::MAX).min(connection.buffer.len());
                        *length -= len as u64;
                        return Poll::Ready(Ok(Some(connection.buffer.split_to(len).freeze())));
                    }
                    usize::try_from(*length).unwrap_or(ROOM).min(ROOM)
                }
                Left::Chunked(chunked) => {
                    match chunked.decode(&mut connection.buffer).map_err(|_| DownloadFault::Truncated)? {
                        Decoded::Data(data) => return Poll::Ready(Ok(Some(data))),
                        // They end here: what came as a trailer must not be taken for a header.
                        Decoded::Trailers(_) => continue,
                        Decoded::End => return Poll::Ready(Ok(None)),
                        Decoded::More => ROOM / 4,
                    }
                }
                Left::Close => {
                    if !connection.buffer.is_empty() {
                        return Poll::Ready(Ok(Some(connection.buffer.split().freeze())));
                    }
                    ROOM / 4
                }
            };
            match ready!(connection.poll_read(room, cx)) {
                Ok(n) if n > 0 => {}
                // Only a body that ends with its connection may end with it, and only in good order.
                Ok(_) if matches!(left, Left::Close) => return Poll::Ready(Ok(None)),
                Ok(_) | Err(_) => return Poll::Ready(Err(DownloadFault::Truncated)),
            }
        }
    }
}
