//! What comes from a client by HTTP/1: its socket, the bytes that were read, and the body of the request in hand.
//!
//! The connection and the body of its request share it: a body is read by whoever wants it, when it is wanted, from the
//! socket itself. There is no task, no channel and no copy in between, and a client is as fast as what becomes of its body.

mod socket;

pub(crate) use socket::{ClientSocket, Preread};

use crate::chunked::{Chunked, Decoded};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// How much room there is for a read of a head, and so of a small request whole.
pub(crate) const HEAD_ROOM: usize = 8 * 1024;
/// How much is read at once of a large body.
const BODY_ROOM: usize = 64 * 1024;
/// How much a client may send ahead while its request is answered; what is more waits in its socket.
const AHEAD: usize = HEAD_ROOM;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) struct Inbound(RefCell<Inner>);

#[derive(Debug)]
struct Inner {
    socket: ClientSocket,
    // What was read, but not used yet.
    buffer: BytesMut,
    left: Left,
    // Whether the client waits for leave to send the body.
    expects: bool,
    // What of that leave is still to be written.
    leave: &'static [u8],
    // The client sends nothing more.
    finished: bool,
    // Of the request in hand: a body that outlived its request gets nothing of the next.
    serial: u64,
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// It has so many bytes; maybe none.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(Chunked),
    // The rest is not there, or no body.
    Broken,
}

/// What a client does while its request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It sends nothing more. Whether it still reads is not known.
    Finished,
    /// It is gone.
    Reset,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct InboundBody {
    inbound: Rc<Inbound>,
    serial: u64,
}

/// A body did not come whole.
#[derive(Debug, thiserror::Error)]
#[error("the client did not send the body whole")]
pub(crate) struct Broken;

// === impl Inbound ===

impl Inbound {
    /// The end of a connection on which these bytes were read already.
    pub(crate) fn new(socket: ClientSocket, read: BytesMut) -> Inbound {
        Inbound(RefCell::new(Inner {
            socket,
            buffer: read,
            left: Left::Length(0),
            expects: false,
            leave: b"",
            finished: false,
            serial: 0,
        }))
    }

    /// Reads more; 0 is the end.
    pub(crate) fn poll_read(&self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_read(room, cx)
    }

    /// Whether there is something to read, without memory to read it into.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().socket.poll_readable(cx)
    }

    /// What was read, to take out of it what is used.
    pub(crate) fn with_buffer<T>(&self, with: impl FnOnce(&mut BytesMut) -> T) -> T {
        with(&mut self.0.borrow_mut().buffer)
    }

    /// Writes what is taken of that.
    pub(crate) fn poll_write(&self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_write_vectored(cx, parts)
    }

    /// The same of what is the last of the connection, of which [`Inbound::finish`] follows.
    pub(crate) fn poll_write_last(&self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().socket.poll_write_last(parts, cx)
    }

    /// Says that nothing more is written, of a connection that is dropped now.
    pub(crate) fn finish(&self) {
        self.0.borrow().socket.finish();
    }

    /// Writes what was held back below, as TLS does.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_flush(cx)
    }

    /// Says that nothing more is written.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_shutdown(cx)
    }

    /// Begins the body of a request whose head was taken out of the buffer.
    pub(crate) fn begin_body(self: &Rc<Inbound>, framing: BodyFraming, expects: bool) -> InboundBody {
        let mut inner = self.0.borrow_mut();
        inner.left = match framing {
            BodyFraming::Length(length) => Left::Length(length),
            BodyFraming::Chunked => Left::Chunked(Chunked::Size),
        };
        inner.expects = expects;
        inner.serial += 1;
        InboundBody { inbound: self.clone(), serial: inner.serial }
    }

    /// Reads what is left of a body that nobody wants.
    pub(crate) fn poll_skip(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut inner = self.0.borrow_mut();
        inner.expects = false;
        loop {
            match ready!(inner.poll_body(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(frame) => drop(frame?),
            }
        }
    }

    /// Sends what shows whether anybody is there, before an answer began: every client of HTTP/1.1 passes over it.
    pub(crate) fn probe(&self, cx: &mut Context<'_>) {
        let mut inner = self.0.borrow_mut();
        if inner.leave.is_empty() {
            inner.leave = CONTINUE;
        }
        // A failure shows where the connection is next used.
        inner.give(cx).ok();
    }

    /// The answer begins: no leave is given any more. What of one is still to be written comes before the answer.
    pub(crate) fn begin_answer(&self) -> &'static [u8] {
        let mut inner = self.0.borrow_mut();
        std::mem::take(&mut inner.leave)
    }

    /// Whether the body was taken whole.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.borrow().has_ended()
    }

    /// Whether what is left of the body is here, or will come and is small: it is worth to be read for the sake of the
    /// connection.
    pub(crate) fn is_nearly_over(&self, small: u64) -> bool {
        let mut inner = self.0.borrow_mut();
        let inner = &mut *inner;
        match &mut inner.left {
            Left::Length(left) => *left <= inner.buffer.len() as u64 || (!inner.expects && *left <= small),
            Left::Chunked(Chunked::Done) => true,
            // The end of it may be here already.
            Left::Chunked(_) => inner.buffer.ends_with(b"\r\n\r\n") && !inner.finished,
            Left::Broken => false,
        }
    }

    /// Whether the client has said that it sends nothing more.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.borrow().finished
    }

    /// What the client does while its request is answered; never ready for a client that waits. It costs no call to the
    /// kernel as long as nothing comes.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut inner = self.0.borrow_mut();
        // Who reads the body sees its end.
        if inner.finished || !inner.has_ended() {
            return Poll::Pending;
        }
        while inner.buffer.len() < AHEAD {
            match ready!(inner.poll_read(AHEAD, cx)) {
                Ok(0) => return Poll::Ready(End::Finished),
                Ok(_) => {}
                Err(_) => return Poll::Ready(End::Reset),
            }
        }
        Poll::Pending
    }

    /// Whether the connection was reset, as the kernel knows by now.
    pub(crate) fn is_reset(&self) -> bool {
        !matches!(self.0.borrow().socket.tcp().take_error(), Ok(None))
    }

    /// What is dropped now is dropped with a reset, so that nobody takes it for an end in good order.
    pub(crate) fn reset(&self) {
        // If it cannot be set, the connection ends all the same.
        self.0.borrow().socket.tcp().set_zero_linger().ok();
    }

    /// The next piece of the body; `None` at its end.
    fn poll_body(&self, serial: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut inner = self.0.borrow_mut();
        if inner.serial != serial {
            return Poll::Ready(Some(Err(Broken)));
        }
        let frame = ready!(inner.poll_body(cx));
        if matches!(frame, Some(Err(Broken))) {
            inner.left = Left::Broken;
        }
        Poll::Ready(frame)
    }

    /// The socket and what was read of it, when nobody else uses it any more.
    pub(crate) fn into_parts(self) -> (ClientSocket, BytesMut) {
        let inner = self.0.into_inner();
        (inner.socket, inner.buffer)
    }
}

