//! Browsers are told to be careful by every answer, also by those that the gateway makes itself.

use crate::harness::{http::Response, stack::ControlPlane, upstream::Upstream};
use serde_json::json;

fn told<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    let headers = response.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    headers.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn one_policy_is_safe_without_a_word_and_says_what_it_is_told() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let own = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nserver: Old/1\r\nx-powered-by: PHP\r\nreferrer-policy: no-referrer\r\n\
          content-security-policy: default-src 'self'\r\nx-frame-options: ALLOWALL\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let route = |name: &str, action: serde_json::Value| {
        let mut route = json!({"name": name, "match": {"path": {"exact": format!("/{name}")}}});
        route.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        route
    };
    let strict = json!({"security_headers": {
        "frames": {"none": {}}, "referrer_policy": "same-origin", "permissions_policy": "camera=()",
        "opener_policy": "same-origin", "embedder_policy": "require-corp", "resource_policy": "same-site",
        "keep_software": true,
    }});
    let body = json!({
        "upstreams": [{"name": "own", "endpoints": [{"address": own.address.to_string()}]}],
        "policies": [{"name": "all", "global": {}, "security_headers": {}}],
        "routes": [
            route("plain", json!({"forward": {"upstream": "own"}})),
            route("strict", json!({"forward": {"upstream": "own"}, "policies": [strict]})),
            route("here", json!({"respond": {"body": "<p>"}})),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let plain = node.get("/plain");
    assert_eq!(told(&plain, "x-content-type-options"), ["nosniff"]);
    assert_eq!(told(&plain, "x-frame-options"), ["SAMEORIGIN"]);
    assert_eq!(told(&plain, "content-security-policy"), ["default-src 'self'", "frame-ancestors 'self'"]);
    assert_eq!(told(&plain, "referrer-policy"), ["no-referrer"]);
    assert!(told(&plain, "server").is_empty() && told(&plain, "x-powered-by").is_empty());
    assert_eq!(told(&node.get("/here"), "referrer-policy"), ["strict-origin-when-cross-origin"]);
    let strict = node.get("/strict");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("permissions-policy", "camera=()"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-site"),
        ("server", "Old/1"),
    ] {
        assert_eq!(told(&strict, name), [value]);
    }

    let bad = json!({"security_headers": {"referrer_policy": "no-referer"}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/all", Some(&bad));
    assert_eq!(refused.status, 422);
    assert!(refused.json()["errors"][0]["detail"].as_str().unwrap().contains("did you mean \"no-referrer\"?"));
}
