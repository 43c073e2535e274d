//! The ports of `dev`: those everybody knows, or others when they are taken.

use crate::{failure::Failure, output::tell};
use clap::Args;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// How far from the usual port another is looked for.
const NEARBY: u16 = 20;

/// Which ports are wanted.
#[derive(Args)]
pub(super) struct PortSettings {
    /// The port for traffic; 0 takes any that is free, as with the others.
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    http_port: u16,
    /// The admin API's port.
    #[arg(long, default_value_t = 7080, value_name = "PORT")]
    admin_port: u16,
    /// The port at which nodes ask for their configuration.
    #[arg(long, default_value_t = 7081, value_name = "PORT")]
    discovery_port: u16,
    /// The port of the node's health and metrics.
    #[arg(long, default_value_t = 7090, value_name = "PORT")]
    status_port: u16,
}

/// Where everything listens.
pub(super) struct Ports {
    pub(super) traffic: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) discovery: SocketAddr,
    pub(super) status: SocketAddr,
}

// === impl PortSettings ===

impl PortSettings {
    /// Finds free ports, and tells which moved.
    pub(super) fn find(&self) -> Result<Ports, Failure> {
        // Held until all are found, so that none is found twice.
        let mut held = Vec::new();
        let mut port = |what: &str, wanted: u16| -> Result<SocketAddr, Failure> {
            let listener = free(wanted)
                .map_err(|error| Failure::Runtime(format!("found no free port for {what} near {wanted}: {error}")))?;
            let address = listener.local_addr().map_err(|error| Failure::Runtime(error.to_string()))?;
            if wanted != 0 && address.port() != wanted {
                tell(&format!("port {wanted} is taken, so {what} is on {}", address.port()));
            }
            held.push(listener);
            Ok(address)
        };
        Ok(Ports {
            traffic: port("traffic", self.http_port)?,
            admin: port("the admin API", self.admin_port)?,
            discovery: port("discovery", self.discovery_port)?,
            status: port("status", self.status_port)?,
        })
    }
}

/// Listens on a port, or on the next that is free. A plane's own socket may share its port with another process's;
/// this one does not, so that a gateway that already runs is noticed.
pub(super) fn free(wanted: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in wanted..=wanted.saturating_add(NEARBY) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_moves() {
        let taken = free(20_480).unwrap();
        let port = taken.local_addr().unwrap().port();
        let next = free(port).unwrap().local_addr().unwrap().port();
        assert!(next > port && next <= port + NEARBY);
    }
}
