//! Metrics as they go to the collector: the very registry that Prometheus scrapes, pushed now and then.
//!
//! The rule of names, in one place: a name of Prometheus with dots for its underscores is the name of OpenTelemetry, a
//! unit at its end (`_seconds`, `_bytes`) becomes the unit (`s`, `By`), and `_total` is not in it. So
//! `http_server_request_duration_seconds` is `http.server.request.duration`, and `portico_retries_total` is
//! `portico.retries`. Labels that the conventions of HTTP know ([`ATTRIBUTES`]) have their names there; all others stay.

use crate::{
    resource::Service,
    retry::Outage,
    settings::{Invalid, Settings},
    span::{Value, attribute},
    target::{Target, Way},
    transport::{Sender, Signal},
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    common::v1::{InstrumentationScope, KeyValue},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prometheus_client::{
    encoding::prometheus_protobuf::{
        encode,
        prometheus_data_model::{self as model, LabelPair, MetricFamily, MetricType},
    },
    registry::Registry,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long the end of the process waits for the last figures to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Labels that have a name in the conventions of HTTP.
const ATTRIBUTES: [(&str, &str); 6] = [
    ("error_type", "error.type"),
    ("http_request_method", "http.request.method"),
    ("http_response_status_code", "http.response.status_code"),
    ("http_route", "http.route"),
    ("server_address", "server.address"),
    ("url_scheme", "url.scheme"),
];

/// All figures at one moment.
#[derive(Debug, Default)]
pub struct Figures(Vec<MetricFamily>);

/// The task that sends metrics to the collector.
#[must_use = "nothing is sent unless it runs"]
pub struct MetricExporter {
    // None: there is nothing to do.
    work: Option<Work>,
}

struct Work {
    interval: Duration,
    // When the counters began to count, in nanoseconds since the epoch.
    since: u64,
    target: Target,
    resource: Resource,
    scope: InstrumentationScope,
}

// When what is counted began to be, and now.
#[derive(Clone, Copy)]
struct Period {
    since: u64,
    now: u64,
}

// === impl Figures ===

impl Figures {
    /// Reads all metrics.
    pub fn read(registry: &Registry) -> Figures {
        // To write into a list cannot fail.
        Figures(encode(registry).unwrap_or_default())
    }
}

// === impl MetricExporter ===

impl MetricExporter {
    /// As the settings say; does nothing when no collector is named.
    pub fn new(settings: &Settings, service: &Service) -> Result<MetricExporter, Invalid> {
        let way = Way { endpoint: settings.otlp_metrics_endpoint.as_ref(), path: "v1/metrics" };
        let work = Target::find(settings, way)?.map(|target| Work {
            interval: settings.otlp_metric_interval,
            since: now(),
            target,
            resource: service.resource(settings),
            scope: service.scope(),
        });
        Ok(MetricExporter { work })
    }

    /// Sends what is read each time until told to stop, then once more, within a bound.
    pub async fn run<F: Future<Output = Figures>>(self, read: impl Fn() -> F, stop: CancellationToken) {
        let Some(work) = self.work else { return };
        let too_long = async {
            stop.cancelled().await;
            sleep(FLUSH).await;
        };
        tokio::select! {
            () = work.run(read, &stop) => {}
            () = too_long => tracing::warn!("the last metrics were not sent before the end"),
        }
    }
}

// === impl Work ===

impl Work {
    async fn run<F: Future<Output = Figures>>(self, read: impl Fn() -> F, stop: &CancellationToken) {
        let mut sender = Sender::new(self.target.clone());
        let mut outage = Outage::none("metrics");
        let mut last = false;
        while !last {
            tokio::select! {
                () = stop.cancelled() => last = true,
                () = sleep(self.interval) => {}
            }
            let request = self.request(read().await);
            // What did not arrive is told again with the next, for counters only grow.
            sender.deliver(&request, &mut outage).await.ok();
        }
    }

    fn request(&self, figures: Figures) -> ExportMetricsServiceRequest {
        let period = Period { since: self.since, now: now() };
        let metrics = figures.0.into_iter().filter_map(|family| export(family, period)).collect();
        let scope_metrics = vec![ScopeMetrics { scope: Some(self.scope.clone()), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        let resource_metrics = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

// None: there is nothing in it, or nothing of ours is of that type.
fn export(family: MetricFamily, period: Period) -> Option<Metric> {
    let (name, unit) = name(&family.name);
    let data = match family.r#type() {
        MetricType::Counter => Data::Sum(Sum {
            data_points: family.metric.into_iter().filter_map(|metric| counted(metric, period)).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        MetricType::Gauge => {
            let points = family.metric.into_iter().filter_map(|metric| measured(metric, period));
            Data::Gauge(Gauge { data_points: points.collect() })
        }
        MetricType::Histogram => Data::Histogram(Histogram {
            data_points: family.metric.into_iter().filter_map(|metric| distributed(metric, period)).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
        MetricType::Summary | MetricType::Untyped | MetricType::GaugeHistogram => return None,
    };
    let is_empty = match &data {
        Data::Sum(sum) => sum.data_points.is_empty(),
        Data::Gauge(gauge) => gauge.data_points.is_empty(),
        Data::Histogram(histogram) => histogram.data_points.is_empty(),
        Data::ExponentialHistogram(_) | Data::Summary(_) => true,
    };
    let description = family.help.trim_end_matches('.').into();
    (!is_empty).then_some(Metric { name, unit: unit.into(), description, data: Some(data), ..Metric::default() })
}

fn name(prometheus: &str) -> (String, &'static str) {
    let name = prometheus.strip_suffix("_total").unwrap_or(prometheus);
    let found =
        [("_seconds", "s"), ("_bytes", "By")].into_iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, unit)));
    let (name, unit) = found.unwrap_or((name, ""));
    (name.replace('_', "."), unit)
}

fn counted(metric: model::Metric, period: Period) -> Option<NumberDataPoint> {
    let value = metric.counter?.value;
    Some(NumberDataPoint {
        attributes: attributes(metric.label),
        start_time_unix_nano: period.since,
        time_unix_nano: period.now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    })
}

fn measured(metric: model::Metric, period: Period) -> Option<NumberDataPoint> {
    let value = metric.gauge?.value;
    Some(NumberDataPoint {
        attributes: attributes(metric.label),
        time_unix_nano: period.now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    })
}

fn distributed(metric: model::Metric, period: Period) -> Option<HistogramDataPoint> {
    let histogram = metric.histogram?;
    let mut below = 0;
    let counts = histogram.bucket.iter().map(|bucket| {
        let count = bucket.cumulative_count - below;
        below = bucket.cumulative_count;
        count
    });
    Some(HistogramDataPoint {
        attributes: attributes(metric.label),
        start_time_unix_nano: period.since,
        time_unix_nano: period.now,
        count: histogram.sample_count,
        sum: Some(histogram.sample_sum),
        bucket_counts: counts.collect(),
        // The last has none: both ways it holds all that is above.
        explicit_bounds: histogram.bucket.iter().map(|b| b.upper_bound).filter(|bound| *bound < f64::MAX).collect(),
        ..HistogramDataPoint::default()
    })
}

// A label that is empty is one that is not there.
fn attributes(labels: Vec<LabelPair>) -> Vec<KeyValue> {
    let labels = labels.into_iter().filter(|label| !label.value.is_empty());
    let exported = labels.map(|label| {
        let known = ATTRIBUTES.iter().find(|(name, _)| *name == label.name);
        let name = known.map_or(label.name.as_str(), |(_, name)| name);
        match label.value.parse() {
            Ok(status) if name == "http.response.status_code" => attribute(name, &Value::Int(status)),
            Ok(_) | Err(_) => attribute(name, &Value::from(label.value)),
        }
    });
    exported.collect()
}

// === impl ExportMetricsServiceRequest ===

impl Signal for ExportMetricsServiceRequest {
    type Answer = ExportMetricsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

    fn rejected(answer: ExportMetricsServiceResponse) -> (u64, String) {
        let part = answer.partial_success.unwrap_or_default();
        (u64::try_from(part.rejected_data_points).unwrap_or(0), part.error_message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_one_rule() {
        for (prometheus, expect) in [
            ("http_server_request_duration_seconds", ("http.server.request.duration", "s")),
            ("portico_config_age_seconds", ("portico.config.age", "s")),
            ("portico_memory_used_bytes", ("portico.memory.used", "By")),
            ("portico_retries_total", ("portico.retries", "")),
            ("portico_request_body_bytes_total", ("portico.request.body", "By")),
        ] {
            assert_eq!(name(prometheus), (expect.0.into(), expect.1), "{prometheus}");
        }
    }
}
