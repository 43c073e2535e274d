//! Policies of consumers: limits by plan, what changes for one consumer's requests and in which order, and that nobody is
//! ever without the limits of his plan, however it changes.

use crate::harness::{
    http::{Connection, Request, Response},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

fn key_of(name: &str) -> String {
    format!("the-key-of-{name}-0123456789")
}

fn consumer(name: &str, policies: Value) -> Value {
    let key = json!({"id": "one", "api_key": {"key": {"value": key_of(name)}}});
    json!({"name": name, "credentials": [key], "policies": policies})
}

fn limit(name: &str, limit: u32) -> Value {
    json!({"name": name, "rate_limit": {"limit": limit, "window": "24h"}})
}

fn header(kind: &str, way: &str, name: &str, value: &str) -> Value {
    json!({kind: {way: [{"name": name, "value": value}]}})
}

fn start(body: &Value) -> (ControlPlane, Node) {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--trusted-proxy", "127.0.0.1/32"]);
    node.restart();
    let keyring = json!({"keyrings": [{"name": "api-keys", "pepper": {"value": "p".repeat(32)}}]});
    control_plane.admin.ok("POST", "/v1/apply", Some(&keyring));
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(body));
    (control_plane, node)
}

fn ask(node: &Node, target: &str, consumer: &str) -> Response {
    node.send(&Request { headers: &[("x-api-key", &key_of(consumer))], ..Request::get(target) })
}

fn statuses(node: &Node, consumer: &str, targets: &[&str]) -> Vec<u16> {
    targets.iter().map(|target| ask(node, target, consumer).status).collect()
}

#[test]
fn each_call_of_a_composition_is_subject_to_them_where_its_upstream_says_who_calls() {
    let service = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec());
    let keys = json!([{"api_key": {"from": [{"bearer": {}}]}}]);
    let part = |name: &str, upstream: &str| json!({"name": name, "optional": {}, "call": {"upstream": upstream, "path": "/", "send": ["authorization"]}});
    let endpoints = json!([{"address": service.address.to_string()}]);
    let body = json!({
        "upstreams": [{"name": "a", "endpoints": endpoints, "policies": keys}, {"name": "b", "endpoints": endpoints, "policies": keys}],
        "consumers": [
            consumer("acme", json!([])),
            consumer("shut", json!([{"access": {"rules": [{"deny": {}}]}}])),
        ],
        "routes": [{"name": "page", "compose": {"parts": [part("one", "a"), part("two", "b")]}}],
    });
    let (_control_plane, node) = start(&body);
    let ask = |name: &str| {
        let bearer = format!("Bearer {}", key_of(name));
        let page = node.send(&Request { headers: &[("authorization", &bearer)], ..Request::get("/") });
        page.header("portico-incomplete").map(String::from)
    };
    assert_eq!(ask("acme"), None);
    assert_eq!(ask("nobody").as_deref(), Some("one;reason=refused, two;reason=refused"));
    assert_eq!(ask("shut").as_deref(), Some("one;reason=refused, two;reason=refused"), "not the first alone");
}

