//! A change is one trace, from the admin call over the commit to the node that runs it.

use crate::harness::{
    admin::{TOKEN, route, upstream},
    http::{Request, send},
    ports,
    stack::ControlPlane,
};
use otel::testing::{Collector, Received};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

#[test]
fn a_change_is_followed_to_the_node_that_runs_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let collector = runtime.block_on(Collector::grpc());
    let exporting = ["--otlp-endpoint", &collector.url(), "--otlp-span-delay", "50ms"];
    let control_plane = ControlPlane::start_with(&exporting);
    let mut node = control_plane.node_with(&exporting);
    node.restart();

    control_plane.admin.put("/v1/upstreams/orders", &upstream(&[ports::free()]));
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("traceparent", PARENT),
        ("tracestate", "vendor=1"),
    ];
    let body = route("/orders", "orders").to_string();
    let target = "/v1/routes/orders?wait=all";
    let request = Request { method: "PUT", target, host: "admin.test", headers: &headers, body: body.as_bytes() };
    let answer = send(control_plane.admin.address, &request).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());

    let in_trace = |spans: &[Received]| spans.iter().filter(|span| span.trace == TRACE).cloned().collect::<Vec<_>>();
    let spans = runtime.block_on(collector.wait_for("five spans of one trace", |spans| in_trace(spans).len() == 5));
    let spans = in_trace(&spans);
    let find = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("there is no {name}: {spans:#?}"))
    };
    let call = find("PUT /v1/routes/{name}");
    assert_eq!((call.parent, call.kind, call.tracestate.as_str()), (0xb7ad_6b71_6920_3331, 2, "vendor=1"));
    assert_eq!(call.attributes["http.response.status_code"], "201");
    assert_eq!(call.resource["service.name"], "portico-control-plane");
    let commit = find("commit");
    assert_eq!((commit.parent, commit.attributes["portico.revision"].as_str()), (call.id, "2"));
    assert_eq!((find("check").parent, find("store").parent), (commit.id, commit.id));
    let apply = find("apply revision");
    assert_eq!((apply.parent, apply.kind, apply.status), (commit.id, 5, 0));
    assert_eq!(
        (apply.attributes["portico.revision"].as_str(), apply.resource["service.name"].as_str()),
        ("2", "portico-node")
    );
    assert!(apply.attributes.contains_key("portico.build.duration"), "{apply:#?}");
    // It was on its way before the answer said so; the node's span ends after it has told that it runs.
    assert!(call.time.0 <= commit.time.0 && commit.time.0 <= apply.time.1 && apply.time.0 <= call.time.1, "{spans:#?}");
}
