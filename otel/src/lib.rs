//! How both planes tell of themselves: spans and metrics to an OpenTelemetry collector (OTLP), the page for Prometheus.
//!
//! What is exported waits in bounded queues; what does not fit is dropped and counted, and nobody who has something to
//! tell ever waits. That is why the processors of `opentelemetry_sdk` are not used: they run threads of their own, and
//! what they drop cannot be counted. Without an endpoint in the settings there is no queue and no task.
//!
//! Floors, top to bottom; no import runs back up: testing → open, process → metrics, page, spans → transport → retry,
//! target → resource → context, span, settings.

mod context;
mod metrics;
mod open;
mod page;
mod process;
mod resource;
mod retry;
mod settings;
pub mod span;
mod spans;
mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transport;

pub use context::TraceContext;
pub use metrics::{Figures, MetricExporter};
pub use open::OpenSpan;
pub use page::Page;
pub use process::Process;
pub use resource::Service;
pub use settings::{Endpoint, Invalid, Protocol, Settings};
pub use spans::{SpanExporter, Spans};
