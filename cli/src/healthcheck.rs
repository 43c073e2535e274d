//! `healthcheck`: whether a node or a control plane is ready, for images without a shell.

use crate::{
    client::{Client, server::Server},
    failure::Failure,
};
use clap::Args;
use std::time::Duration;

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
    let after_scheme = arguments.url.find("://").map_or(0, |at| at + 3);
    let path_at = arguments.url[after_scheme..].find('/').map_or(arguments.url.len(), |at| after_scheme + at);
    let (server, path) = arguments.url.split_at(path_at);
    // No token: a health check asks for nothing that is secret.
    let client = Client::new(Server::parse(server)?, None)?;
    let asked = tokio::time::timeout(TIMEOUT, client.get(if path.is_empty() { "/readyz" } else { path })).await;
    let answer = asked.map_err(|_| Failure::Runtime(format!("no answer within {} s", TIMEOUT.as_secs())))??;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(Failure::Runtime(format!("not ready: {} answered {}", arguments.url, answer.status))),
    }
}
