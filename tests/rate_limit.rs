//! Limits of rate and of requests at once: who passes and who does not, what clients are told, and what nobody gets around.

use crate::harness::{
    http::{Connection, Request, Response},
    stack::{ControlPlane, Node},
    upstream::{Seen, Upstream},
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    io::{BufReader, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
};

fn respond(name: &str, policies: Value) -> Value {
    json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}}, "respond": {"body": "here"},
        "policies": policies})
}

fn per_day(limit: u32) -> Value {
    json!({"rate_limit": {"limit": limit, "window": "24h"}})
}

fn from(node: &Node, target: &str, client: &str) -> Response {
    node.send(&Request { headers: &[("x-forwarded-for", client)], ..Request::get(target) })
}

fn told(response: &Response) -> Vec<&str> {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after", "ratelimit-policy", "ratelimit"]
        .into_iter()
        .filter_map(|name| response.header(name))
        .collect()
}

// How many of so many requests pass, sent by several at once who say that they are somebody else each time.
fn pass(node: &Node, target: &str, threads: usize, each: usize) -> u32 {
    let passed = AtomicU32::new(0);
    thread::scope(|scope| {
        for thread in 0..threads {
            let passed = &passed;
            scope.spawn(move || {
                let mut connection = Connection::open(node.traffic).unwrap();
                for n in 0..each {
                    let (forged, id) = (format!("10.{thread}.0.{n}"), format!("{thread}-{n}"));
                    let headers = [("x-forwarded-for", &*forged), ("x-real-ip", &forged), ("x-consumer-id", &id)];
                    let response = connection.send(&Request { headers: &headers, ..Request::get(target) }).unwrap();
                    assert!(matches!(response.status, 200 | 429), "{}", response.text());
                    passed.fetch_add(u32::from(response.status == 200), SeqCst);
                }
            });
        }
    });
    passed.into_inner()
}

#[test]
fn a_limit_is_exact_over_workers_and_nobody_gets_around_it() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--workers", "2"]);
    node.restart();
    let body = json!({"routes": [respond("exact", json!([per_day(50)])), respond("changed", json!([per_day(100)]))]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    assert_eq!(pass(&node, "/exact", 8, 40), 50);

    // Numbers, windows and headers change all the time, and nothing that was had is forgotten.
    let done = AtomicBool::new(false);
    let passed = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for n in (0..).take_while(|_| !done.load(SeqCst)) {
                let limit = match n % 2 {
                    0 => json!({"limit": 101, "window": "23h", "burst": 100, "headers": {"structured": {}}}),
                    _ => json!({"limit": 100, "window": "24h"}),
                };
                let route = respond("changed", json!([{"rate_limit": limit}]));
                control_plane.admin.ok("PUT", "/v1/routes/changed?wait=all", Some(&route));
            }
        });
        let passed = (0..5).map(|_| pass(&node, "/changed", 4, 60)).sum::<u32>();
        done.store(true, SeqCst);
        changing.join().unwrap();
        passed
    });
    // In 23 hours one comes back every 14 minutes.
    assert_eq!(passed, 100);
}

