//! A route that was made by the admin API serves traffic, is changed, and goes.

use crate::harness::{
    admin::{revision, route, upstream},
    http::{Connection, Request},
    stack::ControlPlane,
    upstream::Upstream,
};
use serde_json::json;

#[test]
fn a_new_route_serves_traffic_once_the_write_is_answered() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("orders");
    assert_eq!(node.get("/orders").status, 404);

    control_plane.admin.route("orders", "/orders", echo.address);
    let response = node.get("/orders/7?full=yes");
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = response.json();
    assert_eq!((&seen["upstream"], &seen["target"]), (&json!("orders"), &json!("/orders/7?full=yes")));
    assert!(response.header("x-request-id").is_some(), "{response:?}");
    assert_eq!(node.get("/other").status, 404);
}

#[test]
fn a_change_reaches_connections_that_are_open() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let (old, new) = (Upstream::echo("old"), Upstream::echo("new"));
    control_plane.admin.route("orders", "/orders", old.address);
    let mut client = Connection::open(node.traffic).unwrap();
    assert_eq!(client.send(&Request::get("/orders")).unwrap().json()["upstream"], "old");

    control_plane.admin.put("/v1/upstreams/orders?wait=all", &upstream(&[new.address]));
    assert_eq!(client.send(&Request::get("/orders")).unwrap().json()["upstream"], "new");

    let rewritten = json!({"match": {"path": {"prefix": "/orders"}}, "forward": {"upstream": "orders",
        "rewrite": {"prefix": "/v2"}}});
    control_plane.admin.put("/v1/routes/orders?wait=all", &rewritten);
    assert_eq!(client.send(&Request::get("/orders/7")).unwrap().json()["target"], "/v2/7");

    control_plane.admin.ok("DELETE", "/v1/routes/orders?wait=all", None);
    assert_eq!(client.send(&Request::get("/orders/7")).unwrap().status, 404);
}

#[test]
fn the_same_body_twice_makes_no_revision() {
    let control_plane = ControlPlane::start();
    let body = json!({"match": {"path": {"exact": "/a"}}, "respond": {"body": "a"}});
    let first = control_plane.admin.put("/v1/routes/a", &body);
    assert_eq!(first.status, 201);
    let second = control_plane.admin.put("/v1/routes/a", &body);
    assert_eq!((second.status, revision(&second)), (200, revision(&first)));
}

#[test]
fn redirects_and_own_answers_need_no_upstream() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let body = json!({"routes": [
        {"name": "hello", "match": {"path": {"exact": "/hello"}}, "respond": {"status": 418, "body": "hello\n"},
            "policies": [{"response_headers": {"set": [{"name": "x-from", "value": "portico"}]}}]},
        {"name": "old", "match": {"path": {"exact": "/old"}}, "redirect": {"status": 308, "host": "new.test"}}]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let hello = node.get("/hello");
    assert_eq!((hello.status, hello.text().as_str(), hello.header("x-from")), (418, "hello\n", Some("portico")));
    let old = node.get("/old?a=b");
    assert_eq!((old.status, old.header("location")), (308, Some("http://new.test/old?a=b")));
}

#[test]
fn nothing_of_a_bad_configuration_is_taken() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("orders");
    control_plane.admin.route("orders", "/orders", echo.address);
    let bad = json!({"routes": [
        {"name": "fine", "match": {"path": {"exact": "/fine"}}, "respond": {}},
        {"name": "orders2", "match": {"path": {"prefix": "/orders"}}, "forward": {"upstream": "order"}},
        {"name": "odd", "match": {"path": {"prefix": "/odd"}}, "forward": {"upstrean": "orders"}}]});
    let refused = control_plane.admin.send("POST", "/v1/apply", Some(&bad));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    let fault = |pointer: &str| {
        let errors = problem["errors"].as_array().unwrap().iter();
        let found = errors.clone().find(|error| error["pointer"] == pointer);
        found.unwrap_or_else(|| panic!("no fault at {pointer}: {problem:#}"))["detail"].as_str().unwrap().to_string()
    };
    assert!(fault("/routes/1/forward/upstream").contains("did you mean \"orders\"?"));
    assert!(fault("/routes/2/forward/upstrean").contains("did you mean \"upstream\"?"));
    assert_eq!(node.get("/fine").status, 404);
    assert_eq!(node.get("/orders").status, 200);

    let dangling = control_plane.admin.send("DELETE", "/v1/upstreams/orders", None);
    assert_eq!(dangling.status, 409, "{}", dangling.text());
    assert!(dangling.text().contains("route/orders"), "{}", dangling.text());
}

#[test]
fn traffic_is_spread_over_the_endpoints() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let (a, b) = (Upstream::echo("a"), Upstream::echo("b"));
    control_plane.admin.put("/v1/upstreams/ab", &upstream(&[a.address, b.address]));
    control_plane.admin.put("/v1/routes/ab?wait=all", &route("/", "ab"));
    let names: Vec<_> = (0..10).map(|_| node.get("/").json()["upstream"].as_str().unwrap().to_string()).collect();
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 5, "{names:?}");
}
