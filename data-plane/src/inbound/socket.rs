//! A client's socket, with or without TLS.

use crate::tunnel::Side;
use bytes::{Buf, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A client's socket.
#[derive(Debug)]
pub(crate) enum ClientSocket {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<Preread>>),
}

/// A socket of which something was read already; whoever reads gets that first.
#[derive(Debug)]
pub(crate) struct Preread {
    stream: TcpStream,
    read: BytesMut,
}

// === impl ClientSocket ===

impl ClientSocket {
    /// The connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            ClientSocket::Plain(stream) => stream,
            ClientSocket::Tls(stream) => &stream.get_ref().0.stream,
        }
    }

    /// Whether there is something to read; an error counts, for whoever reads sees it.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ClientSocket::Tls(stream) = self {
            let (below, session) = stream.get_mut();
            // What TLS has read and nobody took of it does not make the socket readable again.
            let waits = session.process_new_packets().map_or(1, |state| state.plaintext_bytes_to_read());
            if waits > 0 || !below.read.is_empty() {
                return Poll::Ready(());
            }
        }
        self.tcp().poll_read_ready(cx).map(drop)
    }
}

// === impl Preread ===

impl Preread {
    /// A socket of which this was read.
    pub(crate) fn new(stream: TcpStream, read: BytesMut) -> Preread {
        Preread { stream, read }
    }
}

impl Side for ClientSocket {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(ClientSocket::tcp(self))
    }

    fn reset(&mut self) {
        // If it cannot be set, the connection ends all the same.
        ClientSocket::tcp(self).set_zero_linger().ok();
    }
}

impl AsyncRead for Preread {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..len]);
        self.read.advance(len);
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Preread {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientSocket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            ClientSocket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientSocket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            ClientSocket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientSocket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            ClientSocket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            ClientSocket::Plain(stream) => stream.is_write_vectored(),
            ClientSocket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientSocket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            ClientSocket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientSocket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ClientSocket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
