//! A request after whose answer the connection speaks another protocol: the tunnel, and what is on record of it.
//!
//! It may last for days. So it keeps nothing of the request but what the log will say, in memory of its own.

use super::record::Record;
use crate::{
    error::Fault,
    pool::Switched,
    tunnel::{Broken, Side, Tunnel},
};
use bytes::BytesMut;
use std::future::poll_fn;

/// A request that has become a tunnel. Its record is written when it is dropped.
pub(super) struct Passage<C: Side> {
    record: Box<Record>,
    tunnel: Tunnel<C, Switched>,
    ended: bool,
}

impl<C: Side> Passage<C> {
    /// Ties the client's connection, of which this was read already, to the upstream's.
    pub(super) fn new(mut record: Box<Record>, (client, read): (C, BytesMut), mut upstream: Switched) -> Passage<C> {
        record.settle();
        let opened = &record.local.counters.tunnels;
        opened.set(opened.get() + 1);
        let came = upstream.take_read();
        let tunnel = Tunnel::new((client, read), (upstream, came), record.tunnel_idle());
        record.peer.wire.progress();
        Passage { record, tunnel, ended: false }
    }

    /// Passes on what comes, to the end.
    pub(super) async fn run(mut self) {
        let ended = poll_fn(|cx| {
            let Record { local, peer, .. } = &*self.record;
            self.tunnel.poll(&peer.wire, &mut local.scratch.borrow_mut(), cx)
        })
        .await;
        self.ended = true;
        match ended {
            Ok(()) => self.record.ended(),
            Err(Broken::Client) => {}
            Err(Broken::Upstream) => self.record.tunnel_broken("tunnel_reset", Fault::Upstream),
            Err(Broken::Idle) => self.record.tunnel_broken("tunnel_idle", Fault::Gateway),
        }
    }
}

impl<C: Side> Drop for Passage<C> {
    fn drop(&mut self) {
        let record = &mut self.record;
        (record.received, record.sent) = self.tunnel.bytes();
        // A stream of HTTP/2 is also dropped when its connection ends, as if the client had left.
        if !self.ended && record.local.draining.get() {
            record.tunnel_broken("drained", Fault::Gateway);
        }
        let opened = &record.local.counters.tunnels;
        opened.set(opened.get() - 1);
    }
}