#[test]
fn clients_are_told_what_is_left_and_when_to_come_again() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let several = |headers: Value| {
        json!([{"name": "several", "rate_limit": {"headers": headers, "limits": [
            {"limit": 2, "window": "12h"}, {"limit": 100, "window": "24h", "burst": 3}]}}])
    };
    let body = json!({
        "routes": [
            respond("plain", json!([per_day(3)])),
            respond("structured", several(json!({"structured": {}}))),
            respond("off", several(json!({"off": {}}))),
            respond("cost", json!([{"rate_limit": {"limit": 10, "window": "24h",
                "cost_from": {"value": "{query.n}", "max": 6}}}])),
            respond("two", json!([{"name": "wide", "rate_limit": {"limit": 9, "window": "24h"}},
                {"name": "narrow", "rate_limit": {"limit": 4, "window": "24h", "key": [{"header": "x-a"}]}}])),
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    for expect in [["3", "2", "28800"], ["3", "1", "57600"], ["3", "0", "86400"]] {
        let response = node.get("/plain");
        assert_eq!((response.status, told(&response)), (200, expect.to_vec()));
    }
    let refused = node.get("/plain");
    assert_eq!((refused.status, told(&refused)), (429, vec!["3", "0", "86400", "28800"]));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    assert_eq!((&problem["status"], &problem["reason"]), (&json!(429), &json!("rate_limited")));
    assert_eq!(problem["detail"], "more requests came than may; come again in 28800 s");

    let policy = r#""several-12h";q=2;w=43200, "several-24h";q=100;w=86400"#;
    for state in [r#""several-12h";r=1;t=21600"#, r#""several-12h";r=0;t=43200"#] {
        assert_eq!(told(&node.get("/structured")), [policy, state]);
    }
    let refused = node.get("/structured");
    assert_eq!((refused.status, told(&refused)), (429, vec!["21600", policy, r#""several-12h";r=0;t=43200"#]));
    assert_eq!(told(&node.get("/off")), Vec::<&str>::new());

    // What a request says that it costs, and no more than is believed.
    for (query, status, left) in [
        ("n=3", 200, "7"),
        ("", 200, "6"),
        ("n=0", 200, "5"),
        ("n=x", 429, "5"),
        ("n=99999999999", 429, "5"),
        ("n=5", 200, "0"),
    ] {
        let response = node.get(&format!("/cost?{query}"));
        assert_eq!((response.status, response.header("ratelimit-remaining")), (status, Some(left)), "{query}");
    }
    // Of two policies the tighter one is told; both have to let it pass.
    let named = |name| node.send(&Request { headers: &[("x-a", name)], ..Request::get("/two") });
    let left: Vec<_> = ["a", "a", "a", "a", "b", "b", "b"]
        .map(|name| named(name).header("ratelimit-remaining").map(str::to_string))
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(left, ["3", "2", "1", "0", "3", "2", "1"]);
    assert_eq!((named("a").status, named("b").status), (429, 200));
}

#[test]
fn whatever_the_key_says_counts_together() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--trusted-proxy", "127.0.0.1/32"]);
    node.restart();
    let by = |key: Value, skip: bool| json!([{"rate_limit": {"limit": 1, "window": "24h", "key": key, "skip_missing": skip}}]);
    let consumers = ["acme", "bolt"].map(|name| {
        let key = |n: u8| {
            let key = format!("{name}-key-{n}-0123456789");
            json!({"id": format!("k{n}"), "api_key": {"key": {"value": key}}})
        };
        json!({"name": name, "credentials": [key(1), key(2)]})
    });
    let body = json!({
        "policies": [{"name": "each-route", "global": {}, "rate_limit": {"limit": 1, "window": "24h",
            "key": [{"route": {}}, {"header": "x-each"}], "skip_missing": true}}],
        "routes": [
            respond("address", by(json!([]), false)),
            respond("block", by(json!([{"client_address": {"prefix4": 24, "prefix6": 48}}]), false)),
            respond("said", by(json!([{"header": "x-a"}, {"cookie": "c"}, {"query": "q"}]), false)),
            respond("skip", by(json!([{"header": "x-a"}]), true)),
            respond("consumer", json!([{"api_key": {}}, {"rate_limit": {"limit": 2, "window": "24h",
                "key": [{"consumer": {}}]}}])),
        ],
        "keyrings": [{"name": "api-keys", "pepper": {"value": "p".repeat(32)}}],
        "consumers": consumers,
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let check = |target: &str, client: &str, status: u16| {
        assert_eq!(from(&node, target, client).status, status, "{target} {client}");
    };
    check("/address", "192.0.2.1", 200);
    check("/address", "192.0.2.1", 429);
    check("/address", "::ffff:192.0.2.1", 429);
    check("/address", "192.0.2.2", 200);
    check("/address", "2001:db8::1", 200);
    check("/address", "2001:db8::ffff:1", 429);
    check("/address", "2001:db8:0:1::1", 200);
    // What a client says before its own address is not believed.
    check("/address", "192.0.2.77, 192.0.2.1", 429);
    check("/block", "192.0.2.1", 200);
    check("/block", "192.0.2.255", 429);
    check("/block", "192.0.3.1", 200);
    check("/block", "2001:db8:0:1::", 200);
    check("/block", "2001:db8:0:2::", 429);

    let said = |target: &str, headers: &[(&str, &str)]| node.send(&Request { headers, ..Request::get(target) }).status;
    assert_eq!(said("/said?q=1", &[("x-a", "1"), ("cookie", "c=1")]), 200);
    assert_eq!(said("/said?q=%31&other", &[("cookie", "d=2; c=1"), ("x-a", "1")]), 429);
    assert_eq!(said("/said?q=2", &[("x-a", "1"), ("cookie", "c=1")]), 200);
    // A consumer is one, whichever of its keys it shows; who is refused for a wrong key is nobody's.
    for (key, status) in [
        ("acme-key-1-0123456789", 200),
        ("acme-key-3-0123456789", 401),
        ("acme-key-2-0123456789", 200),
        ("acme-key-1-0123456789", 429),
        ("bolt-key-1-0123456789", 200),
    ] {
        assert_eq!(said("/consumer", &[("x-api-key", key)]), status, "{key}");
    }
    // All that lack a part are counted together, or not at all.
    assert_eq!((said("/said", &[]), said("/said?q=", &[])), (200, 429));
    assert_eq!((said("/skip", &[]), said("/skip", &[])), (200, 200));
    assert_eq!((said("/skip", &[("x-a", "1")]), said("/skip", &[("x-a", "1")])), (200, 429));
    // A global policy counts for each route where it says so, and otherwise for all together.
    let each = [("x-each", "1")];
    assert_eq!((said("/skip", &each), said("/skip", &each), said("/said?q=3", &each)), (200, 429, 200));

    let wrong = json!({"rate_limit": {"limit": 0, "key": [{"client_address": {"prefix4": 40}}]}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/wrong", Some(&wrong));
    let pointers: Vec<_> = refused.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    let expect = ["/rate_limit/limit", "/rate_limit/window", "/rate_limit/key/0/client_address/prefix4"];
    assert_eq!(pointers, expect, "{}", refused.text());
}

#[test]
fn a_limit_is_tried_out_and_told_of() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--trusted-proxy", "127.0.0.1/32"]);
    node.restart();
    let limits = json!([{"name": "tried", "shadow": {}, "rate_limit": {"limit": 1, "window": "24h"}}]);
    let body = json!({"routes": [respond("tried", limits), respond("many", json!([per_day(9)]))]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    for _ in 0..3 {
        let response = node.get("/tried");
        assert_eq!((response.status, told(&response)), (200, vec![]));
    }
    let counted = "portico_policy_decisions_total{policy=\"tried\",kind=\"rate_limit\",decision=\"shadowed\",reason=\"rate_limited\"} 2";
    assert!(node.metrics().contains(counted), "{}", node.metrics());

    let asked = json!({"request": {"url": "/tried", "client": "192.0.2.1"}});
    let told = control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json();
    let policy = &told["policies"][0];
    assert_eq!((&policy["stage"], &policy["decision"]), (&json!("address"), &json!("depends")), "{told}");
    assert!(told["depends_on"].as_array().unwrap().iter().any(|why| why.as_str().unwrap().starts_with("limits: ")));

    // Each key takes one place, and no more.
    let keys = |node: &Node| {
        let metrics = node.metrics();
        assert!(metrics.contains("\nportico_limiter_keys_displaced_total 0\n"), "{metrics}");
        let mut lines = metrics.lines();
        lines.find_map(|line| line.strip_prefix("portico_limiter_keys ")?.parse::<f64>().ok()).unwrap()
    };
    let before = keys(&node);
    let mut connection = Connection::open(node.traffic).unwrap();
    for n in 0..2000 {
        let client = format!("10.0.{}.{}", n / 250, n % 250);
        let request = Request { headers: &[("x-forwarded-for", &client)], ..Request::get("/many") };
        assert_eq!(connection.send(&request).unwrap().status, 200);
    }
    assert_eq!(keys(&node) - before, 2000.0);
}

#[test]
fn a_request_counts_as_one_at_once_until_it_is_over() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    // It answers, but for `/one/stuck`, of whose answer the rest never comes, and `/cut`, which is never answered.
    let (stuck, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let upstream = {
        let (stuck, over) = (stuck.clone(), over.clone());
        Upstream::scripted(move |stream| {
            let mut stream = BufReader::new(stream);
            while let Some(request) = Seen::read(&mut stream)? {
                if request.target == "/cut" {
                    return Ok(());
                }
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")?;
                if request.target == "/one/stuck" {
                    stuck.fetch_add(1, SeqCst);
                    eventually("the test is over", || over.load(SeqCst).then_some(()));
                }
                stream.get_mut().write_all(b"cd")?;
            }
            Ok(())
        })
    };
    let route = |name: &str| {
        json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}}, "forward": {"upstream": "slow"},
            "policies": [{"concurrency": {"limit": 1}}]})
    };
    let body = json!({
        "upstreams": [{"name": "slow", "endpoints": [{"address": upstream.address.to_string()}]}],
        "routes": [route("one"), route("cut")],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let begin = || {
        let before = stuck.load(SeqCst);
        let mut connection = Connection::open(node.traffic).unwrap();
        connection.write(b"GET /one/stuck HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        eventually("the upstream saw it", || (stuck.load(SeqCst) > before).then_some(()));
        connection
    };
    let served = |target: &str, status: u16| {
        eventually("there is room", || Some(node.get(target)).filter(|response| response.status == status))
    };

    let first = begin();
    let refused = node.get("/one");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
    assert_eq!(refused.json()["reason"], "too_many_at_once");
    // A client that leaves in the middle of the answer.
    drop(first);
    assert_eq!(served("/one", 200).text(), "abcd");
    // Whose answer was sent whole is not there any more when the client has it.
    assert_eq!((node.get("/one").status, node.get("/one").status), (200, 200));

    // A change of the policy does not forget who is there.
    let second = begin();
    control_plane.admin.ok("PUT", "/v1/routes/one?wait=all", Some(&route("one")));
    assert_eq!(node.get("/one").status, 429);
    drop(second);
    served("/one", 200);
    // One after the other fails, and none is left behind.
    for _ in 0..5 {
        served("/cut", 502);
    }
    over.store(true, SeqCst);
}
