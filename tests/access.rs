//! Who may: by address, by what is proven, and where nobody thought of it; and no path leads around it.

use crate::harness::{
    http::{Request, raw},
    stack::{ControlPlane, Node},
};
use serde_json::{Value, json};
use std::time::Duration;

const SILENCE: Duration = Duration::from_secs(2);

fn respond(name: &str, policies: Value) -> Value {
    json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}}, "respond": {"body": "open"},
        "policies": policies})
}

fn ask(node: &Node, target: &str, headers: &[(&str, &str)]) -> u16 {
    node.send(&Request { headers, ..Request::get(target) }).status
}

#[test]
fn the_rules_of_a_route_say_who_may() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--trusted-proxy", "127.0.0.1/32"]);
    node.restart();
    let allow = |conditions: Value| json!({"access": {"rules": [{"allow": conditions}]}});
    let optional = json!({"api_key": {"optional": true}});
    let key =
        |consumer: &str| json!([{"id": "one", "api_key": {"key": {"value": format!("{consumer}-key-0123456789")}}}]);
    let body = json!({
        "keyrings": [{"name": "api-keys", "pepper": {"value": "p".repeat(32)}}],
        "consumers": [
            {"name": "acme", "groups": ["gold"], "credentials": key("acme")},
            {"name": "bolt", "credentials": key("bolt")},
        ],
        "routes": [
            respond("office", json!([{"access": {"rules": [
                {"deny": {"addresses": ["10.0.0.66"]}}, {"allow": {"addresses": ["10.0.0.0/8", "2001:db8::/32"]}}]}}])),
            respond("gold", json!([optional, allow(json!({"groups": ["gold"]}))])),
            respond("bolt", json!([optional, allow(json!({"consumers": ["bolt"], "methods": ["GET"]}))])),
            respond("token", json!([optional, allow(json!({"authenticated": {"any": ["jwt"]}}))])),
            respond("tried", json!([{"name": "tried", "shadow": {}, "access": {}}])),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    for (client, status) in [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::1", 200),
        ("10.0.0.66", 403),
        ("192.0.2.1", 403),
        // What a client says before its own address is not believed.
        ("10.1.2.3, 192.0.2.1", 403),
    ] {
        assert_eq!(ask(&node, "/office", &[("x-forwarded-for", client)]), status, "{client}");
    }
    let refused = node.get("/office");
    assert_eq!((refused.status, &refused.json()["reason"]), (403, &json!("forbidden")));

    let (acme, bolt) = ([("x-api-key", "acme-key-0123456789")], [("x-api-key", "bolt-key-0123456789")]);
    assert_eq!(["/gold", "/bolt", "/token"].map(|target| ask(&node, target, &acme)), [200, 403, 403]);
    assert_eq!(["/gold", "/bolt"].map(|target| ask(&node, target, &bolt)), [403, 200]);
    assert_eq!(node.send(&Request { method: "DELETE", headers: &bolt, ..Request::get("/bolt") }).status, 403);
    // Who is unknown may say who he is; to claim it is not enough.
    let refused = node.send(&Request { headers: &[("x-consumer-username", "acme")], ..Request::get("/gold") });
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));

    assert_eq!(ask(&node, "/tried", &[]), 200);
    let counted = "kind=\"access\",decision=\"shadowed\",reason=\"forbidden\"} 1";
    assert!(node.metrics().contains(counted), "{}", node.metrics());
}

#[test]
fn where_nobody_said_who_may_nobody_may() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let body = json!({
        "policies": [{"name": "nobody", "global": {}, "access": {"fallback": true}}],
        "routes": [
            respond("forgotten", json!([{"response_headers": {"remove": ["server"]}}])),
            respond("open", json!([{"access": {"otherwise": {"allow": {}}}}])),
            respond("known", json!([{"api_key": {}}])),
            // To try out who may says nothing yet.
            respond("tried", json!([{"name": "tried", "shadow": {}, "api_key": {}}])),
            {"name": "health", "match": {"path": {"exact": "/health"}}, "respond": {}, "disable": ["access"]},
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    for (target, status) in [("/forgotten", 403), ("/open", 200), ("/known", 401), ("/tried", 403), ("/health", 200)] {
        assert_eq!(node.get(target).status, status, "{target}");
    }
    let told = control_plane.admin.ok("POST", "/v1/explain", Some(&json!({"request": {"url": "/forgotten"}}))).json();
    assert_eq!(told["refused"]["status"], 403, "{told}");
}

#[test]
fn no_path_leads_around_it() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let body = json!({"routes": [
        respond("admin", json!([{"access": {}}])),
        {"name": "all", "match": {}, "respond": {"body": "open"}},
    ]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let check = |target: &str, status: u16| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = raw(node.traffic, request.as_bytes(), SILENCE).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    };
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/%61dmin",
        "/adm%69n/x",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/./admin",
        "/%2E/admin",
        "/admin?x",
        "/admin/%2e%2e/admin",
        "http://a/admin",
    ] {
        check(target, 403);
    }
    // What a service might take for another path is refused whole.
    for target in [
        "/x%2f..%2fadmin",
        "/x\\..\\admin",
        "/admin%00",
        "/x/..%5cadmin",
        "//admin",
        "///admin/x",
        "/admin;x",
        "/;x/admin",
        "/x/..//admin;y/z",
    ] {
        check(target, 400);
    }
    // And these are other paths, of which no route says that nobody may.
    for target in ["/administrators", "/Admin", "//other", "/other;x", "/admin/.."] {
        check(target, 200);
    }
}
