//! Dialling an endpoint.

use super::{Endpoint, Seat, local::LocalEndpoint, stream::Stream, tls::HandshakeError};
use crate::{error::Error, wire::Wire};
use std::{net::IpAddr, time::Duration};
use tokio::net::TcpStream;

/// What a new connection is subject to.
pub(super) struct Dial<'a> {
    pub(super) wire: &'a Wire,
    pub(super) max_connections: u32,
    pub(super) within: Duration,
}

/// Opens a connection to an endpoint; all its addresses are tried.
pub(super) async fn connect(endpoint: &LocalEndpoint, dial: &Dial<'_>) -> Result<(Stream, Seat), Error> {
    let seat = endpoint.endpoint.seats.take(dial.max_connections).ok_or(Error::Overflow)?;
    let dialled = dial.wire.limit(dial.within, open(endpoint, dial)).await;
    let stream = dialled.map_err(|_| Error::ConnectTimeout)??;
    Ok((stream, seat))
}

async fn open(endpoint: &LocalEndpoint, to: &Dial<'_>) -> Result<Stream, Error> {
    let ips = match endpoint.endpoint.ips.as_slice() {
        [ip] => return dial(endpoint, *ip).await,
        ips => ips,
    };
    // Each has its share of the time, or one that is silent would take all of it.
    let share = to.within / u32::try_from(ips.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = Error::ConnectRefused;
    for ip in ips {
        match tokio::time::timeout(share, dial(endpoint, *ip)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = Error::ConnectTimeout,
        }
    }
    Err(failure)
}

async fn dial(endpoint: &LocalEndpoint, ip: IpAddr) -> Result<Stream, Error> {
    let Endpoint { address, tls, .. } = &*endpoint.endpoint;
    let stream = TcpStream::connect((ip, address.port)).await.map_err(|_| Error::ConnectRefused)?;
    // Without it a small request waits for the acknowledgement of the one before; that it cannot be set is no reason
    // to fail.
    stream.set_nodelay(true).ok();
    let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
    // Boxed, for it is large and hardly ever happens.
    Box::pin(tls.handshake(stream)).await.map_err(|HandshakeError { error, detail }| {
        if endpoint.may_complain() {
            tracing::warn!(endpoint = endpoint.as_str(), %ip, error = %detail, "failed to agree with an endpoint on TLS");
        }
        error
    })
}
