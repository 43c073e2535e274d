//! Where a program's own logs go: to the standard error, as text or as JSON.

use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// How a program logs.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogSettings {
    /// What is logged: a level, or `target=level` and commas between.
    #[arg(long, env = "PORTICO_LOG", default_value = "info", global = true)]
    log: String,
    /// How it is written.
    #[arg(long, env = "PORTICO_LOG_FORMAT", value_enum, default_value_t = Format::Text, global = true)]
    log_format: Format,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

// === impl LogSettings ===

impl LogSettings {
    /// Begins to log; the error tells what in the filter is wrong.
    pub(crate) fn start(&self) -> Result<(), String> {
        let filter =
            EnvFilter::try_new(&self.log).map_err(|error| format!("--log {:?} is no filter: {error}", self.log))?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let started = match self.log_format {
            Format::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
            Format::Json => builder.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| format!("failed to begin logging: {error}"))
    }
}

/// Begins to log as text, for a program whose log is not its main matter.
pub(crate) fn start_text(filter: &str) -> Result<(), String> {
    LogSettings { log: filter.to_string(), log_format: Format::Text }.start()
}
