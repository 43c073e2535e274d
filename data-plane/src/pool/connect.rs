//! Dialling an endpoint.

use super::{
    connection::Connection,
    local::{LocalEndpoint, Upstreams},
};
use crate::{error::Error, wire::Wire};
use std::{net::IpAddr, time::Duration};
use tokio::net::TcpStream;

/// What a new connection is subject to.
pub(super) struct Dial<'a> {
    pub(super) upstreams: &'a Upstreams,
    pub(super) wire: &'a Wire,
    pub(super) max_connections: u32,
    pub(super) within: Duration,
}

/// Opens a connection to an endpoint; all its addresses are tried.
pub(super) async fn connect(endpoint: &LocalEndpoint, dial: Dial<'_>) -> Result<Connection, Error> {
    let seat = endpoint.endpoint.seats.take(dial.max_connections).ok_or(Error::Overflow)?;
    let dialled = dial.wire.limit(dial.within, open(endpoint, &dial)).await;
    let stream = dialled.map_err(|_| Error::ConnectTimeout)??;
    Ok(Connection::new(stream, seat))
}

async fn open(endpoint: &LocalEndpoint, to: &Dial<'_>) -> Result<TcpStream, Error> {
    let address = &endpoint.endpoint.address;
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return dial(ip, address.port).await;
    }
    let addresses = to.upstreams.resolver.resolve(&address.host).await.map_err(|_| Error::Resolve)?;
    // Each has its share of the time, or one that is silent would take all of it.
    let share = to.within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = Error::Resolve;
    for ip in addresses.iter() {
        match tokio::time::timeout(share, dial(*ip, address.port)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = Error::ConnectTimeout,
        }
    }
    Err(failure)
}

async fn dial(ip: IpAddr, port: u16) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect((ip, port)).await.map_err(|_| Error::ConnectRefused)?;
    // Without it a small request waits for the acknowledgement of the one before; that it cannot be set is no reason
    // to fail.
    stream.set_nodelay(true).ok();
    Ok(stream)
}
