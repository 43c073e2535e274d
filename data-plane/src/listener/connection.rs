//! One client's connection: accepted, served request by request, and closed for a reason.
//!
//! hyper speaks HTTP/1.1 with the client. What it has no limits for is driven here with one lazy timer a connection: a
//! head that does not come, silence between requests, an answer that is not taken.

use super::socket::ClientSocket;
use crate::{
    context::{Door, Peer},
    drain::{Drain, Place},
    error::Fault,
    proxy::{self, AnswerBody, Local},
    settings::Settings,
    telemetry::{Telemetry, counters::count},
    wire::{Overdue, Patience, Phase, Wire},
};
use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep_until},
};

const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

/// How long to wait when a connection cannot be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of one worker have in common.
pub(crate) struct Clients {
    pub(crate) local: Rc<Local>,
    pub(crate) drain: Drain,
    telemetry: Telemetry,
    http: http1::Builder,
    patience: Patience,
    trusted: Rc<[IpNet]>,
    max: usize,
}

// The right to one of the node's connections.
struct Seat<'a>(&'a Telemetry);

// === impl Clients ===

impl Clients {
    pub(crate) fn new(settings: &Settings, local: Rc<Local>, telemetry: &Telemetry) -> Clients {
        let mut http = http1::Builder::new();
        http.header_read_timeout(None)
            .pipeline_flush(false)
            .half_close(false)
            .max_headers(settings.max_headers)
            .max_header_size(settings.max_header_bytes)
            // Room for the head and what follows it in the same read.
            .max_buf_size(settings.max_header_bytes + 64 * 1024);
        Clients {
            local,
            drain: Drain::default(),
            telemetry: telemetry.clone(),
            http,
            patience: Patience {
                head: settings.header_timeout,
                keep_alive: settings.keep_alive_timeout,
                write: settings.idle_timeout,
                head_bytes: settings.max_header_bytes,
            },
            trusted: settings.trusted_proxy.clone().into(),
            max: settings.max_connections,
        }
    }

    fn admit(self: &Rc<Clients>, stream: TcpStream, address: SocketAddr, door: &Rc<Door>) {
        count(&self.local.counters.accepted, 1);
        self.drain.count();
        let peer = Rc::new(self.peer(door, address));
        tokio::task::spawn_local(serve(self.clone(), stream, peer));
    }

    fn seat(&self) -> Option<Seat<'_>> {
        let connections = self.telemetry.connections();
        if connections.fetch_add(1, Relaxed) >= self.max {
            connections.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Seat(&self.telemetry))
    }

    fn peer(&self, door: &Rc<Door>, address: SocketAddr) -> Peer {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer {
            listener: door.clone(),
            address,
            // An address is ASCII.
            text: HeaderValue::try_from(address.ip().to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            trusted: self.trusted.iter().any(|block| block.contains(&address.ip())),
            trusted_blocks: self.trusted.clone(),
            wire: Wire::new(Instant::now(), self.patience),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.connections().fetch_sub(1, Relaxed);
    }
}

/// Accepts connections until the drain has begun; whoever is in the queue then is let in before it is closed.
pub(crate) async fn accept(clients: Rc<Clients>, listener: TcpListener, door: Rc<Door>) {
    let drain = &clients.drain;
    poll_fn(|cx| {
        drain.watch(cx.waker());
        Poll::Ready(())
    })
    .await;
    loop {
        let accepted = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Pending if drain.begun() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, address))) => clients.admit(stream, address, &door),
            Some(Err(error)) if is_connections(&error) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, listener = door.name, "failed to accept; are there file descriptors left?");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The runtime may not know yet that somebody waits: ask the kernel itself, until it has nobody.
    let Ok(listener) = listener.into_std() else { return };
    loop {
        match listener.accept() {
            Ok((stream, address)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    clients.admit(stream, address, &door);
                }
            }
            Err(error) if is_connections(&error) => {}
            Err(_) => break,
        }
    }
}

