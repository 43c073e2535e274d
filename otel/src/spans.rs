//! Spans on their way to the collector: a bounded queue, and the task that sends what is in it.
//!
//! Whoever has a span offers it and goes on. While the collector is away, a batch is tried again for a while and then
//! given up, and what does not fit into the queue is dropped; both are counted, and memory stays as it is.

use crate::{
    resource::Service,
    retry::Outage,
    settings::{Invalid, Settings},
    span::Span,
    target::{Target, Way},
    transport::{Sender, Signal},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans},
};
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long the end of the process waits for what is still to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Where spans are handed in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    // None: nobody wants them.
    queue: Option<Queue>,
}

#[derive(Clone, Debug)]
struct Queue {
    // The other end is the exporter's.
    spans: mpsc::Sender<Span>,
    batch: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    // There is enough for a batch, and the exporter was told so.
    told: AtomicBool,
    enough: Notify,
    dropped: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
}

/// The task that sends spans to the collector.
#[must_use = "nothing is sent unless it runs"]
pub struct SpanExporter {
    // None: there is nothing to do.
    work: Option<Work>,
}

struct Work {
    spans: mpsc::Receiver<Span>,
    batch: usize,
    delay: Duration,
    shared: Arc<Shared>,
    target: Target,
    resource: Resource,
    scope: InstrumentationScope,
}

// === impl Spans ===

impl Spans {
    /// Nobody wants spans.
    pub fn off() -> Spans {
        Spans::default()
    }

    /// A queue as the settings say, and the task that empties it; both do nothing when no collector is named.
    pub fn new(settings: &Settings, service: &Service) -> Result<(Spans, SpanExporter), Invalid> {
        let way = Way { endpoint: settings.otlp_traces_endpoint.as_ref(), path: "v1/traces" };
        let Some(target) = Target::find(settings, way)? else {
            return Ok((Spans::off(), SpanExporter { work: None }));
        };
        let (sender, receiver) = mpsc::channel(settings.otlp_span_queue);
        let batch = settings.otlp_span_batch.min(settings.otlp_span_queue);
        let shared = Arc::<Shared>::default();
        let queue = Queue { spans: sender, batch, shared: shared.clone() };
        let work = Work {
            spans: receiver,
            batch,
            delay: settings.otlp_span_delay,
            shared,
            target,
            resource: service.resource(settings),
            scope: service.scope(),
        };
        Ok((Spans { queue: Some(queue) }, SpanExporter { work: Some(work) }))
    }

    /// Whether anybody wants spans; if not, none need be made.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands in a span, or drops and counts it when there is no room; never waits.
    pub fn offer(&self, span: Span) {
        let Some(Queue { spans, batch, shared }) = &self.queue else { return };
        if spans.try_send(span).is_err() {
            shared.dropped.fetch_add(1, Relaxed);
        }
        // The exporter sleeps without listening to the queue: one wake a batch, not one a span.
        let waiting = spans.max_capacity() - spans.capacity();
        if waiting >= *batch && !shared.told.load(Relaxed) && !shared.told.swap(true, Release) {
            shared.enough.notify_one();
        }
    }

    /// How many were dropped because there was no room.
    pub fn dropped(&self) -> u64 {
        self.read(|shared| &shared.dropped)
    }

    /// How many the collector took.
    pub fn exported(&self) -> u64 {
        self.read(|shared| &shared.exported)
    }

    /// How many it did not take, or could not be sent.
    pub fn failed(&self) -> u64 {
        self.read(|shared| &shared.failed)
    }

    fn read(&self, counter: impl Fn(&Shared) -> &AtomicU64) -> u64 {
        self.queue.as_ref().map_or(0, |queue| counter(&queue.shared).load(Relaxed))
    }
}

// === impl SpanExporter ===

impl SpanExporter {
    /// Sends until told to stop, then what is left, within a bound.
    pub async fn run(self, stop: CancellationToken) {
        let Some(work) = self.work else { return };
        let too_long = async {
            stop.cancelled().await;
            sleep(FLUSH).await;
        };
        tokio::select! {
            () = work.run(&stop) => {}
            () = too_long => tracing::warn!("some spans were not sent before the end"),
        }
    }
}

// === impl Work ===

impl Work {
    async fn run(mut self, stop: &CancellationToken) {
        let mut sender = Sender::new(self.target.clone());
        let mut outage = Outage::none("traces");
        loop {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.shared.enough.notified() => {}
                () = sleep(self.delay) => {}
            }
            // Whoever hands in from here on tells again.
            self.shared.told.swap(false, Acquire);
            // What came before the stop is in the queue by now.
            let last = stop.is_cancelled();
            while let Some(batch) = self.take() {
                let (count, is_full) = (batch.len() as u64, batch.len() == self.batch);
                let request = self.request(&batch);
                drop(batch);
                let rejected = sender.deliver(&request, &mut outage).await.unwrap_or(count).min(count);
                self.shared.failed.fetch_add(rejected, Relaxed);
                self.shared.exported.fetch_add(count - rejected, Relaxed);
                // Those that came meanwhile wait for others.
                if !is_full && !last {
                    break;
                }
            }
            if last {
                return;
            }
        }
    }

    // None: there are no more.
    fn take(&mut self) -> Option<Vec<Span>> {
        let mut batch = Vec::with_capacity(self.batch.min(self.spans.len()));
        while batch.len() < self.batch
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
        Some(batch).filter(|batch| !batch.is_empty())
    }

    fn request(&self, spans: &[Span]) -> ExportTraceServiceRequest {
        let spans = spans.iter().map(Span::export).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(self.scope.clone()), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
    }
}

// === impl ExportTraceServiceRequest ===

impl Signal for ExportTraceServiceRequest {
    type Answer = ExportTraceServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn rejected(answer: ExportTraceServiceResponse) -> (u64, String) {
        let part = answer.partial_success.unwrap_or_default();
        (u64::try_from(part.rejected_spans).unwrap_or(0), part.error_message)
    }
}
