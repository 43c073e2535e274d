//! What the control plane counts, for Prometheus.

/// The counters of a process.
#[derive(Default)]
pub struct Telemetry {}

// === impl Telemetry ===

impl Telemetry {
    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        String::new()
    }
}
