//! What is foretold is what a node does: random configurations and requests, also odd ones, are explained and sent.

use super::harness::{Backend, Conn, Message, Node, ok, respond};
use crate::explain::Explainer;
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use proto::{
    explain::Description,
    invalid::Faults,
    json,
    pb::{self, explanation::Outcome, header_change::Change as HeaderChange},
    resource::{Change, Kind},
    snapshot::Snapshot,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

/// The upstreams that there are.
const UPSTREAMS: [&str; 3] = ["u0", "u1", "u2"];

// === what a configuration is made of ===

fn some_path() -> impl Strategy<Value = Value> {
    let literal = select(vec!["/", "/a", "/a/b", "/b", "/a/b/c", "/%C3%A9"]);
    prop_oneof![
        1 => Just(Value::Null),
        3 => literal.clone().prop_map(|path| json!({"exact": path})),
        3 => literal.prop_map(|path| json!({"prefix": path})),
        3 => select(vec!["/{id}", "/a/{id}", "/{x}/{id}", "/a/{id}/c", "/{id}/{rest*}"])
            .prop_map(|path| json!({"template": path})),
        1 => select(vec!["/a.*", ".*b", "/[ab]/.+"]).prop_map(|path| json!({"regex": path})),
    ]
}

fn sometimes(values: Value) -> impl Strategy<Value = Value> {
    let values = values.as_array().unwrap().clone();
    let some = prop::sample::subsequence(values.clone(), 1..=values.len());
    prop_oneof![3 => Just(Value::Null), 1 => some.prop_map(Value::from)]
}

fn some_rewrite(path: &Value) -> BoxedStrategy<Value> {
    let template = |texts: Vec<&'static str>| select(texts).prop_map(|text| json!({"template": text}));
    let any = template(vec!["/new", "/new?x={query.p}", "/q/{query.p}", "/h/{header.x-a}"]);
    let rewrite = match path["template"].as_str() {
        Some(path) if path.contains("rest") => {
            template(vec!["/v2/{path.id}", "/{path.rest}", "/?id={path.id}"]).boxed()
        }
        Some(_) => template(vec!["/v2/{path.id}", "/{path.id}/x", "/?id={path.id}"]).boxed(),
        None if path.is_null() || path.get("prefix").is_some() => {
            prop_oneof![select(vec!["/", "/v2", "/v2/"]).prop_map(|by| json!({"prefix": by})), any].boxed()
        }
        None => any.boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 1 => rewrite].boxed()
}

fn some_action(path: &Value) -> impl Strategy<Value = (&'static str, Value)> + use<> {
    let rewrite = some_rewrite(path);
    let host = select(vec![Value::Null, json!("inner.example:81")]);
    let split = select(vec![
        json!([{"upstream": "u0", "weight": 0}, {"upstream": "u1"}]),
        json!([{"upstream": "u1", "weight": 3}, {"upstream": "u2"}]),
    ]);
    let key = select(vec![json!({"query": "p"}), json!({"path": {}}), Value::Null]);
    let location = select(vec![json!({"scheme": "https"}), json!({"host": "b.example", "port": 81, "status": 308})]);
    prop_oneof![
        4 => (select(UPSTREAMS.to_vec()), rewrite.clone(), host)
            .prop_map(|(upstream, rewrite, host)| ("forward", json!({"upstream": upstream, "rewrite": rewrite, "host": host}))),
        1 => (split, key).prop_map(|(split, key)| ("forward", json!({"split": split, "split_key": key}))),
        2 => (location, rewrite).prop_map(|(mut redirect, rewrite)| {
            redirect["rewrite"] = rewrite;
            ("redirect", redirect)
        }),
        2 => select(vec![200_u16, 404, 503]).prop_map(|status| ("respond", json!({"status": status, "body": "here"}))),
    ]
}

fn some_route() -> impl Strategy<Value = Value> {
    let headers = json!([{"name": "x-a", "exact": "1"}, {"name": "x-b", "present": false}]);
    let query = json!([{"name": "p", "present": true}, {"name": "q", "prefix": "1"}]);
    let conditions = (
        sometimes(json!(["a.example", "*.example", "*"])),
        sometimes(json!(["GET", "POST"])),
        sometimes(headers),
        sometimes(query),
        sometimes(json!(["http", "https"])),
        sometimes(json!(["127.0.0.0/8", "10.0.0.0/8"])),
        sometimes(json!(["http", "other"])),
    )
        .boxed();
    let priority = prop_oneof![4 => Just(Value::Null), 1 => Just(json!(1)), 1 => Just(json!(-1))];
    (0..20_u32, some_path(), priority).prop_flat_map(move |(number, path, priority)| {
        let rest = (conditions.clone(), some_action(&path), prop::bool::ANY);
        rest.prop_map(move |((hosts, methods, headers, query, schemes, clients, listeners), action, disable)| {
            let name = format!("r{number}");
            let (kind, action) = action;
            without_null(json!({
                "name": name,
                "priority": priority,
                "match": {
                    "path": path, "hosts": hosts, "methods": methods, "headers": headers, "query": query,
                    "schemes": schemes, "client_addresses": clients, "listeners": listeners,
                },
                (kind): action,
                "policies": [
                    {"name": "named", "response_headers": {
                        "set": [{"name": "x-route", "value": name}], "add": [{"name": "x-host", "value": "{header.host}"}]}},
                    // On the way back it comes before.
                    {"name": "first", "response_headers": {"set": [{"name": "x-route", "value": "none"}], "remove": ["x-up"]}},
                ],
                "disable": if disable { json!(["hsts"]) } else { Value::Null },
                "limits": {"request_body": "100B"},
            }))
        })
    })
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        other => other,
    }
}