// Whether the error is of one connection that ended before it was accepted.
fn is_connections(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn serve(clients: Rc<Clients>, stream: TcpStream, peer: Rc<Peer>) {
    let _counted = clients.drain.counted();
    let socket = ClientSocket::new(stream, peer.clone());
    let Some(_seat) = clients.seat() else {
        count(&clients.local.counters.refused, 1);
        socket.last_word(FULL);
        return;
    };
    let (local, caller) = (clients.local.clone(), peer.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = proxy::answer(local.clone(), caller.clone(), request);
        async move { Ok::<Response<AnswerBody>, Infallible>(answer.await) }
    });
    let mut connection = clients.http.serve_connection(TokioIo::new(socket), service);
    let mut driver = Driver { clients: &clients, peer: &peer, place: None, armed: None, closing: false };
    let mut timer = pin!(sleep_until(Instant::now().into()));
    let end = poll_fn(|cx| {
        loop {
            if clients.drain.is_cut() {
                return Poll::Ready(End::Done);
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Err(error)) if error.is_parse() => return Poll::Ready(End::Malformed),
                // What else it ended with is in the records of its requests, or of no interest to anybody.
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(End::Done),
            }
            match driver.poll(timer.as_mut(), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::Step) => {}
                Poll::Ready(Due::Drain) => Pin::new(&mut connection).graceful_shutdown(),
                Poll::Ready(Due::Client(Phase::Head)) => return Poll::Ready(End::Timeout),
                Poll::Ready(Due::Client(Phase::Fresh | Phase::Idle | Phase::Busy)) => return Poll::Ready(End::Done),
            }
        }
    });
    match end.await {
        End::Done => {}
        // hyper has answered already.
        End::Malformed => clients.local.counters.fail(None, "malformed", Fault::Client),
        End::Timeout => {
            clients.local.counters.fail(None, "head_timeout", Fault::Client);
            connection.into_parts().io.into_inner().last_word(TIMEOUT);
        }
    }
}

enum End {
    Done,
    // What came is not HTTP.
    Malformed,
    // A head did not come in time.
    Timeout,
}

enum Due {
    // The request in hand is to be polled again.
    Step,
    // The client's patience is at an end.
    Client(Phase),
    // The connection is idle and is to end.
    Drain,
}

// The one timer of a connection.
struct Driver<'a> {
    clients: &'a Clients,
    peer: &'a Peer,
    place: Option<Place<'a>>,
    // When the timer fires.
    armed: Option<Instant>,
    // It was told to close, once: what it still writes may take its time.
    closing: bool,
}

impl Driver<'_> {
    fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Due> {
        let drain = &self.clients.drain;
        if self.place.is_none() {
            self.place = Some(drain.enter(cx.waker()));
        }
        loop {
            let Some(deadline) = self.deadline() else { return Poll::Pending };
            // A timer that fires too early is left alone: it is armed again when it fires.
            if self.armed.is_none_or(|armed| deadline < armed) {
                timer.as_mut().reset(deadline.into());
                self.armed = Some(deadline);
            } else if !timer.is_elapsed() {
                return Poll::Pending;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            let now = Instant::now();
            match self.peer.wire.overdue(now) {
                Overdue::Step => return Poll::Ready(Due::Step),
                Overdue::Client(phase) => return Poll::Ready(Due::Client(phase)),
                Overdue::Nothing if self.drains_at().is_some_and(|at| at <= now) => {
                    self.closing = true;
                    return Poll::Ready(Due::Drain);
                }
                Overdue::Nothing => {}
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.peer.wire.deadline(), self.drains_at()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn drains_at(&self) -> Option<Instant> {
        match self.peer.wire.phase() {
            Phase::Fresh | Phase::Idle if self.closing => None,
            Phase::Fresh | Phase::Idle => self.clients.drain.closes_at(self.peer.wire.since()),
            Phase::Head | Phase::Busy => None,
        }
    }
}
