//! `log-level`: what a control plane's own log tells, and to have it tell something else.

use crate::{client::Client, failure::Failure, output::print};
use clap::Args;
use hyper::Method;
use serde_json::json;
use std::time::Duration;

const PATH: &str = "/v1/log-level";

#[derive(Args)]
pub(crate) struct Arguments {
    /// What is to be logged from now on, until the control plane ends: a level, or `target=level` and commas between.
    level: Option<String>,
}

/// Runs `portico log-level`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let answer = match arguments.level {
        None => client.get(PATH).await?,
        Some(level) => client.send(Method::PUT, PATH, Some(&json!({ "log_level": level })), Duration::ZERO).await?,
    };
    let answer = answer.success()?.json()?;
    print(&format!("{}\n", answer["log_level"].as_str().unwrap_or_default()))
}
