//! A request on its way out: the head and what is there of the body in one write, then the rest as it comes.

use super::{head::RequestFraming, stream::Stream};
use crate::{
    context::{UploadBody, UploadFault},
    encoding,
    pieces::Pieces,
};
use http_body::Frame;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Outbound {
    pieces: Pieces,
    body: Option<UploadBody>,
    // All of the body was taken.
    ended: bool,
    framing: RequestFraming,
    written: u64,
    moved: bool,
    // What was written has left for the socket; TLS may hold some of it back.
    flushed: bool,
    // The upstream takes no more; it may have answered before.
    broken: bool,
    waits_for: Side,
}

/// Whom it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The client, for more of the body.
    Client,
    /// The upstream, to take it.
    Upstream,
}

/// Why it does not go on.
#[derive(Debug)]
pub(super) enum OutboundError {
    /// The client's fault.
    Upload(UploadFault),
    /// The upstream took nothing of it.
    Unsent,
}

impl Outbound {
    /// A request of that head.
    pub(super) fn new(head: Vec<u8>, body: Option<UploadBody>, framing: RequestFraming) -> Outbound {
        Outbound {
            pieces: Pieces::new(head),
            ended: body.is_none(),
            body,
            framing,
            written: 0,
            moved: false,
            flushed: true,
            broken: false,
            waits_for: Side::Upstream,
        }
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
        self.body.as_ref().is_some_and(UploadBody::is_kept)
    }

    /// The body, if it can be sent from its beginning, and the buffer of the head.
    pub(super) fn into_parts(mut self) -> (Option<UploadBody>, Vec<u8>) {
        if let Some(body) = &mut self.body
            && !body.rewind()
            && self.written == 0
        {
            // One piece at most was taken out, and nothing of it was written.
            body.give_back(std::mem::take(&mut self.pieces.data));
        }
        (self.body.take().filter(|body| !body.has_begun()), self.pieces.into_buffer())
    }

    /// Writes until all of it is written; never ready once the upstream takes no more.
    pub(super) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        if self.broken {
            return Poll::Pending;
        }
        loop {
            // What there is of the body goes with the head.
            if self.pieces.has_room() && !self.ended {
                match self.fill(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(OutboundError::Upload(fault))),
                    Poll::Pending if self.pieces.is_prefix_written() => {
                        // The upstream may wait for just what was written; if it does not take that, it is the one that
                        // is waited for.
                        ready!(self.poll_flush(stream, cx));
                        self.waits_for = Side::Client;
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if self.pieces.is_written() {
                if self.ended {
                    return self.poll_flush(stream, cx).map(Ok);
                }
                continue;
            }
            match self.poll_write(stream, cx) {
                Poll::Ready(Ok(n)) if n > 0 => self.advance(n),
                Poll::Ready(Ok(_) | Err(_)) if self.written == 0 => return Poll::Ready(Err(OutboundError::Unsent)),
                Poll::Ready(Ok(_) | Err(_)) => return self.breaks(),
                Poll::Pending => {
                    self.waits_for = Side::Upstream;
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_flush(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        if self.flushed {
            return Poll::Ready(());
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.flushed = true;
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) => self.breaks(),
            Poll::Pending => {
                self.waits_for = Side::Upstream;
                Poll::Pending
            }
        }
    }

    // The upstream takes no more of it, but may have answered.
    fn breaks<T>(&mut self) -> Poll<T> {
        (self.broken, self.waits_for) = (true, Side::Upstream);
        Poll::Pending
    }

    // The next piece of the body, framed.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadFault>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let frame = match body.poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame.transpose()?,
        };
        self.moved = true;
        match (frame.map(Frame::into_data), self.framing) {
            // A chunk without bytes would be the end.
            (Some(Ok(data)), RequestFraming::Chunked) if !data.is_empty() => {
                encoding::chunk(data.len(), self.pieces.prefix());
                (self.pieces.data, self.pieces.suffix) = (data, b"\r\n");
            }
            (Some(Ok(data)), RequestFraming::Chunked | RequestFraming::Length(_) | RequestFraming::None) => {
                self.pieces.data = data
            }
            (Some(Err(frame)), RequestFraming::Chunked) => {
                self.ended = true;
                encoding::last_chunk(frame.trailers_ref(), self.pieces.prefix());
            }
            (None, RequestFraming::Chunked) => {
                self.ended = true;
                encoding::last_chunk(None, self.pieces.prefix());
            }
            (Some(Err(_)) | None, RequestFraming::Length(_) | RequestFraming::None) => self.ended = true,
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pieces.write(|pieces| match pieces {
            [piece] => Pin::new(stream).poll_write(cx, piece),
            pieces => Pin::new(stream).poll_write_vectored(cx, pieces),
        })
    }

    fn advance(&mut self, n: usize) {
        self.moved = true;
        self.flushed = false;
        self.written += n as u64;
        self.pieces.advance(n);
    }
}
