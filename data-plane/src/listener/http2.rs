//! HTTP/2 with a client: many requests at once, each a stream with a wire of its own.
//!
//! All streams of a connection run in its task, so that their end is the connection's: nothing outlives a client. What a
//! client may cost is bounded: streams at once, headers, windows, frames that carry nothing; see [`meter`].

mod link;
mod meter;
mod stream;
mod tunnel;

use super::accept::Clients;
use crate::{
    context::Peer,
    error::Fault,
    inbound::ClientSocket,
    wire::{Elapsed, Wire},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use h2::{Reason, server::Builder};
use link::{Gauge, Link};
use meter::{Abuse, Budget, Meter};
use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

/// How a connection of HTTP/2 begins.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of a body may come before somebody wants it. A connection has room for as many as it may have streams: those
/// that nobody reads do not hold up the others.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The largest window there is (RFC 9113, 6.9.1).
const MOST_WINDOW: u32 = i32::MAX as u32;
/// How much of an answer waits for the client to take it.
const SEND_BUFFER: usize = 64 * 1024;
const FRAME: u32 = 16 * 1024;
/// How many times the largest head the codec takes: what is beyond the one and not the other is answered as everything is,
/// with a problem and an id. The codec refuses the rest with nothing but a status.
const HEADS: usize = 2;
/// How long a client that is let go of has to take the last word.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The connection, its streams apart.
struct Driver<'a> {
    clients: &'a Rc<Clients>,
    wire: &'a Wire,
    gauge: Rc<Gauge>,
    // Since when there is no stream.
    idle: Cell<Option<Instant>>,
    // It was told to go, once.
    told: Cell<bool>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// No more streams, but those that there are end as they would.
    Farewell,
    /// Nothing more at all; why, where somebody wants to know.
    End(Reason, Option<&'static str>),
}

/// Serves a connection to its end; of what was read the preface is the beginning.
pub(super) async fn serve(clients: &Rc<Clients>, peer: &Rc<Peer>, socket: ClientSocket, read: BytesMut) {
    let now = Instant::now();
    let settings = &clients.local.settings;
    let budget = Budget { resets: settings.http2_max_resets, control: settings.http2_max_control_frames };
    let gauge = Rc::new(Gauge { meter: Meter::new(budget, now), stuck: Cell::new(None) });
    let wire = Wire::new(now);
    let driver =
        Driver { clients, wire: &wire, gauge: gauge.clone(), idle: Cell::new(Some(now)), told: Cell::new(false) };
    wire.drive(pin!(driver.run(peer, Link::new(socket, read, gauge)))).await;
}

impl Driver<'_> {
    async fn run(&self, peer: &Rc<Peer>, link: Link) {
        let settings = &self.clients.local.settings;
        let handshake = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW.saturating_mul(settings.http2_max_streams).min(MOST_WINDOW))
            .max_frame_size(FRAME)
            .max_header_list_size(u32::try_from(settings.max_header_bytes.saturating_mul(HEADS)).unwrap_or(u32::MAX))
            .max_concurrent_streams(settings.http2_max_streams)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(settings.http2_max_resets as usize)
            .enable_connect_protocol()
            .handshake::<Link, Bytes>(link);
        let mut connection = match self.wire.limit(settings.header_timeout, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return self.fail(&error),
            Err(Elapsed) => return self.count("head_timeout"),
        };
        let mut streams = FuturesUnordered::new();
        let end = poll_fn(|cx| {
            loop {
                while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
                let accepted = connection.poll_accept(cx);
                match (streams.is_empty(), self.idle.get()) {
                    (true, None) => self.idle.set(Some(Instant::now())),
                    (false, Some(_)) => self.idle.set(None),
                    (true, Some(_)) | (false, None) => {}
                }
                match accepted {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        let now = Instant::now();
                        if self.wire.is_fresh() {
                            self.wire.begin(now);
                        }
                        streams.push(stream::serve(self.clients, Rc::new(peer.of_stream(now)), request, respond));
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.fail(&error);
                        return Poll::Ready(None);
                    }
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
                match ready!(self.poll_due()) {
                    Due::Farewell => connection.graceful_shutdown(),
                    Due::End(reason, why) => return Poll::Ready(Some((reason, why))),
                }
            }
        });
        let Some((reason, why)) = end.await else { return };
        if let Some(why) = why {
            self.count(why);
        }
        drop(streams);
        connection.abrupt_shutdown(reason);
        let closed = poll_fn(|cx| connection.poll_closed(cx));
        // Whoever does not take it did not want it.
        self.wire.progress();
        self.wire.limit(LAST_WORD, closed).await.ok();
    }
}

impl Driver<'_> {
    fn poll_due(&self) -> Poll<Due> {
        let settings = &self.clients.local.settings;
        if let Some(abuse) = self.abuse() {
            return Poll::Ready(Due::End(Reason::ENHANCE_YOUR_CALM, Some(abuse)));
        }
        if self.clients.drain.begun() && !self.told.replace(true) {
            return Poll::Ready(Due::Farewell);
        }
        let patience = match self.wire.is_fresh() {
            // The first request has to come as soon as a head.
            true => settings.header_timeout,
            false => settings.keep_alive_timeout,
        };
        let idle = self.idle.get().map(|since| {
            let drains = self.clients.drain.closes_at(since).unwrap_or(since + patience);
            (drains.min(since + patience), Due::End(Reason::NO_ERROR, None))
        });
        let block = self.gauge.meter.block();
        let block =
            block.map(|since| (since + settings.header_timeout, Due::End(Reason::NO_ERROR, Some("head_timeout"))));
        let stuck = self.gauge.stuck.get();
        let stuck =
            stuck.map(|since| (since + settings.idle_timeout, Due::End(Reason::NO_ERROR, Some("client_stuck"))));
        let first = [idle, block, stuck].into_iter().flatten().min_by_key(|(at, _)| *at);
        match first {
            None => {
                self.wire.progress();
                Poll::Pending
            }
            Some((at, due)) => self.wire.wait_until(at).map_or(Poll::Ready(due), |()| Poll::Pending),
        }
    }

    fn abuse(&self) -> Option<&'static str> {
        self.gauge.meter.abuse().map(|abuse| match abuse {
            Abuse::Resets => "http2_resets",
            Abuse::Control => "http2_control_frames",
        })
    }

    // An error that is not of the network is the client's.
    fn fail(&self, error: &h2::Error) {
        if !error.is_io() && !error.is_remote() {
            self.count(self.abuse().unwrap_or("http2"));
        }
    }

    fn count(&self, reason: &'static str) {
        self.clients.local.counters.fail(None, reason, Fault::Client);
    }
}
