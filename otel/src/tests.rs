//! What is offered arrives, and what happens when the collector does not want it.

use crate::{
    Figures, MetricExporter, Service, Settings, SpanExporter, Spans,
    settings::{Compression, Endpoint, Headers, Protocol},
    span::{Kind, Link, Span, Status, Text, Value},
    testing::{Collector, Figure, Mood},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn settings(url: &str) -> Settings {
    Settings {
        otlp_endpoint: Endpoint::parse(url).ok(),
        otlp_timeout: Duration::from_millis(300),
        otlp_span_delay: Duration::from_millis(20),
        ..Settings::default()
    }
}

fn service() -> Service {
    Service { name: "portico-node", version: "0", instance: "n1".into() }
}

fn spans(settings: &Settings) -> (Spans, SpanExporter) {
    Spans::new(settings, &service()).unwrap()
}

/// Runs an exporter; it is told to stop by the token.
fn run(exporter: SpanExporter) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(exporter.run(stop)))
}

fn span(id: u64) -> Span {
    Span {
        trace: 7,
        id,
        parent: 1,
        name: "GET /orders".into(),
        kind: Kind::Server,
        start: 1_000,
        end: 2_000,
        attributes: vec![("http.request.method", "GET".into()), ("http.response.status_code", Value::Int(200))],
        links: vec![Link { trace: 8, id: 9, tracestate: Text::default(), attributes: Vec::new() }],
        status: Status::Unset,
        tracestate: "a=b".into(),
    }
}

#[track_caller]
fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("in vain at {place}"));
    }
}

async fn arrives(collector: Collector, settings: Settings) {
    let settings = Settings { otlp_headers: Some(Headers::from("x-key=hush")), ..settings };
    let (spans, exporter) = spans(&settings);
    let _running = run(exporter);
    assert!(spans.is_on());
    spans.offer(span(3));
    let came = collector.wait_for("a span", |spans| !spans.is_empty()).await.remove(0);
    assert_eq!((came.trace, came.id, came.parent, came.name.as_str(), came.kind), (7, 3, 1, "GET /orders", 2));
    assert_eq!((came.time, came.tracestate.as_str(), came.links), ((1_000, 2_000), "a=b", vec![(8, 9)]));
    assert_eq!(came.attributes["http.response.status_code"], "200");
    assert_eq!(
        (came.resource["service.name"].as_str(), came.resource["service.instance.id"].as_str()),
        ("portico-node", "n1")
    );
    assert_eq!(collector.headers()["x-key"], "hush");
    until(|| spans.exported() == 1).await;
    // A second one, on the connection that is there.
    spans.offer(span(4));
    collector.wait_for("another", |spans| spans.len() == 2).await;
    assert_eq!((spans.dropped(), spans.failed()), (0, 0));
}

#[tokio::test]
async fn spans_arrive_by_grpc() {
    let collector = Collector::grpc().await;
    let settings = settings(&collector.url());
    arrives(collector, settings).await;
}

#[tokio::test]
async fn spans_arrive_by_http() {
    let collector = Collector::http().await;
    let settings = Settings { otlp_protocol: Protocol::Http, ..settings(&collector.url()) };
    arrives(collector, settings).await;
}

#[tokio::test]
async fn spans_arrive_compressed() {
    let collector = Collector::grpc().await;
    let gzip = Settings { otlp_compression: Compression::Gzip, ..settings(&collector.url()) };
    arrives(collector, gzip).await;
    let collector = Collector::http().await;
    let gzip = Settings { otlp_compression: Compression::Gzip, ..settings(&collector.url()) };
    arrives(collector, Settings { otlp_protocol: Protocol::Http, ..gzip }).await;
}

#[tokio::test]
async fn spans_arrive_by_tls_only_where_the_authority_is_known() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let collector = Collector::grpc_tls(&certificate, &key).await;
    let url = format!("https://localhost:{}", collector.address().port());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let (spans_of_strangers, exporter) = spans(&settings(&url));
    let _running = run(exporter);
    spans_of_strangers.offer(span(1));
    let (known, exporter) = spans(&Settings { otlp_certificate: Some(file), ..settings(&url) });
    let _running = run(exporter);
    known.offer(span(2));
    let came = collector.wait_for("the span of who knows it", |spans| !spans.is_empty()).await;
    assert_eq!((came.len(), came[0].id, spans_of_strangers.exported()), (1, 2, 0));
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing() {
    let (spans, exporter) = spans(&Settings::default());
    assert!(!spans.is_on());
    spans.offer(span(1));
    // It has nothing to wait for.
    exporter.run(CancellationToken::new()).await;
    assert_eq!((spans.dropped(), spans.exported(), spans.failed()), (0, 0, 0));
}

#[tokio::test]
async fn a_collector_that_was_away_gets_what_waited() {
    let collector = Collector::grpc().await;
    let (spans, exporter) = spans(&settings(&collector.url()));
    let _running = run(exporter);
    spans.offer(span(1));
    collector.wait_for("a span", |spans| spans.len() == 1).await;
    let address: SocketAddr = collector.kill().await;
    spans.offer(span(2));
    spans.offer(span(3));
    let collector = Collector::grpc_at(address).await;
    collector.wait_for("what waited", |spans| spans.len() == 2).await;
    until(|| spans.exported() == 3).await;
    assert_eq!((spans.dropped(), spans.failed()), (0, 0));
}

