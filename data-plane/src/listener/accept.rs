//! Accepting clients, and what the connections of one worker have in common.

use super::{connection::serve, http1::Scratch};
use crate::{
    context::{Door, Peer},
    drain::Drain,
    error::Error,
    proxy::Local,
    settings::Settings,
    telemetry::{Telemetry, counters::count},
    tls::ServerTls,
    wire::Wire,
};
use http::HeaderValue;
use ipnet::IpNet;
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::{TcpListener, TcpStream};

/// How long to wait when a connection cannot be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long whoever began to connect before the listener closes may take to do so.
const HANDSHAKE: Duration = Duration::from_millis(250);

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
    /// How many clients are turned away at this moment.
    pub(super) turned_away: Cell<usize>,
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
            turned_away: Cell::new(0),
            telemetry: telemetry.clone(),
            trusted: settings.trusted_proxy.clone().into(),
            max: settings.max_connections,
        }
    }

    /// Looks at the clock for the date of answers, and whether there is room for idle clients. A worker does so now and then.
    pub(crate) fn tick(&self) {
        self.date.set(date());
        self.drain.spare(self.telemetry.memory().is_overloaded());
    }

    fn admit(self: &Rc<Clients>, stream: TcpStream, address: SocketAddr, door: &Rc<Door>) {
        count(&self.local.counters.accepted, 1);
        self.drain.count();
        // Boxed, for a task is copied several times before it runs.
        tokio::task::spawn_local(Box::pin(serve(self.clone(), stream, address, door.clone())));
    }

    pub(super) fn seat(&self) -> Result<Seat<'_>, Error> {
        if self.telemetry.memory().is_overloaded() {
            return Err(Error::Overloaded);
        }
        let connections = self.telemetry.connections();
        if connections.fetch_add(1, Relaxed) >= self.max {
            connections.fetch_sub(1, Relaxed);
            return Err(Error::Connections);
        }
        Ok(Seat(&self.telemetry))
    }

    pub(super) fn peer(&self, door: &Rc<Door>, address: SocketAddr) -> Peer {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer {
            listener: door.clone(),
            address,
            text: text(address.ip()),
            trusted: self.trusted.iter().any(|block| block.contains(&address.ip())),
            trusted_blocks: self.trusted.clone(),
            certificate: None,
            wire: Wire::new(Instant::now()),
        }
    }
}

// An address of IPv4 by hand: a formatter costs a new connection more than its look-up of a route.
fn text(ip: IpAddr) -> HeaderValue {
    let text = match ip {
        IpAddr::V4(ip) => {
            let (mut text, mut len) = ([b'.'; 16], 0);
            for octet in ip.octets() {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(octet).as_bytes();
                text[len..len + digits.len()].copy_from_slice(digits);
                len += digits.len() + 1;
            }
            HeaderValue::from_bytes(&text[..len - 1])
        }
        IpAddr::V6(ip) => HeaderValue::try_from(ip.to_string()),
    };
    // An address is ASCII.
    text.unwrap_or(HeaderValue::from_static("unknown"))
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

/// Accepts connections until the drain has begun; whoever is in the queue then, or about to be, is let in before it is
/// closed.
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
    // Whoever begins now is refused once the listener is closed; whoever is about to be connected is still let in.
    if let Err(error) = refuse_beginnings(&listener) {
        tracing::debug!(%error, "connections that are made while the listener closes may be lost");
    }
    let last = async {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => clients.admit(stream, address, &door),
                Err(error) if is_connections(&error) => {}
                Err(_) => break,
            }
        }
    };
    // Nothing else ends it.
    tokio::time::timeout(HANDSHAKE, last).await.ok();
}

// Between the last accept and the close the kernel would make connections and then reset them, with requests on them. So
// what begins a connection is dropped: SYN without ACK.
#[cfg(target_os = "linux")]
fn refuse_beginnings(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).attach_filter(&[
        // The flags, in the byte at 13 of the packet's TCP header; of them those two.
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ])
}

#[cfg(not(target_os = "linux"))]
fn refuse_beginnings(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

// Whether the error is of one connection that ended before it was accepted.
fn is_connections(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        for ip in ["0.0.0.0", "127.0.0.1", "10.20.30.40", "255.255.255.255", "::1", "2001:db8::7"] {
            assert_eq!(text(ip.parse().unwrap()), ip);
        }
    }
}
