//! One client's connection, from its accept to its end: who is there, and which protocol is spoken.

use super::{accept::Clients, http1, http2, proxy_protocol};
use crate::{
    context::{ClientCertificate, Door, Peer},
    error::{Error, Fault},
    inbound::{ClientSocket, HEAD_ROOM, Inbound, Preread},
    telemetry::counters::count,
    wire::{Elapsed, Wire},
};
use bytes::{Buf, BytesMut};
use proto::matching::Scheme;
use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How many clients that are turned away are waited for at once, so that they can read why, and how long.
const MOST_TURNED_AWAY: usize = 128;
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// A connection, and what was read of it.
struct Opened {
    stream: TcpStream,
    read: BytesMut,
    // Of the client, which is not at the other end when a balancer speaks for it.
    address: SocketAddr,
}

/// A connection ended before anything was asked; why, when that is the client's fault.
struct Unopened(Option<&'static str>);

/// Serves a connection.
pub(super) async fn serve(clients: Rc<Clients>, stream: TcpStream, address: SocketAddr, door: Rc<Door>) {
    let drain = &clients.drain;
    let _counted = drain.counted();
    let _seat = match clients.seat() {
        Ok(seat) => seat,
        Err(error) => return Box::pin(turn_away(&clients, stream, &door, &error)).await,
    };
    let _place = poll_fn(|cx| Poll::Ready(drain.enter(cx.waker()))).await;
    let mut served = pin!(open_and_serve(&clients, Opened { stream, read: BytesMut::new(), address }, &door));
    poll_fn(|cx| if drain.is_cut() { Poll::Ready(()) } else { served.as_mut().poll(cx) }).await;
}

// Says why, in the clear only, for a handshake costs more than there is. A client that sends meanwhile would see a reset
// instead of the answer: its bytes are taken and thrown away for a moment.
async fn turn_away(clients: &Rc<Clients>, mut stream: TcpStream, door: &Rc<Door>, error: &Error) {
    let local = &clients.local;
    count(&local.counters.refused, 1);
    local.counters.fail(None, error.reason(), error.fault());
    let waiting = &clients.turned_away;
    // Whoever does not take it did not want it.
    if door.scheme == Scheme::Https
        || stream.try_write(&http1::unasked(clients, error)).is_err()
        || waiting.get() >= MOST_TURNED_AWAY
    {
        return;
    }
    waiting.set(waiting.get() + 1);
    let read = async {
        stream.shutdown().await.ok();
        let mut thrown_away = [0; 1024];
        while stream.read(&mut thrown_away).await.is_ok_and(|n| n > 0) {}
    };
    timeout(TURNED_AWAY, read).await.ok();
    waiting.set(waiting.get() - 1);
}

async fn open_and_serve(clients: &Rc<Clients>, mut opened: Opened, door: &Rc<Door>) {
    if door.proxy_protocol {
        // Boxed, so that those that have none of it have no room for it.
        opened = match Box::pin(learn_client(clients, opened)).await {
            Ok(opened) => opened,
            Err(Unopened(reason)) => {
                reason.inspect(|reason| clients.local.counters.fail(None, reason, Fault::Client));
                return;
            }
        };
    }
    let Opened { stream, read, address } = opened;
    let mut peer = clients.peer(door, address);
    let tls = match (door.scheme, &clients.tls) {
        (Scheme::Http, _) => {
            let inbound = Inbound::new(ClientSocket::Plain(stream), read);
            return serve_either(clients, &Rc::new(peer), inbound).await;
        }
        (Scheme::Https, Some(tls)) => tls,
        // A node with such a listener has one; in the clear nobody is served by mistake.
        (Scheme::Https, None) => return,
    };
    let within = clients.local.settings.header_timeout;
    let stream = match Box::pin(tls.accept(Preread::new(stream, read), door.client_auth, within)).await {
        Ok(stream) => stream,
        Err(error) => return clients.local.counters.fail(None, error.reason(), Fault::Client),
    };
    let session = stream.get_ref().1;
    peer.certificate = session.peer_certificates().map(|chain| Rc::new(ClientCertificate::shown(chain)));
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Rc::new(peer);
    let socket = ClientSocket::Tls(Box::new(stream));
    match is_http2 {
        true => Box::pin(http2::serve(clients, &peer, socket, BytesMut::new())).await,
        false => Box::pin(serve_either(clients, &peer, Inbound::new(socket, BytesMut::new()))).await,
    }
}

// HTTP/1, unless the first bytes are those of HTTP/2.
async fn serve_either(clients: &Rc<Clients>, peer: &Rc<Peer>, inbound: Inbound) {
    if let Some(inbound) = peer.wire.drive(pin!(http1::serve(clients, peer, inbound))).await {
        let (socket, read) = inbound.into_parts();
        Box::pin(http2::serve(clients, peer, socket, read)).await;
    }
}

// The header of the PROXY protocol has to come as soon as the head of a request.
async fn learn_client(clients: &Clients, opened: Opened) -> Result<Opened, Unopened> {
    let within = clients.local.settings.header_timeout;
    let wire = Wire::new(Instant::now());
    match wire.drive(pin!(wire.limit(within, read_client(opened)))).await {
        Ok(opened) => opened,
        Err(Elapsed) => Err(Unopened(Some("proxy_header_timeout"))),
    }
}

async fn read_client(mut opened: Opened) -> Result<Opened, Unopened> {
    loop {
        opened.read.reserve(HEAD_ROOM);
        match opened.stream.read_buf(&mut opened.read).await {
            Ok(n) if n > 0 => {}
            // A balancer that only looks whether somebody is there.
            Ok(_) | Err(_) if opened.read.is_empty() => return Err(Unopened(None)),
            Ok(_) | Err(_) => return Err(Unopened(Some("proxy_header"))),
        }
        match proxy_protocol::decode(&opened.read) {
            Ok(None) => {}
            Ok(Some(header)) => {
                opened.read.advance(header.len);
                opened.address = header.client.unwrap_or(opened.address);
                return Ok(opened);
            }
            Err(proxy_protocol::Malformed) => return Err(Unopened(Some("proxy_header"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl Fn(Rc<Clients>, TcpStream, SocketAddr, Rc<Door>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_on_which_nothing_happens_costs_little() {
        // It has no buffers then: this is nearly all.
        assert!(size(serve) <= 8 * 1024, "{}", size(serve));
    }
}
