//! What is scraped by Prometheus, and sent to an OpenTelemetry collector.

mod remembered;

use crate::{
    context::Decision,
    limiter::{Limiter, LimiterFigures},
    router::Router,
    telemetry::{
        Telemetry,
        counters::{BUCKETS, Bodies, CallEnd, Counts, Histogram, Mirrored},
    },
};
use otel::Process;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, exemplar::Exemplar, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use remembered::Remembered;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Error},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The most endpoints that have a gauge of their own.
const MAX_ENDPOINTS: usize = 2_000;

/// The most certificates that have a gauge of their own.
const MAX_CERTIFICATES: usize = 2_000;

/// One scrape.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    counts: Counts,
    connections: u64,
    // By upstream and endpoint, which two names may have in common.
    endpoints: BTreeMap<(String, String), EndpointFigures>,
    // By upstream and cause, and by upstream and result.
    ejections: Vec<(String, &'static str, u64)>,
    checks: Vec<(String, &'static str, u64)>,
    // By name: how many seconds each has left.
    certificates: Vec<(String, i64)>,
    resolutions: Vec<(String, &'static str, u64)>,
    // By upstream.
    over_budget: Vec<(String, u64)>,
    concurrency: Vec<(String, u32, u32)>,
    circuits: Vec<(String, bool, u64)>,
    remembered: Remembered,
    limiter: LimiterFigures,
    revision: u64,
    age: Option<Duration>,
    config_refused: u64,
    log_dropped: u64,
    ready: bool,
    overloaded: bool,
    memory: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct EndpointFigures {
    connections: u32,
    healthy: bool,
}

type NoExemplars<'a> = Option<&'a HashMap<usize, Exemplar<Vec<(String, String)>, f64>>>;

impl Metrics {
    pub(super) fn new(counts: Counts, telemetry: &Telemetry, router: &Router) -> Metrics {
        let endpoints = router.pools().flat_map(|pool| {
            pool.endpoints().into_iter().map(|endpoint| {
                let figures = EndpointFigures { connections: endpoint.connections(), healthy: endpoint.is_healthy() };
                ((pool.name().to_string(), endpoint.as_str().to_string()), figures)
            })
        });
        let pools = || router.pools().take(MAX_ENDPOINTS);
        let ejections = pools()
            .flat_map(|pool| pool.vitals().ejections().map(|(cause, n)| (pool.name().to_string(), cause.as_str(), n)));
        let checks = pools().filter(|pool| pool.spec().health_check.is_some()).flat_map(|pool| {
            let (passed, failed) = pool.vitals().checks();
            [("passed", passed), ("failed", failed)].map(|(result, n)| (pool.name().to_string(), result, n))
        });
        let resolutions = pools().flat_map(|pool| {
            let (resolved, failed) = pool.vitals().resolutions();
            [("resolved", resolved), ("failed", failed)].map(|(result, n)| (pool.name().to_string(), result, n))
        });
        let over_budget = pools().map(|pool| (pool.name().to_string(), pool.retries_over_budget()));
        let concurrency = pools().filter_map(|pool| {
            pool.concurrency().map(|(under_way, waiting)| (pool.name().to_string(), under_way, waiting))
        });
        let circuits =
            pools().filter_map(|pool| pool.circuit().map(|(open, openings)| (pool.name().to_string(), open, openings)));
        let config = telemetry.config();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let certificates = router.snapshot().certificates().into_values().map(|certificate| {
            (certificate.name.to_string(), certificate.validity().not_after.saturating_sub(seconds))
        });
        Metrics {
            remembered: Remembered::read(counts.tokens, router.states()),
            counts,
            connections: telemetry.connections().load(Relaxed) as u64,
            endpoints: endpoints.take(MAX_ENDPOINTS).collect(),
            ejections: ejections.filter(|(_, _, n)| *n > 0).collect(),
            checks: checks.collect(),
            certificates: certificates.take(MAX_CERTIFICATES).collect(),
            resolutions: resolutions.filter(|(_, _, n)| *n > 0).collect(),
            concurrency: concurrency.collect(),
            circuits: circuits.collect(),
            over_budget: over_budget.filter(|(_, n)| *n > 0).collect(),
            limiter: router
                .states()
                .of_kind::<Limiter>(Limiter::STATE)
                .first()
                .map(|limiter| limiter.figures())
                .unwrap_or_default(),
            revision: config.revision(),
            age: config.since().map(|since| now.saturating_sub(Duration::from_millis(since))),
            config_refused: config.refusals(),
            log_dropped: telemetry.log_dropped(),
            ready: telemetry.is_ready(),
            overloaded: telemetry.memory().is_overloaded(),
            memory: telemetry.memory().figures(),
        }
    }

    pub(super) fn registry(self, process: Process) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        registry.register_collector(Box::new(process));
        registry
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Duration of requests from their first byte to the last of the answer";
        let (name, unit) = ("http_server_request_duration", Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for ((route, label, method, status), histogram) in &self.counts.requests {
            let status = status.to_string();
            let labels = [
                ("http_request_method", method.as_str()),
                ("http_response_status_code", &status),
                ("http_route", label),
                ("route", route.as_ref().map_or("", |route| route.as_str())),
            ];
            encode(histogram, family.encode_family(&labels)?)?;
        }
        for (name, help, bytes) in [
            ("portico_request_body_bytes", "Bytes of bodies of requests", (|b| b.received) as fn(&Bodies) -> u64),
            ("portico_response_body_bytes", "Bytes of bodies of answers", |b| b.sent),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for ((route, label), bodies) in &self.counts.bodies {
                let labels = [("http_route", &**label), ("route", route.as_ref().map_or("", |route| route.as_str()))];
                ConstCounter::new(bytes(bodies)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Duration of tries of requests to upstreams, to the head of the answer";
        let (name, unit) = ("http_client_request_duration", Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for ((upstream, method, end), histogram) in &self.counts.calls {
            let upstream = upstream.as_ref().map_or("_OTHER", |upstream| upstream.as_str());
            let (error, status) = match end {
                CallEnd::Answered(status) => ("", status.to_string()),
                CallEnd::Failed(reason) => (*reason, String::new()),
            };
            let labels = [
                ("error_type", error),
                ("http_request_method", method.as_str()),
                ("http_response_status_code", &status),
                ("upstream", upstream),
            ];
            encode(histogram, family.encode_family(&labels)?)?;
        }
        let help = "How long parts of compositions took, whatever became of them";
        let (name, unit) = ("portico_compose_part_duration", Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for ((route, part, (outcome, reason)), histogram) in &self.counts.parts {
            let route = route.as_ref().map_or("_OTHER", |route| route.as_str());
            let labels = [("outcome", *outcome), ("part", part), ("reason", reason), ("route", route)];
            encode(histogram, family.encode_family(&labels)?)?;
        }
        let help = "Connections to an upstream that no request uses now";
        let mut family =
            encoder.encode_descriptor("portico_upstream_idle_connections", help, None, MetricType::Gauge)?;
        for (upstream, n) in self.counts.idle.iter().take(MAX_ENDPOINTS) {
            ConstGauge::new(*n as f64).encode(family.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        let help = "How late workers look at their clocks, four times a second: what holds them up holds up requests";
        let lag = encoder.encode_descriptor("portico_worker_lag", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        encode(&self.counts.lag, lag)
    }

    fn encode_certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long a certificate is still valid; below 0 it has expired";
        let (name, unit) = ("portico_certificate_expiry", Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for (certificate, seconds) in &self.certificates {
            let labels = [("certificate", certificate.as_str())];
            ConstGauge::new(*seconds).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that were not answered as the client wished, by reason and by whose fault it is";
        let mut family = encoder.encode_descriptor("portico_failures", help, None, MetricType::Counter)?;
        for ((upstream, reason, fault), n) in &self.counts.failures {
            let upstream = upstream.as_ref().map_or("", |upstream| upstream.as_str());
            let labels = [("upstream", upstream), ("reason", reason), ("fault", fault.as_str())];
            ConstCounter::new(*n).encode(family.encode_family(&labels)?)?;
        }
        self.encode_decisions(encoder)?;
        let help = "Tries of requests that there were not, for the budget of the upstream was spent";
        let mut family =
            encoder.encode_descriptor("portico_upstream_retries_over_budget", help, None, MetricType::Counter)?;
        for (upstream, n) in &self.over_budget {
            ConstCounter::new(*n).encode(family.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        self.encode_protection(encoder)?;
        let help = "Connections that stand to an endpoint";
        let mut family = encoder.encode_descriptor("portico_upstream_connections", help, None, MetricType::Gauge)?;
        for (endpoint, figures) in &self.endpoints {
            ConstGauge::new(i64::from(figures.connections)).encode(family.encode_family(&labels(endpoint))?)?;
        }
        Ok(())
    }

    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that a policy refused, would have if it were not tried out (shadowed), or let pass unasked (failed_open)";
        let mut family = encoder.encode_descriptor("portico_policy_decisions", help, None, MetricType::Counter)?;
        let decided = &self.counts.decisions;
        for (decision, times) in decided.iter() {
            ConstCounter::new(times.all).encode(family.encode_family(&told(decision))?)?;
        }
        if decided.others > 0 {
            let labels = [("policy", "_OTHER"), ("kind", "_OTHER"), ("decision", "_OTHER"), ("reason", "_OTHER")];
            ConstCounter::new(decided.others).encode(family.encode_family(&labels)?)?;
        }
        let help = "Those of them that consumers made, by consumer; where there are many, the later ones are _OTHER";
        let mut family = encoder.encode_descriptor("portico_consumer_decisions", help, None, MetricType::Counter)?;
        for (decision, times) in decided.iter() {
            let others = ("_OTHER", times.of_others);
            let each = times.by_consumer.iter().map(|(consumer, n)| (consumer.as_str(), *n));
            for (consumer, n) in each.chain([others].into_iter().filter(|(_, n)| *n > 0)) {
                let [policy, kind, made, reason] = told(decision);
                let labels = [("consumer", consumer), policy, kind, made, reason];
                ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_protection(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests to an upstream that bounds them: under way, and waiting for that";
        let mut family = encoder.encode_descriptor("portico_upstream_requests", help, None, MetricType::Gauge)?;
        for (upstream, under_way, waiting) in &self.concurrency {
            for (state, n) in [("in_flight", under_way), ("queued", waiting)] {
                let labels = [("upstream", upstream.as_str()), ("state", state)];
                ConstGauge::new(i64::from(*n)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Whether an upstream gets no requests, for too many failed";
        let mut family = encoder.encode_descriptor("portico_upstream_circuit_open", help, None, MetricType::Gauge)?;
        for (upstream, open, _) in &self.circuits {
            ConstGauge::new(i64::from(*open)).encode(family.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        let help = "How often an upstream's circuit opened";
        let mut family =
            encoder.encode_descriptor("portico_upstream_circuit_openings", help, None, MetricType::Counter)?;
        for (upstream, _, openings) in &self.circuits {
            ConstCounter::new(*openings).encode(family.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        Ok(())
    }

    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether an endpoint is neither ejected nor failing its checks";
        let mut family =
            encoder.encode_descriptor("portico_upstream_endpoint_healthy", help, None, MetricType::Gauge)?;
        for (endpoint, figures) in &self.endpoints {
            ConstGauge::new(i64::from(figures.healthy)).encode(family.encode_family(&labels(endpoint))?)?;
        }
        let help = "Ejections of endpoints, by what the last failure was";
        let mut family = encoder.encode_descriptor("portico_upstream_ejections", help, None, MetricType::Counter)?;
        for (upstream, reason, n) in &self.ejections {
            let labels = [("upstream", upstream.as_str()), ("reason", reason)];
            ConstCounter::new(*n).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, counts) in [
            ("portico_upstream_checks", "Checks of endpoints", &self.checks),
            ("portico_upstream_resolutions", "Look-ups of names of endpoints", &self.resolutions),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (upstream, result, n) in counts {
                let labels = [("upstream", upstream.as_str()), ("result", result)];
                ConstCounter::new(*n).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode(histogram: &Histogram, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let bounds = BUCKETS.iter().map(|micros| f64::from(*micros) / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets).collect();
    let none: NoExemplars<'_> = None;
    encoder.encode_histogram(histogram.sum as f64 / 1e6, histogram.count(), &buckets, none)
}

fn told(decision: &Decision) -> [(&'static str, &str); 4] {
    let (policy, made) = (decision.policy.as_str(), decision.made.as_str());
    [("policy", policy), ("kind", decision.kind), ("decision", made), ("reason", decision.reason)]
}

fn labels((upstream, endpoint): &(String, String)) -> [(&'static str, &str); 2] {
    [("upstream", upstream), ("endpoint", endpoint)]
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_requests(&mut encoder)?;
        self.encode_calls(&mut encoder)?;
        self.encode_upstreams(&mut encoder)?;
        self.encode_health(&mut encoder)?;
        self.encode_certificates(&mut encoder)?;
        self.remembered.encode(&mut encoder)?;
        let counts = &self.counts;
        for (name, help, n) in [
            ("portico_connections_accepted", "Client connections that were accepted", counts.accepted),
            ("portico_connections_refused", "Client connections beyond the node's limits", counts.refused),
            ("portico_retries", "Tries of requests after the first", counts.retries),
            ("portico_panics", "Requests that ended by a panic", counts.panics),
            ("portico_log_dropped", "Lines of the access log that were lost", self.log_dropped),
            ("portico_config_refused", "Configurations that were refused", self.config_refused),
            (
                "portico_limiter_keys_displaced",
                "Keys of limits that were forgotten before their bucket was full, for there were too many",
                self.limiter.displaced,
            ),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(n).encode(encoder)?;
        }
        let help = "Copies of requests, by what became of them";
        let mut family = encoder.encode_descriptor("portico_mirrored_requests", help, None, MetricType::Counter)?;
        for (result, n) in Mirrored::ALL.into_iter().zip(counts.mirrored).filter(|(_, n)| *n > 0) {
            ConstCounter::new(n).encode(family.encode_family(&[("result", result.as_str())])?)?;
        }
        let age = self.age.unwrap_or_default().as_secs_f64();
        for (name, help, n) in [
            ("portico_connections", "Client connections that stand", self.connections as f64),
            ("portico_requests_in_flight", "Requests that are not answered to their end", counts.in_flight as f64),
            ("portico_tunnels", "Client connections that were switched to another protocol", counts.tunnels as f64),
            ("portico_limiter_keys", "Places for keys of limits that were ever taken", self.limiter.keys as f64),
            ("portico_config_revision", "The revision that runs", self.revision as f64),
            ("portico_config_age_seconds", "How long it has been running", age),
            ("portico_ready", "Whether the node is ready", f64::from(u8::from(self.ready))),
            ("portico_overloaded", "Whether the node is short of memory", f64::from(u8::from(self.overloaded))),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(n).encode(encoder)?;
        }
        for (name, help, n) in self.memory.into_iter().flat_map(|(used, limit)| {
            [
                ("portico_memory_used_bytes", "Memory that the process holds", used),
                ("portico_memory_limit_bytes", "How much of it is too much", limit),
            ]
        }) {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(n as f64).encode(encoder)?;
        }
        Ok(())
    }
}
