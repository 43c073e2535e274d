//! What the control plane counts, for Prometheus. Nothing secret, so it is served without a token.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::time::Duration;

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
}

// === impl Telemetry ===

impl Telemetry {
    /// All at zero.
    pub fn new() -> Telemetry {
        let mut registry = Registry::with_prefix("portico");
        // From half a millisecond on, doubled, to 8 s.
        let bounds = std::iter::successors(Some(0.000_5), |bound| Some(bound * 2.0)).take(15);
        let telemetry = Telemetry {
            commits: Family::default(),
            commit_duration: Histogram::new(bounds),
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
            registry: Registry::default(),
        };
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
        Telemetry { registry, ..telemetry }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
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

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry::new()
    }
}
