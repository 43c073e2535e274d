//! The bytes of a connection, in cleartext or by TLS.

use super::tls::marked;
use socket2::SockRef;
use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The bytes of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<Tls>),
}

/// TLS; whoever lets go of it says so to the other end.
#[derive(Debug)]
pub(super) struct Tls {
    stream: TlsStream<TcpStream>,
    // It ends with a reset, and nothing is said.
    reset: bool,
}

// What can be written at once, and nothing more.
struct AtOnce<'a>(&'a TcpStream);

// === impl Stream ===

impl Stream {
    /// After the handshake.
    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(Tls { stream, reset: false }))
    }

    /// The connection below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(tls) => tls.stream.get_ref().0,
        }
    }

    /// What is dropped from now on is dropped with a reset, so that nobody takes it for an end in good order.
    pub(super) fn reset(&mut self) {
        // If it cannot be set, the connection ends all the same.
        self.tcp().set_zero_linger().ok();
        if let Stream::Tls(tls) = self {
            tls.reset = true;
        }
    }

    /// Whether nothing came and the other end is there. That the runtime knows mostly: a read that did not fill its room told
    /// it that there is no more. Only after one that did is the kernel asked, which costs a call.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self {
            Stream::Plain(stream) => {
                stream.poll_read_ready(&mut cx).is_pending()
                    || matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // What can be read may be tickets for the next handshake, which are nothing.
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_fill_buf(&mut cx).is_pending(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_read(cx, buf).map_err(marked),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_write(cx, bytes).map_err(|error| tls.explain(error)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => {
                Pin::new(&mut tls.stream).poll_write_vectored(cx, slices).map_err(|error| tls.explain(error))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx).map_err(|error| tls.explain(error)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }
}

// === impl Tls ===

impl Tls {
    // Why nothing can be written: whoever refuses a certificate says so, and closes without having read what came. The
    // runtime may not know yet that something can be read.
    fn explain(&mut self, error: io::Error) -> io::Error {
        let (stream, session) = self.stream.get_mut();
        if session.read_tls(&mut &*SockRef::from(&*stream)).is_err() {
            return error;
        }
        session
            .process_new_packets()
            .map_or_else(|said| marked(io::Error::new(io::ErrorKind::InvalidData, said)), |_| error)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if self.reset {
            return;
        }
        let (stream, session) = self.stream.get_mut();
        session.send_close_notify();
        // A goodbye that does not fit is not worth a wait.
        while session.wants_write() && session.write_tls(&mut AtOnce(stream)).is_ok_and(|n| n > 0) {}
    }
}

// === impl AtOnce ===

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