// Those that can stand beside each other, and what they need.
fn resources(routes: Vec<Value>, backends: &[SocketAddr]) -> Vec<(Kind, Value)> {
    let upstream = |(name, address): (&&str, &SocketAddr)| {
        let balance = json!({"consistent_hash": {"key": {"header": "x-a"}}});
        (Kind::Upstream, json!({"name": name, "endpoints": [{"address": address.to_string()}], "balance": balance}))
    };
    let mut resources: Vec<_> = UPSTREAMS.iter().zip(backends).map(upstream).collect();
    let global = json!({"name": "everywhere", "global": {}, "hsts": {"max_age": "1h"}});
    resources.push((Kind::Policy, global));
    let mut snapshot = build(&Snapshot::empty(), &resources).unwrap();
    for route in routes {
        let route = vec![(Kind::Route, route)];
        if let Ok(next) = build(&snapshot, &route) {
            snapshot = next;
            resources.extend(route);
        }
    }
    resources
}

fn build(base: &Snapshot, resources: &[(Kind, Value)]) -> Result<Snapshot, String> {
    let read =
        |(kind, value): &(Kind, Value)| Change::Put(json::read(*kind, value).unwrap_or_else(|f| panic!("{f:?}")));
    base.with(resources.iter().map(read)).map_err(|faults| format!("{faults:?}"))
}

// === requests ===

fn some_target() -> impl Strategy<Value = String> {
    let segment =
        select(vec!["a", "b", "c", "", ".", "..", "%61", "%2e%2e", "%2F", "%20", "..;x", "é", "%C3%A9", "%zz", "\\"]);
    let path = prop::collection::vec(segment, 0..4).prop_map(|parts| {
        let path: String = parts.iter().flat_map(|part| ["/", part]).collect();
        if path.is_empty() { "/".to_string() } else { path }
    });
    let plain = select(vec!["/", "/a", "/a/b", "/b", "/a/x", "/a/b/c", "/a/x/c"]).prop_map(String::from);
    let query = select(vec!["", "", "?", "?p=1", "?p=..%2F..", "?q=12&p=a%20b", "?p=%00", "?x=\"", "?p=1&q=1"]);
    let odd = select(vec!["*", "a", "//", "http:/x", "/\u{80}"]).prop_map(String::from);
    let whole = (prop_oneof![3 => plain, 1 => path], query).prop_map(|(path, query)| path + query);
    prop_oneof![12 => whole, 1 => odd]
}

