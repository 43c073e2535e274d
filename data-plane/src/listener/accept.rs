//! Accepting clients, and what the connections of one worker have in common.

use super::{connection::serve, http1::Scratch};
use crate::{
    context::{Door, Peer},
    drain::Drain,
    proxy::Local,
    settings::Settings,
    telemetry::{Telemetry, counters::count},
    tls::ServerTls,
    wire::Wire,
};
use http::HeaderValue;
use ipnet::IpNet;
use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::{TcpListener, TcpStream};

/// How long to wait when a connection cannot be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time as HTTP writes it.
pub(super) type Date = [u8; 29];

/// What the connections of one worker have in common.
pub(crate) struct Clients {
    pub(crate) local: Rc<Local>,
    pub(crate) drain: Drain,
    /// The time, as answers have it.
    pub(super) date: Cell<Date>,
    pub(super) scratch: Scratch,
    /// What listeners of the scheme https shake hands with.
    pub(super) tls: Option<ServerTls>,
    telemetry: Telemetry,
    trusted: Rc<[IpNet]>,
    max: usize,
}

/// The right to one of the node's connections.
pub(super) struct Seat<'a>(&'a Telemetry);

// === impl Clients ===

impl Clients {
    pub(crate) fn new(settings: &Settings, local: Rc<Local>, tls: Option<ServerTls>, telemetry: &Telemetry) -> Clients {
        Clients {
            local,
            drain: Drain::default(),
            date: Cell::new(date()),
            scratch: Scratch::default(),
            tls,
            telemetry: telemetry.clone(),
            trusted: settings.trusted_proxy.clone().into(),
            max: settings.max_connections,
        }
    }

    /// Looks at the clock for the date of answers. A worker does so now and then.
    pub(crate) fn tick(&self) {
        self.date.set(date());
    }

    fn admit(self: &Rc<Clients>, stream: TcpStream, address: SocketAddr, door: &Rc<Door>) {
        count(&self.local.counters.accepted, 1);
        self.drain.count();
        tokio::task::spawn_local(serve(self.clone(), stream, address, door.clone()));
    }

    pub(super) fn seat(&self) -> Option<Seat<'_>> {
        let connections = self.telemetry.connections();
        if connections.fetch_add(1, Relaxed) >= self.max {
            connections.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Seat(&self.telemetry))
    }

    pub(super) fn peer(&self, door: &Rc<Door>, address: SocketAddr) -> Peer {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer {
            listener: door.clone(),
            address,
            // An address is ASCII.
            text: HeaderValue::try_from(address.ip().to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            trusted: self.trusted.iter().any(|block| block.contains(&address.ip())),
            trusted_blocks: self.trusted.clone(),
            wire: Wire::new(Instant::now()),
        }
    }
}

fn date() -> Date {
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let now = httpdate::fmt_http_date(SystemTime::now());
    // Years of four digits make it that long.
    if now.len() == date.len() {
        date.copy_from_slice(now.as_bytes());
    }
    date
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
