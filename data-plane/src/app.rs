//! A node as a whole: binds everything and tells its addresses, then runs until it is told to stop.

use crate::settings::Settings;
use std::net::SocketAddr;

/// A node, bound.
pub struct App {}

/// Binds everything.
pub async fn build(_settings: Settings) -> anyhow::Result<App> {
    anyhow::bail!("not yet")
}

impl App {
    /// The name and address of each listener.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        Vec::new()
    }

    /// The address of the status port.
    pub fn status_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// The node's id.
    pub fn node_id(&self) -> &str {
        ""
    }

    /// Runs until `stop` resolves, then drains; returns when drained.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        stop.await;
        Ok(())
    }
}
