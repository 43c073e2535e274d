//! The query that a service gets: what the policy says, and all else byte for byte.

use crate::harness::{stack::ControlPlane, upstream::Upstream};
use serde_json::json;

#[test]
fn a_service_gets_the_query_that_the_policy_makes() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    let route = |name: &str, query: serde_json::Value| {
        json!({"name": name, "match": {"path": {"template": format!("/{name}/{{id}}")}}, "forward": {"upstream": "echo"},
            "policies": [{"request_query": query}]})
    };
    let body = json!({
        "upstreams": [{"name": "echo", "endpoints": [{"address": echo.address.to_string()}]}],
        "routes": [
            route("only", json!({"keep": {"names": ["q"]}, "add": [{"name": "id", "value": "{path.id}"}]})),
            route("change", json!({
                "remove": ["debug"], "rename": [{"name": "user", "to": "login"}],
                "set": [{"name": "tenant", "value": "{header.x-shop}"}],
            })),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    for (target, expect) in [
        ("/only/7?a=1&q=%7e+%2f&&%71=2", "/only/7?q=%7e+%2f&%71=2&id=7"),
        ("/only/a%26b", "/only/a%26b?id=a%26b"),
        ("/change/7?debug=1&user=%C3%A9&x&de%62ug=2", "/change/7?login=%C3%A9&x"),
        // What the policy has no value for is not the client's to say.
        ("/change/7?tenant=eve&ten%61nt=eve&z=%zz", "/change/7?z=%zz"),
    ] {
        let response = node.get(target);
        assert_eq!((response.status, &response.json()["target"]), (200, &expect.into()), "{target}");
    }
    let told =
        control_plane.admin.ok("POST", "/v1/explain", Some(&json!({"request": {"url": "/only/7?a=1&q=2"}}))).json();
    assert_eq!(told["forward"]["upstreams"][0]["target"], "/only/7?q=2&id=7", "{told}");
}
