//! Browsers: preflights are answered before anybody is asked who he is, and scripts of other origins see what they may.

use crate::harness::{
    http::{Request, Response},
    ports,
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::json;

const APP: &str = "https://app.example";

fn preflight(node: &Node, target: &str, origin: &str, method: &str) -> Response {
    let headers = [("origin", origin), ("access-control-request-method", method)];
    node.send(&Request { method: "OPTIONS", headers: &headers, ..Request::get(target) })
}

fn ask(node: &Node, target: &str, origin: &str) -> Response {
    node.send(&Request { headers: &[("origin", origin)], ..Request::get(target) })
}

fn allowed(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn scripts_see_what_the_policy_lets_them_see() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let own = Upstream::answering(|seen| {
        assert_ne!(seen.method, "OPTIONS", "a preflight reached the service");
        b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nvary: accept\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let upstream = |name: &str, address: String| json!({"name": name, "endpoints": [{"address": address}]});
    let route = |name: &str, policies: serde_json::Value| {
        json!({"name": name, "match": {"path": {"exact": format!("/{name}")}, "methods": ["GET", "PUT"]},
            "forward": {"upstream": if name == "down" { "down" } else { "own" }}, "policies": policies})
    };
    let body = json!({
        "upstreams": [upstream("own", own.address.to_string()), upstream("down", ports::free().to_string())],
        "policies": [{"name": "all", "global": {}, "cors": {
            "origins": [APP, "https://*.shop.example"], "methods": ["GET", "PUT"], "credentials": true,
        }}],
        "routes": [
            route("a", json!([])),
            route("down", json!([])),
            route("public", json!([{"cors": {"origins": ["*"], "exposed_headers": ["x-request-id"]}}])),
            route("closed", json!([{"maintenance": {}}])),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    // The route takes no OPTIONS; the request that is asked about has one.
    let answer = preflight(&node, "/a", APP, "PUT");
    assert_eq!((answer.status, allowed(&answer)), (204, Some(APP)), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, PUT"));
    for (origin, method, why) in [("https://evil.example", "PUT", "scripts of https://evil.example"), (APP, "POST", "")]
    {
        let denied = preflight(&node, "/a", origin, method);
        match why {
            // Nobody's route.
            "" => assert_eq!((denied.status, denied.json()["reason"].clone()), (404, "no_route".into())),
            why => {
                assert_eq!((denied.status, denied.json()["reason"].clone()), (403, "cors".into()));
                assert!(denied.json()["detail"].as_str().unwrap().starts_with(why), "{}", denied.text());
            }
        }
        assert_eq!(allowed(&denied), None);
    }

    // In place of what the service says, which knows no better.
    for (origin, expect) in
        [(APP, Some(APP)), ("https://x.shop.example", Some("https://x.shop.example")), ("null", None)]
    {
        let answer = ask(&node, "/a", origin);
        assert_eq!((answer.status, allowed(&answer)), (200, expect), "{origin}");
        let vary: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| &**value).collect();
        assert_eq!(vary, ["accept", "origin"]);
    }
    assert_eq!(preflight(&node, "/closed", APP, "GET").status, 204);
    // Errors of the gateway too, or the script would not know what went wrong.
    for (target, status) in [("/down", 502), ("/closed", 503)] {
        let answer = ask(&node, target, APP);
        assert_eq!((answer.status, allowed(&answer)), (status, Some(APP)));
    }
    // The most specific counts.
    let answer = ask(&node, "/public", "https://anybody.example");
    assert_eq!((allowed(&answer), answer.header("access-control-expose-headers")), (Some("*"), Some("x-request-id")));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let bad = json!({"cors": {"origins": ["*"], "credentials": true}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/all", Some(&bad));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/cors/credentials".into()));
}
