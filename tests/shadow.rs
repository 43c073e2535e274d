//! A policy that is tried out changes nothing but records: it takes no policy in force away, lets nobody in, and leaves the
//! request as it was.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::{Value, json};

const OLD: &str = "key-of-acme-0123456789";
const NEW: &str = "new-key-of-acme-0123456789";

fn by(header: &str) -> Value {
    json!({"name": header, "api_key": {"from": [{"header": header}]}})
}

fn tried(mut policy: Value) -> Value {
    policy["shadow"] = json!({});
    policy
}

fn route(name: &str, policies: Value) -> Value {
    json!({"name": name, "match": {"path": {"exact": format!("/{name}")}}, "forward": {"upstream": "echo"},
        "policies": policies})
}

fn ask(node: &Node, target: &str, headers: &[(&str, &str)]) -> Response {
    node.send(&Request { headers, ..Request::get(target) })
}

#[test]
fn what_is_tried_out_changes_nothing() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    let credential = |id: &str, key: &str| json!({"id": id, "api_key": {"key": {"value": key}}});
    let limit = json!({"name": "one-a-day", "rate_limit": {"limit": 1, "window": "24h", "key": [{"consumer": {}}]}});
    let gold = json!({"name": "gold", "access": {"rules": [{"allow": {"groups": ["gold"]}}]}});
    // Nobody but those who are tried out says who the client is.
    let mut alone = route("alone", json!([tried(by("x-new")), tried(limit), tried(gold.clone())]));
    alone["disable"] = json!(["api_key"]);
    let body = json!({
        "keyrings": [{"name": "api-keys", "pepper": {"value": "p".repeat(32)}}],
        "consumers": [{"name": "acme", "groups": ["gold"], "credentials": [credential("old", OLD), credential("new", NEW)]}],
        "upstreams": [{"name": "echo", "endpoints": [{"address": echo.address.to_string()}]}],
        "policies": [{"name": "everywhere", "global": {}, "api_key": {}}],
        "routes": [
            route("over", json!([tried(by("x-new"))])),
            route("beside", json!([by("x-old"), tried(by("x-new")), gold])),
            alone,
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    // The policy of all traffic stands, though the route tries another one out.
    assert_eq!(ask(&node, "/over", &[]).status, 401);
    assert_eq!(ask(&node, "/over", &[("x-new", NEW)]).status, 401);
    assert_eq!(ask(&node, "/over", &[("x-api-key", OLD)]).status, 200);
    // Nobody is let in by a policy that is tried out, and nobody in force goes by whom it knows.
    assert_eq!(ask(&node, "/beside", &[("x-new", NEW)]).status, 401);
    let both = ask(&node, "/beside", &[("x-old", OLD), ("x-new", NEW)]);
    assert_eq!(both.status, 200, "{}", both.text());
    // What it would take out is not taken out.
    assert!(both.text().contains(NEW) && !both.text().contains(&format!("\"{OLD}\"")), "{}", both.text());
    assert_eq!(ask(&node, "/beside", &[("x-old", OLD), ("x-new", "wrong")]).status, 200);

    // Those that are tried out together go by each other.
    let counted = |policy: &str, kind: &str, reason: &str| {
        let labels = format!(
            "portico_policy_decisions_total{{policy=\"{policy}\",kind=\"{kind}\",decision=\"shadowed\",reason=\"{reason}\"}} "
        );
        let metrics = node.metrics();
        metrics.lines().find_map(|line| line.strip_prefix(&labels)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let statuses: Vec<u16> = (0..3).map(|_| ask(&node, "/alone", &[("x-new", NEW)]).status).collect();
    assert_eq!(statuses, [200; 3]);
    assert_eq!(counted("one-a-day", "rate_limit", "rate_limited"), 2);
    assert_eq!(["forbidden", "unauthenticated"].map(|reason| counted("gold", "access", reason)), [0, 0]);
    assert_eq!(ask(&node, "/alone", &[]).status, 200);
    assert_eq!(counted("gold", "access", "unauthenticated"), 1);
    assert_eq!(counted("x-new", "api_key", "api_key_invalid"), 1);
}
