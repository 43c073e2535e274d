//! The body of a response on its way to the client, as it comes, and never as complete when it is not.

use super::{
    call::Call,
    connection::Connection,
    head::Framing,
    http2,
    local::InFlight,
    outbound::{Outbound, OutboundError},
    switch::Switched,
};
use crate::{
    chunked::{Chunked, Decoded},
    context::{Peer, strip_untrailable},
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
    rest: Option<Rest>,
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
enum Rest {
    Http1(Box<Http1Download>),
    Http2(Box<http2::Download>),
    // What comes from now on is no body.
    Switched(Box<Switched>),
}

// Reads the rest from the connection, which is this response's until it has come.
#[derive(Debug)]
struct Http1Download {
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
        let rest = Http1Download { connection, in_flight, left, keep_alive, outbound, idle, peer };
        DownloadBody { first, rest: Some(Rest::Http1(Box::new(rest))) }
    }

    /// That of a response that has none.
    pub(super) fn none() -> DownloadBody {
        DownloadBody { first: None, rest: None }
    }

    /// The body of a response that comes as a stream of HTTP/2.
    pub(super) fn of_http2(download: http2::Download) -> DownloadBody {
        // What has ended already has no body.
        let rest = (!download.has_ended()).then(|| Rest::Http2(Box::new(download)));
        DownloadBody { first: None, rest }
    }

    /// Of a response after which the connection speaks another protocol.
    pub(super) fn switched(switched: Switched) -> DownloadBody {
        DownloadBody { first: None, rest: Some(Rest::Switched(Box::new(switched))) }
    }

    /// The connection, if it speaks another protocol from now on.
    pub(crate) fn into_switched(self) -> Option<Box<Switched>> {
        match self.rest {
            Some(Rest::Switched(switched)) => Some(switched),
            Some(Rest::Http1(_) | Rest::Http2(_)) | None => None,
        }
    }

    fn end(&mut self) {
        match self.rest.take() {
            Some(Rest::Http1(rest)) => {
                finish(rest.connection, rest.in_flight, rest.keep_alive && rest.outbound.is_none());
            }
            Some(Rest::Http2(_) | Rest::Switched(_)) | None => {}
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
        match ready!(rest.poll(cx)) {
            Err(fault) => {
                this.rest = None;
                Poll::Ready(Some(Err(fault)))
            }
            Ok(frame) => {
                if frame.is_none() || rest.has_ended() {
                    this.end();
                }
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let left = match &self.rest {
            None => Some(0),
            Some(Rest::Http1(rest)) => match &rest.left {
                Left::Length(left) => Some(*left),
                Left::Chunked(_) | Left::Close => None,
            },
            Some(Rest::Http2(rest)) => rest.left(),
            Some(Rest::Switched(_)) => Some(0),
        };
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(first + left))
    }
}

// === impl Rest ===

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, DownloadFault>> {
        match self {
            Rest::Http1(rest) => rest.poll(cx),
            Rest::Http2(rest) => rest.poll(cx),
            Rest::Switched(_) => Poll::Ready(Ok(None)),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            // Behind trailers there is nothing to be asked for.
            Rest::Http1(rest) => matches!(rest.left, Left::Length(0) | Left::Chunked(Chunked::Done)),
            Rest::Http2(rest) => rest.has_ended(),
            Rest::Switched(_) => false,
        }
    }
}

// === impl Http1Download ===

impl Http1Download {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, DownloadFault>> {
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

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, DownloadFault>> {
        let Http1Download { connection, left, .. } = self;
        loop {
            let room = match left {
                Left::Length(0) => return Poll::Ready(Ok(None)),
                Left::Length(length) => {
                    if !connection.buffer.is_empty() {
                        let len = usize::try_from(*length).unwrap_or(usize::MAX).min(connection.buffer.len());
                        *length -= len as u64;
                        return Poll::Ready(Ok(Some(Frame::data(connection.buffer.split_to(len).freeze()))));
                    }
                    // One byte more than may come, so that the last read does not fill its room.
                    usize::try_from(*length).map_or(ROOM, |left| left.saturating_add(1).min(ROOM))
                }
                Left::Chunked(chunked) => {
                    match chunked.decode(&mut connection.buffer).map_err(|_| DownloadFault::Truncated)? {
                        Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                        Decoded::Trailers(mut trailers) => {
                            strip_untrailable(&mut trailers);
                            return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                        }
                        Decoded::End => return Poll::Ready(Ok(None)),
                        Decoded::More => ROOM / 4,
                    }
                }
                Left::Close => {
                    if !connection.buffer.is_empty() {
                        return Poll::Ready(Ok(Some(Frame::data(connection.buffer.split().freeze()))));
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