// === impl Inner ===

impl Inner {
    // A read that does not fill the room tells the runtime that there is nothing more, so that nobody has to ask again.
    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.reserve(room.max(HEAD_ROOM));
        }
        let read = ready!(pin!(self.socket.read_buf(&mut self.buffer)).poll(cx));
        self.finished |= !matches!(read, Ok(n) if n > 0);
        Poll::Ready(read)
    }

    fn has_ended(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunked(chunked) => matches!(chunked, Chunked::Done),
            Left::Broken => false,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let room = match &mut self.left {
                Left::Broken => return Poll::Ready(Some(Err(Broken))),
                Left::Length(0) => return Poll::Ready(None),
                Left::Length(left) => {
                    if !self.buffer.is_empty() {
                        let len = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                        *left -= len as u64;
                        return Poll::Ready(Some(Ok(Frame::data(self.buffer.split_to(len).freeze()))));
                    }
                    usize::try_from(*left).unwrap_or(BODY_ROOM).min(BODY_ROOM)
                }
                Left::Chunked(chunked) => match chunked.decode(&mut self.buffer).map_err(|_| Broken)? {
                    Decoded::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Decoded::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    Decoded::End => return Poll::Ready(None),
                    Decoded::More => BODY_ROOM / 4,
                },
            };
            self.give_leave(cx)?;
            match ready!(self.poll_read(room, cx)) {
                Ok(n) if n > 0 => self.expects = false,
                Ok(_) | Err(_) => return Poll::Ready(Some(Err(Broken))),
            }
        }
    }

    // Whoever waits for it is told to send the body, once somebody wants it.
    fn give_leave(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if std::mem::take(&mut self.expects) && self.buffer.is_empty() {
            self.leave = CONTINUE;
        }
        self.give(cx)
    }

    fn give(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while !self.leave.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, self.leave) {
                Poll::Ready(Ok(n)) if n > 0 => self.leave = &self.leave[n..],
                Poll::Ready(_) => return Err(Broken),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

// === impl InboundBody ===

impl Body for InboundBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.inbound.poll_body(self.serial, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inbound.0.borrow().left {
            Left::Length(left) => SizeHint::with_exact(*left),
            Left::Chunked(_) | Left::Broken => SizeHint::default(),
        }
    }
}
