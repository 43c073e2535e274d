//! A real Prometheus scrapes both planes, its own tool likes their pages, and a collector gets the same figures.

use crate::harness::{
    http::{Request, send},
    ports,
    prometheus::{Prometheus, judge},
    stack::ControlPlane,
    upstream::Upstream,
};
use otel::testing::{Collector, Figure, Point};

fn count(points: &[Point], name: &str, attributes: &[(&str, &str)]) -> Option<u64> {
    let fits = |point: &&Point| {
        point.name == name
            && attributes.iter().all(|(key, value)| point.attributes.get(*key).is_some_and(|v| v == value))
    };
    match points.iter().find(fits)?.figure {
        Figure::Histogram(count, ..) => Some(count),
        Figure::Counter(value) | Figure::Gauge(value) => Some(value as u64),
    }
}

#[test]
fn prometheus_and_a_collector_see_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let collector = runtime.block_on(Collector::grpc());
    let exporting = ["--otlp-endpoint", &collector.url(), "--otlp-metric-interval", "200ms"];
    let control_plane = ControlPlane::start_with(&exporting);
    let mut node = control_plane.node_with(&exporting);
    node.restart();
    let echo = Upstream::echo("orders");
    control_plane.admin.route("orders", "/orders", echo.address);
    control_plane.admin.route("gone", "/gone", ports::free());
    for _ in 0..5 {
        assert_eq!(node.get("/orders/1").status, 200);
    }
    assert!(node.get("/gone").status >= 500);

    for address in [node.status, control_plane.admin.address] {
        let page = |accept: &str| {
            send(address, &Request { headers: &[("accept", accept)], ..Request::get("/metrics") }).unwrap()
        };
        judge(&page("text/plain").text());
        let open = page("application/openmetrics-text; version=1.0.0");
        assert!(open.text().ends_with("# EOF\n") && open.text().contains("# UNIT "), "{}", open.text());
    }

    if let Some(mut prometheus) =
        Prometheus::start(&[("node", node.status), ("control-plane", control_plane.admin.address)])
    {
        for (expression, expect) in [
            ("sum(up)", 2.0),
            ("sum(http_server_request_duration_seconds_count{job='node', route='orders'})", 5.0),
            ("http_server_request_duration_seconds_bucket{job='node', route='orders', le='+Inf'}", 5.0),
            (
                "sum(http_client_request_duration_seconds_count{upstream='orders', http_response_status_code='200'})",
                5.0,
            ),
            ("sum(http_client_request_duration_seconds_count{upstream='gone', error_type!=''}) > bool 0", 1.0),
            ("portico_requests_in_flight", 0.0),
            ("sum(portico_response_body_bytes_total{route='orders'}) > bool 0", 1.0),
            ("portico_worker_lag_seconds_count > bool 0", 1.0),
            ("portico_upstream_idle_connections{upstream='orders'} > bool 0", 1.0),
            ("portico_config_revision - on() portico_head_revision", 0.0),
            ("portico_nodes_behind", 0.0),
            ("sum(portico_build_info)", 2.0),
            ("sum(portico_store_duration_seconds_count{operation='Write'})", 4.0),
            ("sum(http_server_request_duration_seconds_count{http_route='/v1/routes/{name}'})", 2.0),
        ] {
            prometheus.expect(expression, expect);
        }
    }

    let both = |points: &[Point]| {
        let of = |name: &str, attributes: &[(&str, &str)]| count(points, name, attributes);
        of("http.server.request.duration", &[("route", "orders"), ("http.response.status_code", "200")]) == Some(5)
            && of("http.client.request.duration", &[("upstream", "orders")]) == Some(5)
            && of("http.server.request.duration", &[("http.route", "/v1/routes/{name}")]) == Some(2)
            && of("portico.config.revision", &[]) == of("portico.head.revision", &[])
    };
    runtime.block_on(collector.wait_for_points("the figures of both planes", both));
}
