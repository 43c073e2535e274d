//! `healthcheck`: whether a node or a control plane is ready, for images without a shell. `portico` asks any URL, the
//! planes' own programs ask where their settings say that they answer.

use crate::{
    client::{Client, server::Server},
    failure::Failure,
};
use clap::Args;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct Arguments {
    /// What is asked.
    #[arg(long, env = "PORTICO_HEALTHCHECK_URL", default_value = "http://127.0.0.1:7090/readyz")]
    url: String,
}

/// Runs `portico healthcheck`.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    ask(&arguments.url).await
}

/// Asks the plane that answers on this address of this machine.
pub(crate) async fn plane(listen: SocketAddr) -> Result<(), Failure> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    ask(&format!("http://{}/readyz", SocketAddr::new(ip, listen.port()))).await
}

async fn ask(url: &str) -> Result<(), Failure> {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    let (server, path) = url.split_at(path_at);
    // No token: a health check asks for nothing that is secret.
    let client = Client::new(Server::parse(server)?, None)?;
    let asked = tokio::time::timeout(TIMEOUT, client.get(if path.is_empty() { "/readyz" } else { path })).await;
    let answer = asked.map_err(|_| Failure::Runtime(format!("no answer within {} s", TIMEOUT.as_secs())))??;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(Failure::Runtime(format!("not ready: {url} answered {}", answer.status))),
    }
}
