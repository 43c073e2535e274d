//! Connections of nodes: a bounded number, TLS where it is spoken, and none that never speaks.

use crate::{
    nodes::MAX_NODES,
    tls::{AcceptError, PortTls, authority::NodeCertificate},
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_util::{either::Either, task::AbortOnDropHandle};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

/// Nodes that are leaving and coming back have two for a moment.
const MAX_CONNECTIONS: usize = MAX_NODES + MAX_NODES / 4;

/// The bytes with which HTTP/2 begins; hyper waits for them for ever.
const PREFACE: usize = 24;

/// How long they may take.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// After the system is out of something, like files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that counts against the limit.
pub(super) struct Accepted {
    stream: Transport,
    peer: Peer,
    // How much of the preface is still to come, and until when.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) address: Option<SocketAddr>,
    pub(super) link: Link,
    /// What it has shown of itself, if it speaks TLS and has a certificate.
    pub(super) certificate: Option<NodeCertificate>,
}

/// Who can read what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// Nobody but the two ends, and this machine.
    Closed,
    /// Whoever is between.
    #[default]
    Open,
}

/// Cleartext or TLS.
type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The connections of a listener. Errors of accepting are of one connection or pass by themselves.
pub(super) fn incoming(listener: TcpListener, tls: Option<Arc<PortTls>>) -> impl Stream<Item = io::Result<Accepted>> {
    let (sender, receiver) = mpsc::channel(1);
    let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, tls, sender)));
    futures_util::stream::unfold((receiver, accepting), |(mut receiver, accepting)| async move {
        let accepted = receiver.recv().await?;
        Some((Ok(accepted), (receiver, accepting)))
    })
}

async fn accept(listener: TcpListener, tls: Option<Arc<PortTls>>, sender: mpsc::Sender<Accepted>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, address)) => {
                // Changes and heartbeats are small and wait for nothing.
                let _ = stream.set_nodelay(true);
                let (tls, sender) = (tls.clone(), sender.clone());
                // Nobody's handshake holds up another's; it has its time limit, and then the preface has one.
                tokio::spawn(async move {
                    let begun = tokio::select! {
                        begun = begin(stream, tls, address, place) => begun,
                        () = sender.closed() => return,
                    };
                    if let Some(accepted) = begun {
                        let _ = sender.send(accepted).await;
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a node's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn begin(
    stream: TcpStream,
    tls: Option<Arc<PortTls>>,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
) -> Option<Accepted> {
    let mut peer = Peer { address: Some(address), link: Link::to(address), certificate: None };
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                peer.certificate = shown.and_then(NodeCertificate::read);
                peer.link = Link::Closed;
                Either::Right(Box::new(stream))
            }
            Err(error @ AcceptError::Cleartext(_)) => {
                warn!(peer = %address, "a node {error}; its --control-plane begins with https:// here");
                return None;
            }
            Err(error @ (AcceptError::Handshake(_) | AcceptError::TimedOut)) => {
                debug!(peer = %address, %error, "no node connection");
                return None;
            }
        },
    };
    let preface = Some((PREFACE, Box::pin(tokio::time::sleep(PREFACE_TIMEOUT))));
    Some(Accepted { stream, peer, preface, _place: place })
}

// === impl Link ===

impl Link {
    // In cleartext.
    fn to(peer: SocketAddr) -> Link {
        if peer.ip().to_canonical().is_loopback() { Link::Closed } else { Link::Open }
    }
}

// === impl Accepted ===

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some((missing, timeout)) = &mut self.preface else { return polled };
        *missing = missing.saturating_sub(buffer.filled().len() - before);
        if *missing == 0 {
            self.preface = None;
        } else if timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_unseen_in_cleartext() {
        for (peer, expect) in [
            ("127.0.0.1:1", Link::Closed),
            ("[::1]:1", Link::Closed),
            ("[::ffff:127.0.0.1]:1", Link::Closed),
            ("10.0.0.7:1", Link::Open),
            ("[::ffff:10.0.0.7]:1", Link::Open),
            ("[fe80::1]:1", Link::Open),
        ] {
            assert_eq!(Link::to(peer.parse().unwrap()), expect, "{peer}");
        }
        assert_eq!(Peer::default().link, Link::Open);
    }
}