fn some_request() -> impl Strategy<Value = pb::RequestDescription> {
    let host = prop_oneof![
        10 => select(vec!["a.example", "b.example", "other", "A.Example:80", "a.example."]),
        1 => select(vec!["", "a..b", "a b", "a:99999", "[::1", "[::1]:80", "u@a.example", "é"]),
    ];
    let plain = select(vec![
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "1"),
        ("connection", "x-a"),
        ("cookie", "a=b"),
        ("te", "trailers"),
        ("x-forwarded-for", "9.9.9.9"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("via", "1.1 portico, 1.1 portico"),
    ]);
    let odd = select(vec![
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("x-real-ip", "9.9.9.9"),
        ("forwarded", "for=9.9.9.9"),
        ("x-request-id", "mine"),
        ("via", "1.1 portico,1.1 portico,1.1 portico,1.1 portico,1.1 portico,1.1 portico,1.1 portico,1.1 portico"),
        ("expect", "no"),
        ("host", "second.example"),
        ("content_length", "1"),
        ("transfer-encoding", "gzip"),
        ("content-length", "x"),
    ]);
    let headers = prop_oneof![3 => prop::collection::vec(plain, 0..3), 1 => prop::collection::vec(odd, 1..3)];
    let method =
        prop_oneof![8 => select(vec!["GET", "POST"]), 1 => select(vec!["PUT", "OPTIONS", "TRACE", "CONNECT", "get"])];
    let body = prop_oneof![4 => Just(""), 1 => Just("7B"), 1 => Just("101B")];
    (method, some_target(), host, headers, body).prop_map(|(method, url, host, headers, body)| {
        let header = |(name, value): (&str, &str)| pb::RequestHeader { name: name.into(), value: value.into() };
        pb::RequestDescription {
            method: method.into(),
            url,
            host: host.into(),
            headers: headers.into_iter().map(header).collect(),
            body_size: body.into(),
            ..Default::default()
        }
    })
}

// === both ways ===

/// Answers with what came: its name, the target, and all headers.
fn recording(name: &'static str) -> Backend {
    Backend::start(move |_, mut conn| {
        while let Some(request) = conn.request() {
            let target = request.line.split(' ').nth(1).unwrap();
            let seen = json!({"upstream": name, "target": target, "headers": request.headers});
            conn.send(ok(&seen.to_string()));
        }
    })
}

