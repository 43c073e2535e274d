//! Connections of nodes: a bounded number, TLS where it is spoken, and none of whoever is not let in.

use crate::{
    nodes::MAX_NODES,
    tls::{AcceptError, PortTls, authority::NodeCertificate},
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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

/// How long a connection may take until it was used by somebody who is let in. hyper waits for ever, and so the places
/// could be held by anybody.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// After the system is out of something, like files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that counts against the limit.
pub(super) struct Accepted {
    stream: Transport,
    peer: Peer,
    // How long it has left while it is not let in.
    waits: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) address: Option<SocketAddr>,
    pub(super) link: Link,
    /// What it has shown of itself, if it speaks TLS and has a certificate.
    pub(super) certificate: Option<NodeCertificate>,
    let_in: Arc<AtomicBool>,
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
                // Nobody's handshake holds up another's; it has its time limit, and then the admission has one.
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
    let mut peer = Peer { address: Some(address), link: Link::to(address), ..Peer::default() };
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
    let waits = Some(Box::pin(tokio::time::sleep(ADMISSION_TIMEOUT)));
    Some(Accepted { stream, peer, waits, _place: place })
}

// === impl Peer ===

impl Peer {
    /// It has shown what a node has to: its connection may stay.
    pub(super) fn let_in(&self) {
        self.let_in.store(true, Ordering::Relaxed);
    }

    fn is_let_in(&self) -> bool {
        self.let_in.load(Ordering::Relaxed)
    }
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
        if self.waits.is_some() && self.peer.is_let_in() {
            self.waits = None;
        }
        if let Some(waits) = &mut self.waits
            && waits.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
    use futures_util::StreamExt;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn only_who_is_let_in_may_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = pin!(incoming(listener, None));
        for (let_in, expect) in [(false, Err(io::ErrorKind::TimedOut)), (true, Ok(b'x'))] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let mut accepted = incoming.next().await.unwrap().unwrap();
            // It speaks, and is there; that is not enough.
            client.write_all(b"xx").await.unwrap();
            assert_eq!(accepted.read_u8().await.unwrap(), b'x');
            if let_in {
                accepted.connect_info().let_in();
            }
            assert!(accepted.waits.is_some());
            let over = tokio::time::Instant::now() - Duration::from_secs(1);
            accepted.waits = Some(Box::pin(tokio::time::sleep_until(over)));
            assert_eq!(accepted.read_u8().await.map_err(|error| error.kind()), expect);
        }
    }

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