// It is given up and asked again, until it takes what there is.
async fn is_asked_again(collector: Collector, mood: Mood, protocol: Protocol) {
    collector.set_mood(mood);
    let (spans, exporter) = spans(&Settings { otlp_protocol: protocol, ..settings(&collector.url()) });
    let _running = run(exporter);
    spans.offer(span(1));
    collector.wait_for_requests(2).await;
    collector.set_mood(Mood::Takes);
    collector.wait_for("the span", |spans| spans.len() == 1).await;
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_nobody() {
    is_asked_again(Collector::grpc().await, Mood::Hangs, Protocol::Grpc).await;
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_by_http() {
    is_asked_again(Collector::http().await, Mood::Busy, Protocol::Http).await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let collector = Collector::grpc().await;
    collector.set_mood(Mood::Refuses);
    let (spans, exporter) = spans(&settings(&collector.url()));
    let _running = run(exporter);
    spans.offer(span(1));
    until(|| spans.failed() == 1).await;
    assert_eq!((collector.requests(), spans.exported()), (1, 0));
    collector.set_mood(Mood::Picky);
    spans.offer(span(2));
    spans.offer(span(3));
    until(|| spans.failed() + spans.exported() == 3).await;
    assert!(spans.failed() >= 2, "what the collector did not want was not counted");
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    let collector = Collector::grpc().await;
    collector.set_mood(Mood::Hangs);
    let few = Settings { otlp_span_queue: 10, otlp_span_batch: 4, ..settings(&collector.url()) };
    let (spans, exporter) = spans(&few);
    let _running = run(exporter);
    spans.offer(span(0));
    // The exporter holds that one and waits; the queue takes ten.
    collector.wait_for_requests(1).await;
    for id in 1..=1_000 {
        spans.offer(span(id));
    }
    assert_eq!(spans.dropped(), 990);
    collector.set_mood(Mood::Takes);
    collector.wait_for("what waited", |spans| spans.len() == 11).await;
    until(|| spans.exported() == 11).await;
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_its_time() {
    let collector = Collector::grpc().await;
    let slow =
        Settings { otlp_span_delay: Duration::from_secs(3_600), otlp_span_batch: 3, ..settings(&collector.url()) };
    let (spans, exporter) = spans(&slow);
    let (stop, running) = run(exporter);
    for id in 0..6 {
        spans.offer(span(id));
    }
    collector.wait_for("full batches", |spans| spans.len() == 6).await;
    assert_eq!(collector.requests(), 2);
    // What is not a batch yet goes at the end.
    spans.offer(span(6));
    stop.cancel();
    running.await.unwrap();
    assert_eq!((collector.spans().len(), spans.exported()), (7, 7));
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_collector_that_hangs() {
    let collector = Collector::grpc().await;
    collector.set_mood(Mood::Hangs);
    let patient = Settings { otlp_timeout: Duration::from_secs(3_600), ..settings(&collector.url()) };
    let (spans, exporter) = spans(&patient);
    let (stop, running) = run(exporter);
    spans.offer(span(1));
    collector.wait_for_requests(1).await;
    let began = std::time::Instant::now();
    stop.cancel();
    running.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn metrics_arrive_as_prometheus_would_have_them() {
    let collector = Collector::http().await;
    let settings = Settings {
        otlp_protocol: Protocol::Http,
        otlp_metric_interval: Duration::from_millis(20),
        ..settings(&collector.url())
    };
    let mut registry = Registry::default();
    let requests = Family::<Vec<(String, String)>, Histogram>::new_with_constructor(|| Histogram::new([0.5, 1.0]));
    let labels =
        [("http_request_method", "GET"), ("http_response_status_code", "200"), ("route", "orders"), ("none", "")];
    let labels: Vec<_> = labels.map(|(name, value)| (name.to_string(), value.to_string())).into();
    [0.25, 0.5, 7.0].iter().for_each(|seconds| requests.get_or_create(&labels).observe(*seconds));
    registry.register_with_unit("http_server_request_duration", "Requests", Unit::Seconds, requests);
    let retries = Counter::<u64>::default();
    registry.register("portico_retries", "Tries", retries.clone());
    let age = Gauge::<i64>::default();
    age.set(-3);
    registry.register("portico_config_age_seconds", "Age", age);
    let registry = std::sync::Arc::new(registry);

    let stop = CancellationToken::new();
    let exporter = MetricExporter::new(&settings, &service()).unwrap();
    let read = move || std::future::ready(Figures::read(&registry));
    let running = tokio::spawn(exporter.run(read, stop.clone()));
    retries.inc();
    let is_there = |figure: Figure| move |point: &crate::testing::Point| point.figure == figure;
    let points = collector.wait_for_points("a retry", |points| points.iter().any(is_there(Figure::Counter(1.0)))).await;
    let find = |name: &str| points.iter().find(|point| point.name == name).unwrap_or_else(|| panic!("{points:#?}"));
    let duration = find("http.server.request.duration");
    assert_eq!(duration.figure, Figure::Histogram(3, 7.75, vec![0.5, 1.0], vec![2, 0, 1]));
    assert_eq!(duration.unit, "s");
    let attributes: Vec<(&str, &str)> = duration.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expect = [("http.request.method", "GET"), ("http.response.status_code", "200"), ("route", "orders")];
    assert_eq!(attributes, expect);
    assert_eq!(
        (&find("portico.config.age").figure, find("portico.config.age").unit.as_str()),
        (&Figure::Gauge(-3.0), "s")
    );
    assert_eq!(find("portico.retries").resource["service.name"], "portico-node");
    // What was counted since goes at the end.
    retries.inc();
    stop.cancel();
    running.await.unwrap();
    assert!(collector.points().iter().any(is_there(Figure::Counter(2.0))));
}