fn send(node: &Node, description: &Description) -> Message {
    let mut client: Conn = node.connect();
    client.send(description.head());
    client.try_send(&vec![b'x'; description.body as usize]);
    client.response()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The values of a header after the changes.
fn after<'a>(name: &str, before: Vec<&'a str>, changes: &'a [pb::HeaderChange]) -> Vec<&'a str> {
    let mut values = before;
    for change in changes.iter().filter(|change| change.name == name) {
        match change.change.as_ref().unwrap() {
            HeaderChange::Removed(_) => values.clear(),
            HeaderChange::Set(value) => values = vec![value],
            HeaderChange::Added(value) => values.push(value),
        }
    }
    values
}

fn check_forwarded(told: &pb::Forwarded, description: &Description, answer: &Message) {
    let seen = answer.json();
    let to = told.upstreams.iter().find(|to| to.upstream == text(&seen["upstream"]));
    let to = to.unwrap_or_else(|| panic!("{} is not among {:?}", seen["upstream"], told.upstreams));
    assert_eq!(told.upstreams.iter().map(|to| to.percent).sum::<u32>(), 100);
    assert_eq!((to.target.as_str(), answer.status()), (text(&seen["target"]), 200));
    let sent: Vec<(String, &str)> = description
        .head()
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let came: Vec<(&str, &str)> =
        seen["headers"].as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    let names: BTreeSet<&str> =
        sent.iter().map(|(name, _)| name.as_str()).chain(came.iter().map(|(name, _)| *name)).collect();
    for name in names {
        // The first frames the body or the connection, and the others are new each time.
        if ["content-length", "connection", "upgrade", "x-request-id", "traceparent", "x-forwarded-port"]
            .contains(&name)
        {
            continue;
        }
        let before = sent.iter().filter(|(sent, _)| sent == name).map(|(_, value)| *value).collect();
        let expect: Vec<&str> = came.iter().filter(|(came, _)| *came == name).map(|(_, value)| *value).collect();
        assert_eq!(after(name, before, &to.headers), expect, "{name}");
    }
    assert_eq!(after("host", Vec::new(), &to.headers).first().copied().unwrap_or(&to.host), to.host);
}

fn check(told: &pb::Explanation, description: &Description, answer: &Message) {
    let route = told.route.as_ref().map(|route| route.name.as_str());
    assert_eq!(route, answer.header("x-route"));
    match told.outcome.as_ref().unwrap() {
        Outcome::Refused(refused) => {
            assert_eq!(refused.status, u32::from(answer.status()));
            assert_eq!(
                (refused.reason.as_str(), refused.detail.as_str()),
                (answer.reason().as_str(), text(&answer.json()["detail"]))
            );
        }
        Outcome::Forward(forwarded) => check_forwarded(forwarded, description, answer),
        Outcome::Redirect(redirect) => {
            assert_eq!(redirect.status, u32::from(answer.status()));
            assert_eq!(Some(redirect.location.as_str()), answer.header("location"));
        }
        Outcome::Respond(responded) => {
            assert_eq!((responded.status, responded.body_bytes), (answer.status().into(), answer.body.len() as u32));
        }
        Outcome::Compose(_) => panic!("no route composes"),
    }
    // As they act on the way back.
    for name in ["x-route", "x-host", "strict-transport-security"] {
        let changes = told.policies.iter().rev().flat_map(|policy| &policy.answer_headers).cloned().collect::<Vec<_>>();
        assert_eq!(after(name, Vec::new(), &changes), answer.headers(name), "{name}");
    }
    // Whoever lost and matches too is no better; whoever does not match is told why.
    assert!(told.lost.iter().all(|lost| !lost.why.is_empty() && Some(lost.name.as_str()) != route));
    let ambiguous = matches!(&told.outcome, Some(Outcome::Refused(refused)) if refused.reason == "path_ambiguous");
    assert!(told.route.is_some() || ambiguous || told.lost.iter().all(|lost| !lost.matches));
}

#[test]
fn what_is_foretold_is_what_a_node_does() {
    let backends = UPSTREAMS.map(recording);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let node = Node::start(&respond());
    let explainer = Explainer::default();
    let mut kinds = [0_u32; 4];
    let cases = (prop::collection::vec(some_route(), 4..24), prop::collection::vec(some_request(), 20));
    // What failed is told at once: shrinking would send thousands of requests more.
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::with_cases(40) };
    let mut runner = TestRunner::new(config);
    let kinds_cell = std::cell::RefCell::new(&mut kinds);
    let result = runner.run(&cases, |(routes, requests)| {
        let resources = resources(routes, &addresses);
        let snapshot = build(&Snapshot::empty(), &resources).unwrap();
        node.change(&resources);
        for request in requests {
            let description = Description::check(Some(&request), &mut Faults::default()).unwrap();
            let told = explainer.explain(&snapshot, &description);
            let answer = send(&node, &description);
            let checked = std::panic::catch_unwind(|| check(&told, &description, &answer));
            prop_assert!(checked.is_ok(), "{:?}\n{:#?}\n{:?}", description, told, answer);
            let kind = match told.outcome.unwrap() {
                Outcome::Refused(_) => 0,
                Outcome::Forward(_) => 1,
                Outcome::Redirect(_) => 2,
                Outcome::Respond(_) | Outcome::Compose(_) => 3,
            };
            kinds_cell.borrow_mut()[kind] += 1;
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(kinds.iter().all(|count| *count > 10), "too few of a kind: {kinds:?}");
}

// `cargo test -p data-plane --lib tests_cost -- --ignored --nocapture`
#[test]
#[ignore = "a figure, for whoever asks"]
fn tests_cost_little_among_many_routes() {
    let route = |n: usize| {
        let matches = json!({"hosts": [format!("h{}.example", n % 100)], "path": {"prefix": format!("/r{n}")}});
        (Kind::Route, json!({"name": format!("r{n}"), "match": matches, "respond": {}}))
    };
    let test = |n: usize| {
        let url = format!("http://h{}.example/r{n}/x", n % 100);
        (
            Kind::Test,
            json!({"name": format!("t{n}"), "request": {"url": url}, "expect": {"route": format!("r{n}"), "status": 200}}),
        )
    };
    let resources: Vec<_> = (0..10_000).map(route).chain((0..100).map(|n| test(n * 97))).collect();
    let mut snapshot = build(&Snapshot::empty(), &resources).unwrap();
    let explainer = Explainer::default();
    let started = Instant::now();
    assert_eq!(explainer.broken_tests(&snapshot), []);
    println!("100 tests among 10,000 routes, router built anew: {:?}", started.elapsed());
    let mut times = Vec::new();
    for n in 0..100 {
        let (kind, mut changed) = route(n);
        changed["respond"] = json!({"body": "new"});
        snapshot = build(&snapshot, &[(kind, changed)]).unwrap();
        let started = Instant::now();
        assert_eq!(explainer.broken_tests(&snapshot), []);
        times.push(started.elapsed());
    }
    times.sort();
    println!("after a change of one route: p50 {:?}, p99 {:?}", times[50], times[98]);
}