#[test]
fn a_plan_limits_each_of_its_consumers_wherever_they_go() {
    let gold = json!([{"ref": "gold"}]);
    let body = json!({
        "policies": [{"name": "keys", "global": {}, "api_key": {}}, limit("gold", 3), limit("bronze", 1)],
        "consumers": [consumer("acme", gold.clone()), consumer("zenith", gold), consumer("small", json!([{"ref": "bronze"}])),
            consumer("free", json!([]))],
        "routes": [
            {"name": "a", "match": {"path": {"prefix": "/a"}}, "respond": {"body": "a"}},
            {"name": "b", "match": {"path": {"prefix": "/b"}}, "respond": {"body": "b"}},
            {"name": "open", "match": {"path": {"prefix": "/open"}}, "respond": {"body": "open"}, "disable": ["rate_limit"]},
        ],
    });
    let (control_plane, node) = start(&body);
    let admin = &control_plane.admin;
    assert_eq!(statuses(&node, "small", &["/a", "/b"]), [200, 429]);
    assert_eq!(statuses(&node, "acme", &["/a", "/b", "/a", "/b"]), [200, 200, 200, 429]);
    let first = ask(&node, "/a", "zenith");
    assert_eq!(
        (first.status, first.header("ratelimit-limit"), first.header("ratelimit-remaining")),
        (200, Some("3"), Some("2"))
    );
    assert_eq!(statuses(&node, "free", &["/a", "/a", "/a", "/a"]), [200; 4]);
    // A route without limits is without those too.
    assert_eq!(statuses(&node, "acme", &["/open"]), [200]);

    // Neither another field, nor another number, nor a policy beside it makes anybody's count begin anew.
    let mut other = consumer("acme", json!([{"ref": "gold"}, header("response_headers", "set", "x-own", "yes")]));
    other["groups"] = json!(["partners"]);
    let body = json!({"policies": [limit("gold", 4)], "consumers": [other]});
    admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let last = ask(&node, "/a", "acme");
    // Whoever had three has had them, and now there is one more.
    assert_eq!((last.status, last.header("x-own")), (200, Some("yes")), "{}", last.text());
    assert_eq!(statuses(&node, "acme", &["/b"]), [429]);
    assert_eq!(statuses(&node, "zenith", &["/b", "/a", "/b", "/a"])[2..], [200, 429]);
    // Another plan is another count.
    admin.ok("POST", "/v1/apply?wait=all", Some(&json!({"consumers": [consumer("small", json!([{"ref": "gold"}]))]})));
    assert_eq!(statuses(&node, "small", &["/a", "/a", "/a", "/a", "/a"]), [200, 200, 200, 200, 429]);

    // In use it stays, and it is said by whom.
    let refused = admin.send("DELETE", "/v1/policies/gold", None);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("consumer/acme"), "{}", refused.text());
    admin.ok("POST", "/v1/apply?wait=all", Some(&json!({"consumers": [consumer("small", json!([]))]})));
    assert_eq!(statuses(&node, "small", &["/a"]), [200]);
}

