//! Answers over https have browsers come by https only; in cleartext nothing is said.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::json;

// As a proxy in front, which is trusted, says that the client came.
fn over(node: &Node, scheme: &str, target: &str) -> Response {
    node.send(&Request { headers: &[("x-forwarded-proto", scheme)], ..Request::get(target) })
}

fn told(response: &Response) -> Vec<&str> {
    let headers = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("strict-transport-security"));
    headers.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_policy_speaks_over_https_only_and_in_place_of_the_upstream() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--trusted-proxy", "127.0.0.1/32"]);
    node.restart();
    let own = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=9\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let hsts = |age: &str| json!({"hsts": {"max_age": age, "include_subdomains": true}});
    let route = |name: &str, action: serde_json::Value| {
        let mut route = json!({"name": name, "match": {"path": {"exact": format!("/{name}")}}});
        route.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        route
    };
    let body = json!({
        "upstreams": [{"name": "own", "endpoints": [{"address": own.address.to_string()}]}],
        "policies": [{"name": "all", "global": {}, "hsts": {"max_age": "5m"}}],
        "routes": [
            route("own", json!({"forward": {"upstream": "own"}})),
            route("here", json!({"respond": {}, "policies": [hsts("1h")]})),
            route("moved", json!({"redirect": {"scheme": "https"}})),
            route("off", json!({"forward": {"upstream": "own"}, "disable": ["hsts"]})),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    for (target, secure, clear) in [
        ("/own", vec!["max-age=300"], vec![]),
        // The route's own counts, and not both.
        ("/here", vec!["max-age=3600; includeSubDomains"], vec![]),
        // What sends a browser to https was asked for without it.
        ("/moved", vec!["max-age=300"], vec![]),
        // Without a policy the upstream says what it wants.
        ("/off", vec!["max-age=9"], vec!["max-age=9"]),
    ] {
        assert_eq!(told(&over(&node, "https", target)), secure, "{target}");
        assert_eq!(told(&over(&node, "http", target)), clear, "{target}");
    }

    let preload = json!({"hsts": {"max_age": "1h", "preload": true}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/all", Some(&preload));
    assert_eq!(refused.status, 422, "{}", refused.text());
    let pointers: Vec<_> = refused.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/hsts/preload", "/hsts/preload"]);
}
