//! The socket below HTTP/2: what was read already comes first, what is read is metered, and a client that takes nothing
//! is noticed.

use super::meter::Meter;
use crate::inbound::ClientSocket;
use bytes::{Buf, BytesMut};
use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the driver of a connection sees of its socket.
#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) meter: Meter,
    /// Since when the client does not take what is written to it.
    pub(super) stuck: Cell<Option<Instant>>,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Link {
    socket: ClientSocket,
    read: BytesMut,
    gauge: Rc<Gauge>,
}

impl Link {
    pub(super) fn new(socket: ClientSocket, read: BytesMut, gauge: Rc<Gauge>) -> Link {
        Link { socket, read, gauge }
    }

    fn wrote(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &poll {
            self.gauge.meter.written(*bytes);
        }
        self.written(poll)
    }

    fn written<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let stuck = &self.gauge.stuck;
        match (poll.is_pending(), stuck.get()) {
            (true, None) => stuck.set(Some(Instant::now())),
            (false, Some(_)) => stuck.set(None),
            (true, Some(_)) | (false, None) => {}
        }
        poll
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let poll = if this.read.is_empty() {
            Pin::new(&mut this.socket).poll_read(cx, buf)
        } else {
            let len = this.read.len().min(buf.remaining());
            buf.put_slice(&this.read[..len]);
            this.read.advance(len);
            Poll::Ready(Ok(()))
        };
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() {
            this.gauge.meter.read(bytes, Instant::now());
        }
        poll
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(cx);
        // A flush that has nothing to do says nothing about what waits to be written.
        if poll.is_pending() { self.written(poll) } else { poll }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
