//! `healthcheck`: whether a node or a control plane is ready, for images without a shell. `portico` asks any URL, the
//! planes' own programs ask where their settings say that they answer.

use crate::{
    client::{Access, Client, server::Server},
    failure::Failure,
};
use clap::Args;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
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
pub(crate) async fn run(access: Access, arguments: Arguments) -> Result<(), Failure> {
    ask(&arguments.url, access.authorities()).await
}

/// Asks the control plane with these settings, on this machine.
pub(crate) async fn control_plane(settings: control_plane::settings::Settings) -> Result<(), Failure> {
    // A certificate of the operator's own vouches for itself, or brings who vouches for it.
    let authorities = settings.admin_tls_cert.or(settings.tls_ca_dir.map(|folder| folder.join("ca.pem")));
    let scheme = if authorities.is_some() { "https" } else { "http" };
    ask(&format!("{scheme}://{}/readyz", here(settings.admin_listen)), authorities.as_deref()).await
}

/// Asks the node with these settings, on this machine.
pub(crate) async fn node(settings: data_plane::settings::Settings) -> Result<(), Failure> {
    ask(&format!("http://{}/readyz", here(settings.status_listen)), None).await
}

/// Where one listens is where one is asked, unless that is everywhere.
fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(url: &str, authorities: Option<&Path>) -> Result<(), Failure> {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    let (server, path) = url.split_at(path_at);
    // No token: a health check asks for nothing that is secret.
    let client = Client::new(Server::parse(server)?, None, authorities)?;
    let asked = tokio::time::timeout(TIMEOUT, client.get(if path.is_empty() { "/readyz" } else { path })).await;
    let answer = asked.map_err(|_| Failure::Runtime(format!("no answer within {} s", TIMEOUT.as_secs())))??;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(Failure::Runtime(format!("not ready: {url} answered {}", answer.status))),
    }
}
