//! A policy that refuses: who is refused and who is not, what is told of it everywhere, and how it is tried out first.

use crate::harness::{
    http::Request,
    stack::{ControlPlane, Node, folder},
    wait::eventually,
};
use serde_json::{Value, json};

fn from(node: &Node, client: &str) -> (u16, Value, Vec<(String, String)>) {
    let response = node.send(&Request { headers: &[("x-forwarded-for", client)], ..Request::get("/shop") });
    let body = serde_json::from_str(&response.text()).unwrap_or(Value::Null);
    (response.status, body, response.headers.clone())
}

#[test]
fn it_is_tried_out_and_then_refuses_all_but_those_who_see_to_it() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let log = folder.path().join("access.log");
    let arguments = ["--trusted-proxy", "127.0.0.1/32", "--access-log", log.to_str().unwrap()];
    let mut node = control_plane.node_with(&arguments);
    node.restart();
    let policy = json!({"shadow": {}, "maintenance": {
        "retry_after": "10m", "detail": "back at noon", "allow": ["10.0.0.0/8", "::1"],
    }});
    let body = json!({
        "policies": [{"name": "works", "shadow": policy["shadow"], "maintenance": policy["maintenance"]}],
        "routes": [{
            "name": "shop", "match": {"path": {"exact": "/shop"}}, "respond": {"body": "open"},
            "policies": [{"ref": "works"}],
        }],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let ask = |client: &str| {
        let asked = json!({"request": {"url": "/shop", "client": client}});
        control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json()
    };

    let logged = |client: &str| {
        eventually("the request is logged", || {
            let lines = std::fs::read_to_string(&log).ok()?;
            let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["client.address"] == client)
        })
    };

    // Tried out, it lets pass, and tells.
    assert_eq!(from(&node, "192.0.2.1").0, 200);
    assert_eq!(ask("192.0.2.1")["policies"][0]["decision"], "would_stop");
    assert!(ask("192.0.2.1").get("respond").is_some());
    let line = logged("192.0.2.1");
    assert_eq!((&line["shadowed"], &line["policy"]), (&"works:maintenance".into(), &Value::Null), "{line}");
    assert_eq!(line.get("reason"), None, "{line}");
    let counted = |made: &str| {
        let labels = format!(
            "portico_policy_decisions_total{{policy=\"works\",kind=\"maintenance\",decision=\"{made}\",reason=\"maintenance\"}} "
        );
        let metrics = node.metrics();
        metrics.lines().find_map(|line| line.strip_prefix(&labels).map(|n| n.parse::<u64>().unwrap())).unwrap_or(0)
    };
    assert_eq!((counted("shadowed"), counted("refused")), (1, 0));

    // In force.
    let in_force = json!({"maintenance": policy["maintenance"]});
    control_plane.admin.ok("PUT", "/v1/policies/works?wait=all", Some(&in_force));
    let (status, problem, headers) = from(&node, "192.0.2.2");
    assert_eq!((status, &problem["reason"], &problem["detail"]), (503, &"maintenance".into(), &"back at noon".into()));
    assert_eq!(headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("retry-after")).count(), 1, "{headers:?}");
    assert!(headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("retry-after") && value == "600"));
    let line = logged("192.0.2.2");
    assert_eq!((&line["policy"], &line["reason"]), (&"works".into(), &"maintenance".into()), "{line}");
    assert_eq!(counted("refused"), 1);
    let told = ask("192.0.2.2");
    assert_eq!(told["policies"][0]["decision"], "stop");
    assert_eq!((&told["refused"]["status"], &told["refused"]["detail"]), (&503.into(), &"back at noon".into()));

    // Those who see to it are served, and nobody who only says that he is one of them.
    for (client, status) in [("10.9.9.9", 200), ("::1", 200), ("11.0.0.1", 503), ("10.9.9.9, 192.0.2.2", 503)] {
        assert_eq!(from(&node, client).0, status, "{client}");
    }

    // What refuses nothing cannot be tried out, and a reference says nothing of its own.
    let hsts = json!({"shadow": {}, "hsts": {"max_age": "5m"}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/hsts", Some(&hsts));
    assert!(refused.status == 422 && refused.text().contains("\"/shadow\""), "{}", refused.text());
    let route = json!({"match": {}, "respond": {}, "policies": [{"ref": "works", "shadow": {}}]});
    let refused = control_plane.admin.send("PUT", "/v1/routes/all", Some(&route));
    assert!(refused.status == 422 && refused.text().contains("/policies/0/shadow"), "{}", refused.text());
}
