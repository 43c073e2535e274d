//! Ports for processes that must come back on the port they had.
//!
//! They lie below those that the kernel gives to outgoing connections, so that no client of a test running beside takes
//! one while its owner is down.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback that nobody else has.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs of other checkouts on the same machine begin elsewhere.
    let start = (std::process::id() % 97) as u16 * 120;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}
