//! HTTP/2 to endpoints: connections that all requests of a worker share.
//!
//! A connection is a task of its own ([`driver`]); a request is one stream of it, sent and read by the task of the client
//! ([`exchange`]), and what it may hold of the connection's memory is its own window. Where a stream ended is said by its
//! last frame and by nothing else: one that is reset, for whatever reason, was not whole.

mod download;
mod driver;
mod exchange;
mod upload;

pub(super) use download::Download;
pub(super) use exchange::send;

use super::{
    Seat,
    connect::{Dial, connect},
    connection::SendError,
    local::LocalEndpoint,
    tls::alert,
};
use crate::error::Error;
use bytes::Bytes;
use driver::drive;
use h2::client::{Builder, SendRequest};
use proto::upstream::Protocol;
use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The most requests at once on a connection, whatever the endpoint allows.
const MAX_STREAMS: usize = 128;
/// How much of a response may come before somebody takes it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// As much for all streams together, so that none that is taken slowly keeps another waiting.
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;
/// The longest head of a response, as HTTP/2 counts it.
const MAX_HEAD: u32 = 64 * 1024;
/// How much of a request waits in memory for the endpoint to take it, once that allowed it to come.
const SEND_BUFFER: usize = 256 * 1024;

/// The connections between one worker and one endpoint.
#[derive(Debug, Default)]
pub(super) struct Shared {
    connections: RefCell<Vec<Connection>>,
    // One dials at a time, and who comes meanwhile waits for that.
    dialling: Cell<bool>,
    dialled: Notify,
    // How often somebody dialled, and what became of it the last time that it failed.
    dials: Cell<u64>,
    failure: RefCell<Option<(u64, Error)>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Bytes>,
    load: Rc<Load>,
}

/// What is under way on a connection.
#[derive(Debug)]
struct Load {
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
    closed: Cell<bool>,
    // Why, if it failed.
    failure: OnceCell<io::Error>,
    // A request got no answer in time. Until it is known that the endpoint is there, no more are sent.
    doubted: Cell<bool>,
    doubt: Notify,
    // The other is the driver's.
    seat: Rc<Seat>,
}

/// The right to one stream.
#[derive(Debug)]
struct Lease(Rc<Load>);

struct Acquired {
    sender: SendRequest<Bytes>,
    lease: Lease,
    // It was dialled for this request.
    fresh: bool,
}

// Somebody dials. Dropped before that came to anything, another may.
struct Dialling<'a>(&'a Shared);

// === impl Shared ===

impl Shared {
    /// Closes what was idle for too long, or what another would make better use of.
    pub(super) fn sweep(&self, now: Instant, limit: Duration) {
        self.connections.borrow_mut().retain_mut(|connection| {
            let load = &connection.load;
            let idle = load.streams.get() == 0;
            let old = idle && (now.duration_since(load.idle_since.get()) >= limit || load.seat.is_wanted());
            !old && connection.is_open()
        });
    }

    async fn acquire(&self, endpoint: &LocalEndpoint, protocol: Protocol, dial: &Dial<'_>) -> Result<Acquired, Error> {
        let mut fresh = false;
        loop {
            if let Some((sender, lease)) = self.take() {
                return Ok(Acquired { sender, lease, fresh });
            }
            if self.dialling.get() {
                let number = self.dials.get();
                dial.wire.limit(dial.within, self.dialled.notified()).await.map_err(|_| Error::ConnectTimeout)?;
                match &*self.failure.borrow() {
                    Some((failed, error)) if *failed == number => return Err(error.clone()),
                    Some(_) | None => continue,
                }
            }
            let dialling = Dialling::begin(self);
            let connection = open(endpoint, protocol, dial).await;
            match connection {
                Ok(connection) => self.connections.borrow_mut().push(connection),
                Err(error) => {
                    self.failure.replace(Some((self.dials.get(), error.clone())));
                    return Err(error);
                }
            }
            drop(dialling);
            fresh = true;
        }
    }

    // The right to a stream on the first connection that has room, so that those behind it can grow old.
    fn take(&self) -> Option<(SendRequest<Bytes>, Lease)> {
        let mut connections = self.connections.borrow_mut();
        let mut at = 0;
        while at < connections.len() {
            let connection = &mut connections[at];
            if !connection.is_open() {
                connections.remove(at);
            } else if connection.has_room() {
                return Some((connection.sender.clone(), Lease::new(&connection.load)));
            } else {
                at += 1;
            }
        }
        None
    }
}

async fn open(endpoint: &LocalEndpoint, protocol: Protocol, dial: &Dial<'_>) -> Result<Connection, Error> {
    let (stream, seat) = connect(endpoint, dial).await?;
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(stream);
    // It only says hello; what the endpoint says to that shows when it is used.
    let handshake = dial.wire.limit(dial.within, handshake).await.map_err(|_| Error::ConnectTimeout)?;
    let refused = |error: h2::Error| alert(error.get_io()?, endpoint).map(SendError::into_error);
    let (sender, connection) = handshake.map_err(|error| refused(error).unwrap_or(Error::Closed))?;
    let ping = match protocol {
        Protocol::Http1 => None,
        Protocol::Http2 { ping } => ping,
    };
    let load = Rc::new(Load {
        streams: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        closed: Cell::new(false),
        failure: OnceCell::new(),
        doubted: Cell::new(false),
        doubt: Notify::new(),
        seat: Rc::new(seat),
    });
    tokio::task::spawn_local(drive(connection, load.clone(), ping));
    Ok(Connection { sender, load })
}

// === impl Connection ===

impl Connection {
    // Whether it takes new requests at all: an endpoint that is about to go says so.
    fn is_open(&mut self) -> bool {
        let ready = self.sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.load.closed.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        let max = self.sender.current_max_send_streams().min(MAX_STREAMS);
        !self.load.doubted.get() && self.load.streams.get() < max
    }
}

// === impl Lease ===

impl Lease {
    fn new(load: &Rc<Load>) -> Lease {
        load.streams.set(load.streams.get() + 1);
        Lease(load.clone())
    }

    /// There was no answer in time: whether the endpoint is there at all is found out.
    fn doubt(&self) {
        if !self.0.doubted.replace(true) {
            self.0.doubt.notify_one();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

// === impl Dialling ===

impl Dialling<'_> {
    fn begin(shared: &Shared) -> Dialling<'_> {
        shared.dialling.set(true);
        shared.dials.set(shared.dials.get() + 1);
        Dialling(shared)
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.dialling.set(false);
        self.0.dialled.notify_waiters();
    }
}
