//! What the control plane counts, for Prometheus and OpenTelemetry. Nothing secret, so it is served without a token.

use otel::{Figures, Page, Process, Spans};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::time::Duration;

/// The methods that the API has; all others share a series.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The bounds that OpenTelemetry advises for durations of requests, in seconds.
const REQUEST_BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum CommitResult {
    /// It made a revision.
    Committed,
    /// There was nothing to change.
    Unchanged,
    /// It did not fit.
    Refused,
    /// The database did not answer.
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommitLabels {
    result: CommitResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// What the database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum StoreOperation {
    /// To let nobody else move the head.
    Lock,
    /// To write a revision, to its end.
    Write,
    /// Whether the head moved.
    Poll,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    operation: StoreOperation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    status: u16,
}

/// The counters of a process.
pub struct Telemetry {
    registry: Registry,
    commits: Family<CommitLabels, Counter>,
    commit_duration: Histogram,
    head_revision: Gauge,
    resources: Gauge,
    stale: Gauge,
    minted: Counter,
    refused: Family<RefusedLabels, Counter>,
    tokens: Gauge,
    connected_nodes: Gauge,
    pushes: Counter,
    status_statements: Family<StatementLabels, Counter>,
    status_rows: Counter,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    store_duration: Family<StoreLabels, Histogram, fn() -> Histogram>,
    nodes_behind: Gauge,
    oldest_revision: Gauge,
    spans: Spans,
}

// === impl Telemetry ===

impl Telemetry {
    /// All at zero; spans are handed in there.
    pub fn new(spans: Spans) -> Telemetry {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process::new(env!("CARGO_PKG_VERSION"), spans.clone())));
        let telemetry = Telemetry {
            commits: Family::default(),
            commit_duration: Histogram::new(bounds()),
            head_revision: Gauge::default(),
            resources: Gauge::default(),
            stale: Gauge::default(),
            minted: Counter::default(),
            refused: Family::default(),
            tokens: Gauge::default(),
            connected_nodes: Gauge::default(),
            pushes: Counter::default(),
            status_statements: Family::default(),
            status_rows: Counter::default(),
            requests: Family::new_with_constructor(|| Histogram::new(REQUEST_BOUNDS)),
            store_duration: Family::new_with_constructor(|| Histogram::new(bounds())),
            nodes_behind: Gauge::default(),
            oldest_revision: Gauge::default(),
            registry: Registry::default(),
            spans,
        };
        let help = "Duration of requests to the admin API";
        all.register_with_unit("http_server_request_duration", help, Unit::Seconds, telemetry.requests.clone());
        let registry = all.sub_registry_with_prefix("portico");
        registry.register("commits", "Proposals, by how they ended", telemetry.commits.clone());
        registry.register_with_unit(
            "commit_duration",
            "From a proposal to its answer",
            Unit::Seconds,
            telemetry.commit_duration.clone(),
        );
        registry.register("head_revision", "The revision of the head", telemetry.head_revision.clone());
        registry.register("resources", "Resources of the head", telemetry.resources.clone());
        registry.register("database_stale", "1: the database does not answer", telemetry.stale.clone());
        registry.register("histories_minted", "New history ids given", telemetry.minted.clone());
        registry.register(
            "api_refused",
            "Requests to the admin API that were refused, by status",
            telemetry.refused.clone(),
        );
        registry.register("tokens", "Admin tokens, without that of the settings", telemetry.tokens.clone());
        registry.register("connected_nodes", "Nodes with a stream", telemetry.connected_nodes.clone());
        registry.register("snapshots_sent", "Configurations sent to nodes", telemetry.pushes.clone());
        registry.register(
            "node_status_statements",
            "Statements about what nodes report, by what they do",
            telemetry.status_statements.clone(),
        );
        registry.register("node_status_rows", "Nodes of which something was written", telemetry.status_rows.clone());
        registry.register_with_unit(
            "store_duration",
            "How long the database takes, by what it is asked for",
            Unit::Seconds,
            telemetry.store_duration.clone(),
        );
        registry.register(
            "nodes_behind",
            "Live nodes with a stream to this control plane that do not run the head",
            telemetry.nodes_behind.clone(),
        );
        registry.register(
            "nodes_oldest_revision",
            "The oldest revision that any of them runs; without nodes, the head",
            telemetry.oldest_revision.clone(),
        );
        Telemetry { registry: all, ..telemetry }
    }

    /// What Prometheus reads, in the form that `Accept` asks for.
    pub fn page(&self, accept: &str) -> Page {
        Page::write(&self.registry, accept)
    }

    /// Where spans are handed in.
    pub(crate) fn spans(&self) -> &Spans {
        &self.spans
    }

    /// The same figures for an OpenTelemetry collector.
    pub(crate) fn figures(&self) -> Figures {
        Figures::read(&self.registry)
    }

    /// An answer of the admin API. The route is a pattern, of which there are few; none: no route is for it.
    pub(crate) fn request(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        let known = METHODS.iter().find(|known| **known == method);
        let labels = RequestLabels {
            http_request_method: known.copied().unwrap_or("_OTHER"),
            http_route: route.unwrap_or_default().to_owned(),
            http_response_status_code: status,
        };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn store(&self, operation: StoreOperation, took: Duration) {
        self.store_duration.get_or_create(&StoreLabels { operation }).observe(took.as_secs_f64());
    }

    pub(crate) fn nodes(&self, behind: usize, oldest_revision: u64) {
        self.nodes_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.oldest_revision.set(i64::try_from(oldest_revision).unwrap_or(i64::MAX));
    }

    pub(crate) fn commit(&self, result: CommitResult, took: Duration) {
        self.commits.get_or_create(&CommitLabels { result }).inc();
        self.commit_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn head(&self, revision: u64, resources: usize) {
        self.head_revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.resources.set(i64::try_from(resources).unwrap_or(i64::MAX));
    }

    pub(crate) fn stale(&self, stale: bool) {
        self.stale.set(i64::from(stale));
    }

    pub(crate) fn minted(&self) {
        self.minted.inc();
    }

    pub(crate) fn refused(&self, status: u16) {
        self.refused.get_or_create(&RefusedLabels { status }).inc();
    }

    pub(crate) fn tokens(&self, count: usize) {
        self.tokens.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn connected_nodes(&self, count: usize) {
        self.connected_nodes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn pushed(&self) {
        self.pushes.inc();
    }

    pub(crate) fn status_statement(&self, kind: &'static str) {
        self.status_statements.get_or_create(&StatementLabels { kind }).inc();
    }

    pub(crate) fn status_rows(&self, count: usize) {
        self.status_rows.inc_by(count as u64);
    }
}

// From half a millisecond on, doubled, to 8 s.
fn bounds() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.000_5), |bound| Some(bound * 2.0)).take(15)
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry::new(Spans::off())
    }
}
