//! A client's socket, with or without TLS.

use crate::tunnel::Side;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
#[cfg(target_os = "linux")]
use std::task::ready;
use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll},
};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// More follows, says it to the kernel, which then does not send what fills no packet.
#[cfg(target_os = "linux")]
const MSG_MORE: i32 = 0x8000;

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

    /// Writes what is the last of a connection. The end of it goes in the same packet, for the kernel holds the write back
    /// until [`ClientSocket::finish`], a moment later, or the drop.
    pub(crate) fn poll_write_last(&mut self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if let ClientSocket::Plain(stream) = self {
            loop {
                ready!(stream.poll_write_ready(cx))?;
                let send = || SockRef::from(&*stream).send_vectored_with_flags(parts, MSG_MORE);
                match stream.try_io(Interest::WRITABLE, send) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => return Poll::Ready(sent),
                }
            }
        }
        Pin::new(self).poll_write_vectored(cx, parts)
    }

    /// Says that nothing more is written, before the drop: what the client sent meanwhile would turn that into a reset,
    /// which takes what was held back with it.
    pub(crate) fn finish(&self) {
        if let ClientSocket::Plain(stream) = self {
            // Whoever is gone needs no end.
            SockRef::from(stream).shutdown(Shutdown::Write).ok();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::poll_fn,
        io::{Read, Write},
        net,
    };

    #[tokio::test]
    async fn what_is_written_last_arrives_though_the_client_still_sent() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        client.write_all(b"more").unwrap();
        stream.peek(&mut [0; 4]).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut socket = ClientSocket::Plain(TcpStream::from_std(stream).unwrap());
        let parts = [IoSlice::new(b"the "), IoSlice::new(b"answer")];
        assert_eq!(poll_fn(|cx| socket.poll_write_last(&parts, cx)).await.unwrap(), 10);
        socket.finish();
        drop(socket);
        let mut answer = [0; 10];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"the answer");
    }
}
