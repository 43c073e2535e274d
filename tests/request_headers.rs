//! What services are told of a request, byte by byte: what a policy sets is the gateway's word, and nobody else's.

use crate::harness::{http::raw, stack::ControlPlane, upstream::Upstream};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn a_service_reads_what_the_policy_wrote_and_not_what_the_client_did() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    let policy = json!({"request_headers": {
        "remove": ["x-debug"],
        "set": [
            {"name": "x-order", "value": "{path.id}"},
            {"name": "x-shop", "value": "{request.host}/{query.shop}"},
            // Nobody proves who he is here, and nobody can say so either.
            {"name": "x-account", "value": "{claims.sub}"},
        ],
        "add": [{"name": "x-tag", "value": "gateway"}],
    }});
    let body = json!({
        "upstreams": [{"name": "echo", "endpoints": [{"address": echo.address.to_string()}]}],
        "routes": [{
            "name": "orders", "match": {"path": {"template": "/orders/{id}"}}, "forward": {"upstream": "echo"},
            "policies": [policy],
        }],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let seen = |target: &str, headers: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: shop.test\r\n{headers}connection: close\r\n\r\n");
        let answer = raw(node.traffic, request.as_bytes(), Duration::from_secs(5)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_string(), serde_json::from_str::<Value>(body).unwrap())
    };
    let of = |body: &Value, prefix: &str| {
        let headers = body["headers"].as_array().unwrap().iter();
        let named = headers.filter(|header| header[0].as_str().unwrap().replace('_', "-").starts_with(prefix));
        named.map(|header| header[1].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let tricks = "X-Order: 9\r\nx_order: 9\r\nX-ORDER: 9\r\nX-Account: eve\r\nX_Account: eve\r\nx-debug: 1\r\nX_Debug: 1\r\n\
                  X-Tag: client\r\nConnection: X-Order, X-Shop, x-account, x-tag\r\n";
    let (head, body) = seen("/orders/a%20b?shop=1", tricks);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(of(&body, "x-order"), ["a b"]);
    assert_eq!(of(&body, "x-shop"), ["shop.test/1"]);
    assert_eq!(of(&body, "x-tag"), ["gateway"]);
    assert!(!body.to_string().contains("eve") && of(&body, "x-debug").is_empty(), "{body}");
    // Whatever is added stands beside what the client sent.
    let (_, body) = seen("/orders/7", "x-tag: client\r\n");
    assert_eq!((of(&body, "x-tag"), of(&body, "x-shop")), (vec!["client".into(), "gateway".into()], vec![]));
    // What cannot stand in a header is not written in another form.
    let (head, problem) = seen("/orders/a%0d%0ax-account:%20eve", "");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(problem["reason"], "request_headers");

    let typo = json!({"name": "typo", "match": {"path": {"template": "/typo/{id}"}}, "respond": {},
        "policies": [{"request_headers": {"set": [{"name": "x-order", "value": "{path.ip}"}]}}]});
    let refused = control_plane.admin.send("PUT", "/v1/routes/typo", Some(&typo));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/policies/0".into()));
    assert!(refused.text().contains("did you mean"), "{}", refused.text());
    let bad = json!({"request_headers": {"set": [{"name": "host", "value": "a"}], "remove": ["connection"]}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/bad", Some(&bad));
    assert_eq!(refused.status, 422, "{}", refused.text());
}
