//! A collector to test against, in the process: it keeps what it is sent, and misbehaves when told to.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{metric::Data, number_data_point},
    trace::v1::Span,
};
use prost::Message;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::{Notify, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    codec::CompressionEncoding,
    transport::{Identity, Server, ServerTlsConfig},
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A collector. It ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    // Of its own: with it all connections end. None once that was said.
    runtime: Option<Runtime>,
}

/// A span that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// What is known of the process that it is of.
    pub resource: BTreeMap<String, String>,
    /// Its trace.
    pub trace: u128,
    /// Its id.
    pub id: u64,
    /// The id of its parent; 0: it has none.
    pub parent: u64,
    /// What was done.
    pub name: String,
    /// As the protocol numbers kinds: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// From when to when, in nanoseconds since the epoch.
    pub time: (u64, u64),
    /// What else is known, as text.
    pub attributes: BTreeMap<String, String>,
    /// The traces and spans that it is linked to.
    pub links: Vec<(u128, u64)>,
    /// As the protocol numbers how spans end: 0 unset, 1 well, 2 not well.
    pub status: i32,
    /// The trace's `tracestate`.
    pub tracestate: String,
}

/// A figure that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What is known of the process that it is of.
    pub resource: BTreeMap<String, String>,
    /// Of what it is.
    pub name: String,
    /// In what it is measured.
    pub unit: String,
    /// Of what in particular, as text.
    pub attributes: BTreeMap<String, String>,
    /// The figure.
    pub figure: Figure,
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// It only grows.
    Counter(f64),
    /// It goes up and down.
    Gauge(f64),
    /// How many, their sum, the bounds of the buckets, and how many are in each.
    Histogram(u64, f64, Vec<f64>, Vec<u64>),
}

/// What a collector does with what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It takes it.
    #[default]
    Takes,
    /// It never answers.
    Hangs,
    /// It says that it cannot now.
    Busy,
    /// It says that it never will.
    Refuses,
    /// It takes all but one of each batch.
    Picky,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    mood: Mood,
    spans: Vec<Received>,
    // Of the last request of each process.
    points: BTreeMap<String, Vec<Point>>,
    requests: usize,
    headers: HeaderMap,
}

// What is wrong, as gRPC and HTTP tell it.
enum Trouble {
    Busy,
    Refused,
}

// === impl Collector ===

impl Collector {
    /// Speaks gRPC, on loopback.
    pub async fn grpc() -> Collector {
        Collector::grpc_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Speaks gRPC at an address, where another may have been.
    pub async fn grpc_at(address: SocketAddr) -> Collector {
        Collector::serve_grpc(address, Server::builder()).await
    }

    /// Speaks gRPC by TLS, and shows this certificate; both are PEM.
    pub async fn grpc_tls(certificate: &str, key: &str) -> Collector {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        let server = Server::builder().tls_config(tls).expect("the certificate can be shown");
        Collector::serve_grpc(([127, 0, 0, 1], 0).into(), server).await
    }

    async fn serve_grpc(address: SocketAddr, mut server: Server) -> Collector {
        Collector::start(address, |listener, shared| async move {
            let traces = TraceServiceServer::new(Service(shared.clone())).accept_compressed(CompressionEncoding::Gzip);
            let metrics = MetricsServiceServer::new(Service(shared)).accept_compressed(CompressionEncoding::Gzip);
            let serving = server.add_service(traces).add_service(metrics);
            drop(serving.serve_with_incoming(TcpListenerStream::new(listener)).await);
        })
        .await
    }

    /// Speaks HTTP, on loopback.
    pub async fn http() -> Collector {
        Collector::start(([127, 0, 0, 1], 0).into(), serve_http).await
    }

    async fn start<F: Future<Output = ()> + Send + 'static>(
        address: SocketAddr,
        serve: impl FnOnce(TcpListener, Arc<Shared>) -> F + Send + 'static,
    ) -> Collector {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let shared = Arc::<Shared>::default();
        let (bound, is_bound) = oneshot::channel();
        let serving = shared.clone();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.expect("the collector's port is free");
            drop(bound.send(listener.local_addr()));
            serve(listener, serving).await;
        });
        let address = is_bound.await.expect("the collector starts").expect("a listener has an address");
        Collector { address, shared, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    /// The spans that came.
    pub fn spans(&self) -> Vec<Received> {
        self.shared.lock().spans.clone()
    }

    /// The figures that came last, of each process.
    pub fn points(&self) -> Vec<Point> {
        self.shared.lock().points.values().flatten().cloned().collect()
    }

    /// The figures, as soon as they fulfil a condition.
    pub async fn wait_for_points(&self, what: &str, condition: impl Fn(&[Point]) -> bool) -> Vec<Point> {
        self.wait(what, |state| condition(&state.points.values().flatten().cloned().collect::<Vec<_>>())).await;
        self.points()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// The headers of the last request.
    pub fn headers(&self) -> HeaderMap {
        self.shared.lock().headers.clone()
    }

    /// The spans, as soon as they fulfil a condition.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        self.wait(what, |state| condition(&state.spans)).await;
        self.spans()
    }

    /// Waits until so many requests came, whatever became of them.
    pub async fn wait_for_requests(&self, count: usize) {
        self.wait("requests", |state| state.requests >= count).await;
    }

    async fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let fulfilled = async {
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                if condition(&self.shared.lock()) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(PATIENCE, fulfilled).await.is_err() {
            panic!("in vain the collector waited for {what}; it has {:#?}", self.spans());
        }
    }

    /// Ends it, with its connections; returns where it was.
    pub async fn kill(self) -> SocketAddr {
        let address = self.address;
        drop(self);
        // The port is free when nobody is answered there any more.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        address
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, headers: HeaderMap, keep: impl FnOnce(&mut State, usize)) -> Result<u64, Trouble> {
        let mood = {
            let mut state = self.lock();
            state.requests += 1;
            state.headers = headers;
            state.mood
        };
        let taken = match mood {
            Mood::Hangs => {
                self.changed.notify_waiters();
                std::future::pending().await
            }
            Mood::Busy => Err(Trouble::Busy),
            Mood::Refuses => Err(Trouble::Refused),
            Mood::Takes => Ok(0),
            Mood::Picky => Ok(1),
        };
        if let Ok(rejected) = taken {
            keep(&mut self.lock(), rejected as usize);
        }
        self.changed.notify_waiters();
        taken
    }
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, traces) = request.into_parts();
        let taken = self.0.take(metadata.into_headers(), |state, rejected| state.keep_spans(traces, rejected)).await;
        Ok(tonic::Response::new(answer(taken?)))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, metrics) = request.into_parts();
        self.0.take(metadata.into_headers(), |state, _| state.keep_points(metrics)).await?;
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl From<Trouble> for Status {
    fn from(trouble: Trouble) -> Status {
        match trouble {
            Trouble::Busy => Status::unavailable("busy"),
            Trouble::Refused => Status::permission_denied("never"),
        }
    }
}

