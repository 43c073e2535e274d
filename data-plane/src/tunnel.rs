//! Two connections tied together: what comes from one goes to the other, byte by byte, until both have ended.
//!
//! Nothing is read that cannot be passed on, so each side is as fast as the other takes it; what was read lies in a buffer
//! of the worker, and only what the other side did not take at once has memory of its own. A tunnel on which nothing
//! happens has none. An end in good order is passed on, each way by itself. Whatever is not one (a reset, a silence for
//! too long, a node that stops) ends both connections with a reset, so that nobody takes half of something for all of it.

use crate::wire::{Elapsed, Wire};
use bytes::{Buf, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How much is read at once.
pub(crate) const SCRATCH: usize = 64 * 1024;
/// How often one way goes on before the other has its turn.
const ROUNDS: usize = 16;
/// How long whoever still sends is listened to when nobody takes it any more.
const LINGER: Duration = Duration::from_secs(5);
/// When and how often TCP asks whether a silent peer is still there; one that is not is noticed within two minutes.
const ASK_AFTER: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_secs(15);
const ASK_TIMES: u32 = 4;

/// One of the two connections.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The connection below, if it has one for itself.
    fn tcp(&self) -> Option<&TcpStream>;

    /// What is dropped from now on is dropped with a reset.
    fn reset(&mut self);
}

/// Two connections.
#[derive(Debug)]
pub(crate) struct Tunnel<C: Side, U: Side> {
    client: C,
    upstream: U,
    up: Way,
    down: Way,
    idle: Duration,
    // Both ended in good order.
    over: bool,
}

/// How it ended, when neither side ended it in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client is gone.
    Client,
    /// The upstream is.
    Upstream,
    /// Neither sent anything for too long.
    Idle,
}

/// One of its directions.
#[derive(Debug)]
struct Way {
    // What was read and not taken yet; nothing more is read meanwhile.
    rest: BytesMut,
    // How many bytes were taken.
    bytes: u64,
    state: State,
    // What was written has left for the socket; TLS may hold some of it back.
    flushed: bool,
    moved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flows,
    /// Nothing more comes, which is to be passed on.
    Ends,
    /// The other side takes no more. What comes is thrown away, so that it does not turn the end into a reset.
    Lost,
    /// Nothing more comes, and the other side knows.
    Ended,
}

/// The side that is read from is gone.
struct Gone;

// === impl Tunnel ===

impl<C: Side, U: Side> Tunnel<C, U> {
    /// Ties them together, each with what was read of it already; `idle` is how long neither may send anything.
    pub(crate) fn new(client: (C, BytesMut), upstream: (U, BytesMut), idle: Duration) -> Tunnel<C, U> {
        let ((client, from_client), (upstream, from_upstream)) = (client, upstream);
        for tcp in [client.tcp(), upstream.tcp()].into_iter().flatten() {
            let ask = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY).with_retries(ASK_TIMES);
            // Without it they are found out when the tunnel was idle for too long.
            SockRef::from(tcp).set_tcp_keepalive(&ask).ok();
        }
        let (up, down) = (Way::new(from_client), Way::new(from_upstream));
        Tunnel { client, upstream, up, down, idle, over: false }
    }

    /// How many bytes went to the upstream, and to the client.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.up.bytes, self.down.bytes)
    }

    /// Passes on what there is. Ready when both have ended.
    pub(crate) fn poll(
        &mut self,
        wire: &Wire,
        scratch: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // A worker without tunnels has no memory for them.
        scratch.resize(SCRATCH, 0);
        let up = self.up.poll(&mut self.client, &mut self.upstream, scratch, cx);
        let down = self.down.poll(&mut self.upstream, &mut self.client, scratch, cx);
        if self.up.take_moved() | self.down.take_moved() {
            wire.progress();
        }
        match (up, down) {
            // It was told that nothing more comes: many a client leaves then without a word, and is none that was cut off.
            (Poll::Ready(Err(Gone)), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            (Poll::Ready(Err(Gone)), _) => return Poll::Ready(Err(Broken::Client)),
            (_, Poll::Ready(Err(Gone))) => return Poll::Ready(Err(Broken::Upstream)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                self.over = true;
                return Poll::Ready(Ok(()));
            }
            (Poll::Ready(Ok(())) | Poll::Pending, Poll::Ready(Ok(())) | Poll::Pending) => {}
        }
        // Whoever is only listened to has what there was for it.
        let lingers =
            matches!((self.up.state, self.down.state), (State::Lost, State::Ended) | (State::Ended, State::Lost));
        match wire.wait(if lingers { LINGER } else { self.idle }) {
            Ok(()) => Poll::Pending,
            Err(Elapsed) if lingers => {
                self.over = true;
                Poll::Ready(Ok(()))
            }
            Err(Elapsed) => Poll::Ready(Err(Broken::Idle)),
        }
    }
}

impl<C: Side, U: Side> Drop for Tunnel<C, U> {
    fn drop(&mut self) {
        if !self.over {
            self.client.reset();
            self.upstream.reset();
        }
    }
}

// === impl Way ===

impl Way {
    fn new(rest: BytesMut) -> Way {
        Way { rest, bytes: 0, state: State::Flows, flushed: true, moved: false }
    }

    fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    fn poll(
        &mut self,
        from: &mut impl Side,
        to: &mut impl Side,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        for _ in 0..ROUNDS {
            match self.state {
                State::Flows => {
                    if ready!(self.poll_pass_on(to, cx)).is_err() {
                        self.lose();
                        continue;
                    }
                }
                State::Ends => {
                    ready!(self.poll_end(to, cx));
                    continue;
                }
                State::Lost => {}
                State::Ended => return Poll::Ready(Ok(())),
            }
            let mut read = ReadBuf::new(scratch);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => {
                    // It is all passed on: nothing needs memory now.
                    self.rest = BytesMut::new();
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                Poll::Ready(Ok(())) => self.take(read.filled(), to, cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    // What was read before goes first.
    fn poll_pass_on(&mut self, to: &mut impl Side, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.rest)) {
                Ok(n) if n > 0 => {
                    self.rest.advance(n);
                    self.wrote(n);
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
        if !self.flushed {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| Gone)?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    // That nothing more comes is known to the other side, or it is gone, which its own way tells.
    fn poll_end(&mut self, to: &mut impl Side, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(to).poll_shutdown(cx)).ok();
        (self.state, self.moved) = (State::Ended, true);
        Poll::Ready(())
    }

    // What was read now; mostly the other side takes it at once.
    fn take(&mut self, read: &[u8], to: &mut impl Side, cx: &mut Context<'_>) {
        match self.state {
            State::Flows => {}
            State::Lost if read.is_empty() => return self.state = State::Ended,
            // It is no progress, so that this ends.
            State::Ends | State::Lost | State::Ended => return,
        }
        self.moved = true;
        if read.is_empty() {
            self.state = State::Ends;
            return;
        }
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(Ok(n)) if n > 0 => n,
            Poll::Ready(Ok(_) | Err(_)) => return self.lose(),
            Poll::Pending => 0,
        };
        self.rest.extend_from_slice(&read[written..]);
        self.wrote(written);
    }

    fn wrote(&mut self, n: usize) {
        self.bytes += n as u64;
        self.flushed &= n == 0;
        self.moved |= n > 0;
    }

    fn lose(&mut self) {
        self.rest = BytesMut::new();
        (self.state, self.moved) = (State::Lost, true);
    }
}