#[test]
fn a_consumers_policies_act_between_those_of_all_traffic_and_those_of_the_route() {
    let echo = Upstream::echo("echo");
    let order = |name: &str| header("request_headers", "add", "x-order", name);
    let back = |name: &str| header("response_headers", "add", "x-back", name);
    let global = |name: &str, mut policy: Value| {
        (policy["name"], policy["global"]) = (json!(name), json!({}));
        policy
    };
    let inside = json!({"rules": [{"deny": {"addresses": ["192.0.2.0/24"]}}], "otherwise": {"allow": {}}});
    let own = json!([
        header("request_headers", "set", "x-item", "{consumer.name}/{path.id}"),
        {"name": "second", "request_headers": {"add": [{"name": "x-order", "value": "consumer"}]}},
        back("consumer"),
        {"name": "inside", "access": inside},
        {"name": "each", "rate_limit": {"limit": 2, "window": "24h", "key": [{"route": {}}]}},
        {"validate": {"schema": "{\"required\": [\"name\"]}"}},
    ]);
    let route = |name: &str, policies: Value| {
        json!({"name": name, "match": {"path": {"template": format!("/{name}/{{id}}")}}, "forward": {"upstream": "echo"},
            "policies": policies})
    };
    let both = || json!([{"api_key": {}}, order("route"), back("route")]);
    let mut plain = route("plain", json!([{"api_key": {}}]));
    plain["disable"] = json!(["request_headers", "validate"]);
    // There it is the upstream that wants to know who calls.
    let mut late = route("late", json!([order("route"), back("route")]));
    late["forward"] = json!({"upstream": "asking"});
    let upstream = |name: &str, policies: Value| json!({"name": name, "endpoints": [{"address": echo.address.to_string()}], "policies": policies});
    let body = json!({
        "policies": [global("first", order("global")), global("last", back("global"))],
        "upstreams": [upstream("echo", json!([order("upstream"), back("upstream")])),
            upstream("asking", json!([{"api_key": {}}, order("upstream"), back("upstream")]))],
        "consumers": [consumer("acme", own), consumer("other", json!([]))],
        "routes": [route("items", both()), route("things", both()), plain, late],
    });
    let (_control_plane, node) = start(&body);
    let seen = |response: &Response, name: &str| -> Vec<String> {
        let headers = response.json()["headers"].as_array().unwrap().clone();
        let named = headers.iter().filter(|header| header[0] == name);
        named.map(|header| header[1].as_str().unwrap().to_string()).collect()
    };
    let backwards = |response: &Response| -> Vec<String> {
        let named = response.headers.iter().filter(|(name, _)| name == "x-back");
        named.map(|(_, value)| value.clone()).collect()
    };
    let key = key_of("acme");
    let post = |target: &str, from: &str, body: &str| {
        let headers = [("x-api-key", key.as_str()), ("x-forwarded-for", from), ("content-type", "application/json")];
        let body = body.as_bytes();
        node.send(&Request { method: "POST", headers: &headers, body, ..Request::get(target) })
    };
    let good = "{\"name\": 1}";
    let answer = post("/items/7", "203.0.113.1", good);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(seen(&answer, "x-order"), ["global", "consumer", "route", "upstream"]);
    assert_eq!(seen(&answer, "x-item"), ["acme/7"]);
    assert_eq!(backwards(&answer), ["upstream", "route", "consumer", "global"]);
    let others = ask(&node, "/items/7", "other");
    assert_eq!(seen(&others, "x-order"), ["global", "route", "upstream"]);
    assert!(seen(&others, "x-item").is_empty());
    // An upstream's are asked later, and so are those that go by whom they know.
    let late = post("/late/7", "203.0.113.1", good);
    assert_eq!(seen(&late, "x-order"), ["global", "route", "upstream", "consumer"]);
    assert_eq!(backwards(&late), ["consumer", "upstream", "route", "global"]);
    // What the route does without, it does without.
    assert!(seen(&post("/plain/7", "203.0.113.1", "{}"), "x-order").is_empty());

    // Where it comes from, what is in it, and how often, which is counted for each route.
    assert_eq!(post("/things/7", "192.0.2.1", good).status, 403);
    assert_eq!(post("/items/7", "203.0.113.1", "{}").status, 422);
    let statuses =
        ["/items/7", "/things/7", "/things/7", "/things/7"].map(|target| post(target, "203.0.113.1", good).status);
    assert_eq!(statuses, [429, 200, 200, 429]);
}

#[test]
fn what_a_consumers_policies_would_do_is_told() {
    let gold = json!({"name": "gold", "access": {"rules": [{"allow": {"groups": ["gold"]}}]}});
    let mut tried = gold.clone();
    (tried["name"], tried["shadow"]) = (json!("tried"), json!({}));
    let body = json!({
        "policies": [{"name": "keys", "global": {}, "api_key": {}}, gold, tried, limit("ten", 10)],
        "consumers": [consumer("acme", json!([{"ref": "ten"}, {"ref": "gold"}])), consumer("zenith", json!([{"ref": "tried"}]))],
        "routes": [{"name": "all", "respond": {"body": "here"}, "policies": [header("response_headers", "set", "x-a", "1")]}],
    });
    let (control_plane, node) = start(&body);
    assert_eq!(ask(&node, "/", "acme").status, 403);
    assert_eq!(ask(&node, "/", "zenith").status, 200);
    let metrics = node.metrics();
    for (consumer, policy, made) in [("acme", "gold", "refused"), ("zenith", "tried", "shadowed")] {
        let what = format!("policy=\"{policy}\",kind=\"access\",decision=\"{made}\",reason=\"forbidden\"");
        for counted in [
            format!("portico_policy_decisions_total{{{what}}} 1\n"),
            format!("portico_consumer_decisions_total{{consumer=\"{consumer}\",{what}}} 1\n"),
        ] {
            assert!(metrics.contains(&counted), "{counted}: {metrics}");
        }
    }

    let explain =
        |request: Value| control_plane.admin.send("POST", "/v1/explain", Some(&json!({ "request": request })));
    let told = explain(json!({"url": "/", "consumer": "acme"})).json();
    assert_eq!((&told["refused"]["status"], &told["refused"]["reason"]), (&json!(403), &json!("forbidden")));
    let acting: Vec<_> = told["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| {
            ["name", "attached", "stage", "decision"].map(|field| policy[field].as_str().unwrap().to_string()).join(" ")
        })
        .collect();
    assert_eq!(
        acting,
        [
            "keys global authenticate given",
            "gold consumer/acme authorize stop",
            "ten consumer/acme limit not_reached",
            "response-headers route transform not_reached",
        ]
    );
    let told = explain(json!({"url": "/", "consumer": "zenith"})).json();
    assert_eq!(
        (&told["respond"]["status"], &told["policies"][1]["decision"]),
        (&json!(200), &json!("would_stop")),
        "{told}"
    );
    // A key that is sent says it too.
    let told = explain(json!({"url": "/", "headers": [{"name": "x-api-key", "value": key_of("acme")}]})).json();
    assert_eq!(told["policies"][1]["attached"], "consumer/acme", "{told}");
    let none = explain(json!({"url": "/", "consumer": "acne"}));
    assert_eq!((none.status, &none.json()["errors"][0]["pointer"]), (422, &json!("/request/consumer")));

    let test = |consumer: &str, status: u16| json!({"tests": [{"name": "who", "request": {"url": "/", "consumer": consumer}, "expect": {"status": status}}]});
    control_plane.admin.ok("POST", "/v1/apply", Some(&test("acme", 403)));
    for (consumer, status) in [("acme", 200), ("nobody", 401)] {
        let broken = control_plane.admin.send("POST", "/v1/apply", Some(&test(consumer, status)));
        assert_eq!(broken.status, 422, "{}", broken.text());
    }
}