fn answer(rejected: u64) -> ExportTraceServiceResponse {
    let mut answer = ExportTraceServiceResponse::default();
    answer.partial_success.get_or_insert_default().rejected_spans = rejected.cast_signed();
    answer
}

async fn serve_http(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer_http(request, &shared).await) }
            });
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

async fn answer_http(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let packed = head.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let mut plain = Vec::new();
    let read = match packed {
        true => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain),
        false => (&body[..]).read_to_end(&mut plain),
    };
    read.expect("what came was packed well");
    let taken = match head.uri.path() {
        "/v1/traces" => {
            let traces = ExportTraceServiceRequest::decode(&plain[..]).expect("traces came");
            shared.take(head.headers, |state, rejected| state.keep_spans(traces, rejected)).await
        }
        "/v1/metrics" => {
            let metrics = ExportMetricsServiceRequest::decode(&plain[..]).expect("metrics came");
            shared.take(head.headers, |state, _| state.keep_points(metrics)).await
        }
        _ => Err(Trouble::Refused),
    };
    let (status, answer) = match taken {
        Ok(rejected) => (StatusCode::OK, answer(rejected).encode_to_vec()),
        Err(Trouble::Busy) => (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
        Err(Trouble::Refused) => (StatusCode::FORBIDDEN, Vec::new()),
    };
    let mut response = Response::new(Full::new(answer.into()));
    *response.status_mut() = status;
    response
}

// === impl State ===

impl State {
    fn keep_spans(&mut self, traces: ExportTraceServiceRequest, rejected: usize) {
        for resource_spans in traces.resource_spans {
            let resource = texts(resource_spans.resource.unwrap_or_default().attributes);
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans).skip(rejected);
            self.spans.extend(spans.map(|span| Received::new(resource.clone(), span)));
        }
    }

    fn keep_points(&mut self, metrics: ExportMetricsServiceRequest) {
        for resource_metrics in metrics.resource_metrics {
            let resource = texts(resource_metrics.resource.unwrap_or_default().attributes);
            let metrics = resource_metrics.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            let points = metrics.flat_map(|metric| {
                let figures = metric.data.map(figures).unwrap_or_default();
                let (resource, name, unit) = (resource.clone(), metric.name, metric.unit);
                figures.into_iter().map(move |(attributes, figure)| Point {
                    resource: resource.clone(),
                    name: name.clone(),
                    unit: unit.clone(),
                    attributes: texts(attributes),
                    figure,
                })
            });
            let process = resource.get("service.instance.id").cloned().unwrap_or_default();
            self.points.insert(process, points.collect());
        }
    }
}

fn figures(data: Data) -> Vec<(Vec<KeyValue>, Figure)> {
    let number = |value: Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    };
    match data {
        Data::Gauge(gauge) => {
            let points = gauge.data_points.into_iter();
            points.map(|point| (point.attributes, Figure::Gauge(number(point.value)))).collect()
        }
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "a counter only grows");
            let points = sum.data_points.into_iter();
            points.map(|point| (point.attributes, Figure::Counter(number(point.value)))).collect()
        }
        Data::Histogram(histogram) => {
            let points = histogram.data_points.into_iter();
            let figure = |sum: Option<f64>, count, bounds, counts| {
                Figure::Histogram(count, sum.unwrap_or(f64::NAN), bounds, counts)
            };
            points.map(|p| (p.attributes, figure(p.sum, p.count, p.explicit_bounds, p.bucket_counts))).collect()
        }
        Data::ExponentialHistogram(_) | Data::Summary(_) => Vec::new(),
    }
}

// === impl Received ===

impl Received {
    fn new(resource: BTreeMap<String, String>, span: Span) -> Received {
        Received {
            resource,
            trace: trace(&span.trace_id),
            id: id(&span.span_id),
            parent: id(&span.parent_span_id),
            name: span.name,
            kind: span.kind,
            time: (span.start_time_unix_nano, span.end_time_unix_nano),
            attributes: texts(span.attributes),
            links: span.links.iter().map(|link| (trace(&link.trace_id), id(&link.span_id))).collect(),
            status: span.status.map_or(0, |status| status.code),
            tracestate: span.trace_state,
        }
    }
}

fn trace(bytes: &[u8]) -> u128 {
    bytes.try_into().map(u128::from_be_bytes).expect("a trace id has 16 bytes")
}

fn id(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.try_into().map(u64::from_be_bytes).expect("a span id has 8 bytes") }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let value = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, value(attribute.value))).collect()
}
