//! What tells an OpenTelemetry collector of the control plane, as long as it runs.

use otel::{Figures, Invalid, MetricExporter, Service, Settings, SpanExporter, Spans};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::error;

/// The exporters, not started.
pub(super) struct Exporters {
    spans: SpanExporter,
    metrics: MetricExporter,
}

/// They run until they are told to end, or this is dropped.
pub(super) struct Exporting {
    stop: CancellationToken,
    tasks: [AbortOnDropHandle<()>; 2],
}

// === impl Exporters ===

impl Exporters {
    /// As the settings say, for the control plane of that name; and where spans are handed in.
    pub(super) fn new(settings: &Settings, instance: String) -> Result<(Spans, Exporters), Invalid> {
        let service = Service { name: "portico-control-plane", version: env!("CARGO_PKG_VERSION"), instance };
        let (handed, spans) = Spans::new(settings, &service)?;
        Ok((handed, Exporters { spans, metrics: MetricExporter::new(settings, &service)? }))
    }

    /// Sends spans, and what is read each time.
    pub(super) fn start(self, read: impl Fn() -> Figures + Send + Sync + 'static) -> Exporting {
        let stop = CancellationToken::new();
        let spans = tokio::spawn(self.spans.run(stop.clone()));
        let (metrics, ended) = (self.metrics, stop.clone());
        let metrics = tokio::spawn(async move {
            metrics.run(|| std::future::ready(read()), ended).await;
        });
        Exporting { stop, tasks: [spans, metrics].map(AbortOnDropHandle::new) }
    }
}

// === impl Exporting ===

impl Exporting {
    /// Sends what is left, within a bound.
    pub(super) async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            if task.await.is_err() {
                error!("an exporter ended by a panic");
            }
        }
    }
}
