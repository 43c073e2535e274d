//! One client's connection, from its accept to its end.

use super::{accept::Clients, http1};
use crate::{
    context::Peer,
    inbound::{ClientSocket, Inbound},
    telemetry::counters::count,
};
use bytes::BytesMut;
use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};
use tokio::net::TcpStream;

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

/// Serves a connection.
pub(super) async fn serve(clients: Rc<Clients>, stream: TcpStream, peer: Rc<Peer>) {
    let drain = &clients.drain;
    let _counted = drain.counted();
    let Some(_seat) = clients.seat() else {
        count(&clients.local.counters.refused, 1);
        // Whoever does not take it did not want it.
        stream.try_write(FULL).ok();
        return;
    };
    let _place = poll_fn(|cx| Poll::Ready(drain.enter(cx.waker()))).await;
    let inbound = Inbound::new(ClientSocket::Plain(stream), BytesMut::new());
    let mut served = pin!(http1::serve(&clients, &peer, inbound));
    let cut = poll_fn(|cx| if drain.is_cut() { Poll::Ready(()) } else { served.as_mut().poll(cx) });
    peer.wire.drive(cut).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl Fn(Rc<Clients>, TcpStream, Rc<Peer>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_on_which_nothing_happens_costs_little() {
        // It has no buffers then: this is nearly all.
        assert!(size(serve) <= 8 * 1024, "{}", size(serve));
    }
}
