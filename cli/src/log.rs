//! Where a program's own logs go: to the standard error, as text or as JSON; and how much is told, which can be changed
//! while it runs.

use clap::{Args, ValueEnum};
use proto::{invalid::did_you_mean, log_level::LogLevel};
use std::{
    io::{self, IsTerminal},
    sync::Arc,
};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The longest filter.
const MAX_FILTER: usize = 1024;

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

// The other end is in the subscriber.
struct Reloading(reload::Handle<EnvFilter, Registry>);

// === impl LogSettings ===

impl LogSettings {
    /// Begins to log; what comes back changes the level. The error tells what in the filter is wrong.
    pub(crate) fn start(&self) -> Result<Arc<dyn LogLevel>, String> {
        let (filter, handle) = reload::Layer::new(filter(&self.log).map_err(|error| format!("--log {error}"))?);
        let lines = fmt::layer().with_writer(io::stderr);
        let lines = match self.log_format {
            Format::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        started.map_err(|error| format!("failed to begin logging: {error}"))?;
        Ok(Arc::new(Reloading(handle)))
    }
}

/// Begins to log as text, for a program whose log is not its main matter.
pub(crate) fn start_text(filter: &str) -> Result<Arc<dyn LogLevel>, String> {
    LogSettings { log: filter.to_string(), log_format: Format::Text }.start()
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    if text.len() > MAX_FILTER {
        return Err(format!("a filter has at most {MAX_FILTER} bytes"));
    }
    // A word alone would be taken for a target of which all is logged, and nothing else.
    let word = |part: &&str| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str());
    if let Some(word) = text.split(',').map(str::trim).find(word) {
        let levels = LEVELS.join(", ");
        return Err(format!("{word:?} is no level; there are {levels}{}", did_you_mean(word, LEVELS)));
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))
}

// === impl Reloading ===

impl LogLevel for Reloading {
    fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    fn set(&self, text: &str) -> Result<(), String> {
        self.0.reload(filter(text)?).map_err(|error| format!("failed to change the level: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_targets() {
        for good in ["info", "WARN", "info,data_plane=debug", "off", "data_plane::pool=trace,warn"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, expect) in [
            ("inof", "\"inof\" is no level; there are off, error, warn, info, debug, trace; did you mean \"info\"?"),
            ("", "\"\" is no level"),
            ("info,data_plane", "\"data_plane\" is no level"),
            ("a=loud", "\"a=loud\" is no filter"),
            (&"x=info,".repeat(200), "a filter has at most 1024 bytes"),
        ] {
            let error = filter(bad).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        }
    }
}