#[test]
fn nobody_is_without_the_limits_of_his_plan_while_it_changes() {
    let plan = |name: &str| header("response_headers", "set", "x-plan", name);
    let list = |name: &str| json!([{"ref": "all"}, {"ref": name}]);
    let named = |name: &str| {
        let mut policy = plan(name);
        policy["name"] = json!(name);
        policy
    };
    let body = json!({
        "policies": [{"name": "keys", "global": {}, "api_key": {}}, limit("all", 100), named("red"), named("blue")],
        "consumers": [consumer("acme", list("red")), consumer("busy", list("red"))],
        "routes": [{"name": "all", "respond": {"body": "here"}}],
    });
    let (control_plane, node) = start(&body);
    let done = AtomicBool::new(false);
    let (passed, plans) = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for n in (0..).take_while(|_| !done.load(SeqCst)) {
                let own = match n % 4 {
                    0 => list("blue"),
                    1 => json!([{"ref": "all"}, plan("green")]),
                    2 => json!([plan("violet"), {"ref": "all"}]),
                    _ => list("red"),
                };
                let body = json!({"policies": [limit("all", 100 + n % 2)], "consumers": [consumer("acme", own)]});
                control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
            }
        });
        let asking = (0..4).map(|_| {
            scope.spawn(|| {
                let key = key_of("acme");
                let (mut passed, mut plans) = (0, std::collections::BTreeSet::new());
                let mut connection = Connection::open(node.traffic).unwrap();
                for _ in 0..400 {
                    let request = Request { headers: &[("x-api-key", &key)], ..Request::get("/") };
                    let response = connection.send(&request).unwrap();
                    assert!(matches!(response.status, 200 | 429), "{}", response.text());
                    passed += u32::from(response.status == 200);
                    plans.insert(response.header("x-plan").expect("a plan").to_string());
                }
                (passed, plans)
            })
        });
        let asking: Vec<_> = asking.collect();
        let told: Vec<_> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
        done.store(true, SeqCst);
        changing.join().unwrap();
        let plans: std::collections::BTreeSet<String> = told.iter().flat_map(|(_, plans)| plans.clone()).collect();
        (told.iter().map(|(passed, _)| passed).sum::<u32>(), plans)
    });
    // One more in each bucket where the limit had one more.
    assert!((100..=101).contains(&passed), "{passed}");
    assert!(plans.len() >= 2, "{plans:?}");
}
