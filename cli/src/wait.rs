//! `--wait`, which all commands that change something have.

use crate::{client::query::Query, failure::Failure};
use clap::Args;
use std::time::Duration;

/// Whether to wait until nodes run a change.
#[derive(Args)]
pub(crate) struct Wait {
    /// Wait until that share of the live nodes runs the revision: `all`, `95%` or `n:3`.
    #[arg(long, value_name = "SHARE")]
    wait: Option<String>,
    /// How long to wait, at most 60s.
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "wait")]
    timeout: String,
}

// === impl Wait ===

impl Wait {
    /// Adds it to a query, and returns for how long the answer may be held.
    pub(crate) fn add_to(&self, query: &mut Query) -> Result<Duration, Failure> {
        let Some(wait) = &self.wait else { return Ok(Duration::ZERO) };
        let timeout =
            proto::quantity::duration(&self.timeout).map_err(|error| Failure::Usage(format!("--timeout: {error}")))?;
        query.add("wait", wait);
        query.add("timeout", &self.timeout);
        Ok(timeout)
    }
}
