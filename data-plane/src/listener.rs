//! Listeners: bound addresses, one socket of each a worker.
//!
//! `SO_REUSEPORT` lets the kernel spread connections over workers: no thread accepts for another.

mod accept;
mod connection;
mod http1;
mod http2;
mod proxy_protocol;

pub(crate) use accept::{Clients, accept};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use http1::decode_head;
pub(crate) use http1::read_head;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use proxy_protocol::decode_for_fuzzers as decode_proxy_protocol;

use crate::settings::{Listen, Settings};
use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    /// As it was written, with the port that was taken.
    pub(crate) listen: Listen,
    /// One a worker.
    pub(crate) sockets: Vec<TcpListener>,
}

/// Binds all listeners, so that what cannot be bound is known before anything starts.
pub(crate) fn bind(settings: &Settings) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for listen in &settings.listen {
        let failed = || format!("failed to listen on {listen}");
        // Another process with the same option would silently share the traffic: the first socket claims the port alone.
        let probe = socket(listen.address, Sharing::Alone).with_context(failed)?;
        let address = probe.local_addr().with_context(failed)?;
        drop(probe);
        let sockets = (0..settings.worker_count()).map(|_| socket(address, Sharing::Workers));
        let sockets = sockets.collect::<io::Result<Vec<_>>>().with_context(failed)?;
        listeners.push(Listener { listen: Listen { address, ..listen.clone() }, sockets });
    }
    Ok(listeners)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Workers,
}

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` is for both families, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    // A port whose last connections linger is free nevertheless.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    match sharing {
        Sharing::Alone => {
            socket.bind(&address.into())?;
        }
        Sharing::Workers => {
            socket.set_reuse_port(true)?;
            // Accepted sockets inherit it.
            socket.set_tcp_nodelay(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
        }
    }
    Ok(socket.into())
}
