//! Connections of nodes: a bounded number, and none that never speaks.

use crate::nodes::MAX_NODES;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tracing::warn;

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
    stream: TcpStream,
    // How much of the preface is still to come, and until when.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

// === impl Accepted ===

impl Accepted {
    /// The connections of a listener. Errors of accepting are of one connection or pass by themselves.
    pub(super) fn of(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        futures_util::stream::unfold((listener, places), |(listener, places)| async move {
            loop {
                let place = places.clone().acquire_owned().await.ok()?;
                match listener.accept().await {
                    Ok((stream, _)) => {
                        // Changes and heartbeats are small and wait for nothing.
                        let _ = stream.set_nodelay(true);
                        let timeout = Box::pin(tokio::time::sleep(PREFACE_TIMEOUT));
                        let accepted = Accepted { stream, preface: Some((PREFACE, timeout)), _place: place };
                        return Some((Ok(accepted), (listener, places)));
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept a node's connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        })
    }
}

impl Connected for Accepted {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
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
