//! What services are asked, and what clients can do to that; who gets which shape; and that a client that leaves takes its
//! calls along.

use super::{answer, gateway, part, part_with, service};
use crate::harness::{
    http::{Connection, Request, raw},
    upstream::{Seen, Upstream},
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    io::{BufReader, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

#[test]
fn a_service_is_told_what_is_named_and_nothing_else() {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let told = seen.clone();
    let service = Upstream::answering(move |seen| {
        told.lock().unwrap().push(seen.clone());
        answer(
            "200 OK",
            "etag: \"1\"\r\nx-left: 7\r\nset-cookie: a=b\r\nx-other: o\r\n",
            "{\"id\":12345678901234567890,\"tags\":[\"a/b\",1.50]}",
        )
    });
    let mut second = part("second", "/second/{parts.first.id}?tags={parts.first.tags}&q={query.q}");
    second["call"]["send"] = json!(["accept-language"]);
    second["call"]["headers"] = json!([{"name": "x-id", "value": "{parts.first.id}"}]);
    second["call"]["body"] = json!(
        "{\"id\": {parts.first.id}, \"tags\": {parts.first.tags}, \"text\": \"<{parts.first.tags}>\", \"q\": {query.q}}"
    );
    let routes = json!({"a": {
        "parts": [part("first", "/first"), second],
        "headers": [{"from": "first", "name": "etag", "as": "x-first-etag"}, {"from": "second", "name": "x-left"}],
    }});
    let (_control_plane, node) = gateway(&service, routes);
    let headers = [
        ("accept-language", "de"),
        ("authorization", "secret"),
        ("cookie", "c=1"),
        ("x-user", "root"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "6.6.6.6"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let answered = node.send(&Request { headers: &headers, ..Request::get("/a?q=%22x%22%0D%0A") });
    assert_eq!(answered.status, 200, "{}", answered.text());
    for (name, value) in [
        ("x-first-etag", Some("\"1\"")),
        ("x-left", Some("7")),
        ("etag", None),
        ("set-cookie", None),
        ("x-other", None),
    ] {
        assert_eq!(answered.header(name), value, "{name}");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1].target, "/second/12345678901234567890?tags=a%2Fb,1.50&q=%22x%22%0D%0A");
    assert_eq!(
        String::from_utf8_lossy(&seen[1].body),
        "{\"id\": 12345678901234567890, \"tags\": [\"a/b\",1.50], \"text\": \"<a/b,1.50>\", \"q\": \"\\\"x\\\"\\u000d\\u000a\"}"
    );
    let trace = |seen: &Seen| seen.header("traceparent").map(|trace| trace[3..35].to_string());
    assert!(trace(&seen[0]).is_some() && trace(&seen[0]) == trace(&seen[1]));
    assert_ne!(seen[0].header("traceparent"), seen[1].header("traceparent"), "each call is a span of its own");
    for call in seen.iter() {
        for (name, value) in [
            ("accept-encoding", Some("identity")),
            ("accept", Some("application/json")),
            ("host", Some("gateway.test")),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-request-id", answered.header("x-request-id")),
            ("authorization", None),
            ("cookie", None),
            ("x-user", None),
        ] {
            assert_eq!(call.header(name), value, "{name} of {}", call.target);
        }
    }
    let of_second = |name| (seen[0].header(name), seen[1].header(name));
    assert_eq!(of_second("accept-language"), (None, Some("de")));
    assert_eq!(of_second("x-id"), (None, Some("12345678901234567890")));
    assert_eq!(of_second("content-type"), (None, Some("application/json")));
    assert_eq!((seen[0].method.as_str(), seen[1].method.as_str()), ("GET", "POST"));
}

#[test]
fn what_cannot_stand_where_it_goes_is_refused_and_nobody_is_asked() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service(move |seen| {
        counted.fetch_add(1, Ordering::SeqCst);
        match seen.target.as_str() {
            "/evil" => Some(
                "{\"path\":\"../admin\",\"line\":\"a\\r\\nX-Evil: 1\",\"half\":\"\\ud800\",\"quote\":\"a\\\"b\"}"
                    .into(),
            ),
            _ => Some(format!("{:?}", seen.target)),
        }
    });
    let header = |value: &str| {
        let mut part = part("second", "/second");
        part["call"]["headers"] = json!([{"name": "x-a", "value": value}]);
        part
    };
    let of_evil = |second: Value| {
        let mut second = second;
        second.as_object_mut().unwrap().remove("required");
        second["optional"] = json!({});
        json!({"parts": [part("evil", "/evil"), second], "merge": [{"at": "evil", "from": "evil"}, {"at": "second", "from": "second"}]})
    };
    let routes = json!({
        // The part that the client can break is the last: the first is not asked either.
        "path": {"parts": [part("first", "/first"), part("second", "/x/{query.q}/{parts.first}")]},
        "header": {"parts": [part("first", "/first"), header("{query.q}")]},
        "part-path": of_evil(part("second", "/x/{parts.evil.path}")),
        "part-header": of_evil(header("{parts.evil.line}")),
        "part-half": of_evil(part("second", "/x/{parts.evil.half}")),
        "part-object": of_evil(part("second", "/x/{parts.evil}")),
        "part-none": of_evil(part("second", "/x/{parts.evil.none}")),
        "part-quote": of_evil(part("second", "/x/{parts.evil.quote}")),
    });
    let (_control_plane, node) = gateway(&service, routes);
    for target in [
        "/path?q=..",
        "/path?q=.",
        "/path?q=a%2Fb",
        "/path?q=a%5Cb",
        "/path?q=%00",
        "/path?q=",
        "/path",
        "/header?q=a%0D%0AX-Evil:%201",
        "/header?q=%00",
        "/header",
    ] {
        let refused = node.get(target);
        assert_eq!((refused.status, &refused.json()["reason"]), (400, &json!("call")), "{target}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    for target in ["/part-path", "/part-header", "/part-half", "/part-object", "/part-none"] {
        let answer = node.get(target);
        let told = answer.header("portico-incomplete");
        assert_eq!((answer.status, told), (200, Some("second;reason=unencodable")), "{target}: {}", answer.text());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5, "a call that cannot be made is not made");
    assert!(node.get("/part-quote").text().ends_with(",\"second\":\"/x/a%22b\"}"));
}

#[test]
fn each_client_gets_its_shape() {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = calls.clone();
    let service = service(move |seen| {
        told.lock().unwrap().push(seen.target.clone());
        match seen.target.as_str() {
            "/order" => {
                Some("{\"id\":1,\"total\":9.90,\"secret\":\"x\",\"lines\":[{\"sku\":\"a\",\"cost\":1}]}".into())
            }
            "/customer" => Some("{\"name\":\"ann\",\"email\":\"e\"}".into()),
            _ => None,
        }
    });
    let routes = json!({"page": {
        "parts": [part("order", "/order"), part_with("customer", "/customer", json!({"optional": {}})), part_with("slow", "/none", json!({"optional": {}}))],
        "shape": {"omit": ["order.secret", "order.lines[].cost"], "flatten": [{"at": "customer", "prefix": "customer_"}]},
        "variants": [
            {"name": "mobile", "when": {"header": {"name": "X-Client", "equals": "mobile"}}, "skip": ["slow"],
             "shape": {"pick": ["order.id", "customer.name"], "rename": [{"at": "customer.name", "to": "n"}], "move": [{"from": "order.id", "to": "id"}]}},
            {"name": "versioned", "when": {"media_type": "application/vnd.shop.v2+json"}, "shape": {"pick": ["order.total"]}},
            {"name": "queried", "when": {"query": {"name": "view", "equals": "a b"}}, "shape": {"pick": ["order.lines[].sku"]}},
        ],
    }});
    let (_control_plane, node) = gateway(&service, routes);
    let check = |target: &str, headers: &[(&str, &str)], expect: (&str, &str, usize)| {
        calls.lock().unwrap().clear();
        let answer = node.send(&Request { headers, ..Request::get(target) });
        let vary: Vec<&str> = answer.header("vary").unwrap().split(", ").collect();
        assert_eq!(vary, ["accept", "x-client"]);
        let found = (answer.text(), answer.header("content-type").unwrap(), calls.lock().unwrap().len());
        assert_eq!((found.0.as_str(), found.1, found.2), expect);
    };
    let web = "{\"order\":{\"id\":1,\"total\":9.90,\"lines\":[{\"sku\":\"a\"}]},\"customer_name\":\"ann\",\"customer_email\":\"e\"}";
    check("/page", &[], (web, "application/json", 3));
    check("/page", &[("x-client", "web"), ("accept", "*/*")], (web, "application/json", 3));
    check(
        "/page",
        &[("x-client", "mobile")],
        ("{\"order\":{},\"customer\":{\"n\":\"ann\"},\"id\":1}", "application/json", 2),
    );
    check(
        "/page",
        &[("accept", "text/html, application/vnd.shop.v2+json;q=0.9")],
        ("{\"order\":{\"total\":9.90}}", "application/vnd.shop.v2+json", 3),
    );
    check("/page", &[("accept", "application/vnd.shop.v2+json;q=0")], (web, "application/json", 3));
    check("/page?view=a%20b", &[], ("{\"order\":{\"lines\":[{\"sku\":\"a\"}]}}", "application/json", 3));
    let head = node.send(&Request { method: "HEAD", ..Request::get("/page") });
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*web.len().to_string())));
}

#[test]
fn headers_of_parts_say_nothing_that_the_answer_does_not() {
    let service = Upstream::answering(|seen| {
        let stored = if seen.target == "/unstored" { "no-store" } else { "public, max-age=60" };
        answer("200 OK", &format!("cache-control: {stored}\r\nx-left: 7\r\n"), "{\"a\":1}")
    });
    let who = |path: &str| {
        json!({
            "parts": [{"name": "one", "required": {}, "call": {"upstream": "service", "path": path,
                "headers": [{"name": "x-client", "value": "{client.address}"}]}}],
            "headers": [{"from": "one", "name": "cache-control"}],
        })
    };
    let routes = json!({
        "all": {"parts": [part("one", "/1")], "headers": [{"from": "one", "name": "cache-control"}]},
        "own": who("/1"),
        "unstored": who("/unstored"),
        "clash": {
            "parts": [part("one", "/1"), part_with("two", "/2", json!({"optional": {}}))],
            "merge": [{"from": "one"}, {"at": "a", "from": "two"}],
            "headers": [{"from": "two", "name": "x-left"}, {"from": "one", "name": "x-left", "as": "x-other"}],
        },
    });
    let (_control_plane, node) = gateway(&service, routes);
    for (target, expect) in [("/all", "public, max-age=60"), ("/own", "private"), ("/unstored", "no-store")] {
        assert_eq!(node.get(target).header("cache-control"), Some(expect), "{target}");
    }
    let clash = node.get("/clash");
    assert_eq!((clash.text().as_str(), clash.header("portico-incomplete")), ("{\"a\":1}", Some("two;reason=conflict")));
    assert_eq!((clash.header("x-left"), clash.header("x-other")), (None, Some("7")), "it lacks the part");
}

#[test]
fn no_call_grows_without_a_bound() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let service = Upstream::answering(move |seen| match seen.target.as_str() {
        "/large" => answer("200 OK", "", &format!("{{\"text\":\"{}\"}}", "x".repeat(1000 * 1000))),
        "/list" => {
            answer("200 OK", "", &format!("[{}]", (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(",")))
        }
        _ => {
            counter.fetch_add(1, Ordering::SeqCst);
            answer("200 OK", "", "{}")
        }
    });
    let call = |body: &str| json!({"upstream": "service", "path": "/taken", "method": "POST", "body": body});
    let large = part("large", "/large");
    let routes = json!({
        "one": {"parts": [large, {"name": "sent", "optional": {}, "call": call(&format!("[{}0]", "{parts.large},".repeat(20)))}],
            "merge": [{"at": "sent", "from": "sent"}]},
        "each": {"parts": [large, part("list", "/list"), {"name": "sent", "optional": {}, "for_each": {
                "items": "list", "parallel": 4, "each": {"call": call("[{items},{parts.large}]")}}}],
            "merge": [{"at": "sent", "from": "sent"}]},
    });
    let (_control_plane, node) = gateway(&service, routes);
    let one = node.get("/one");
    assert_eq!((one.status, one.header("portico-incomplete")), (200, Some("sent;reason=unencodable")));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let each = node.get("/each");
    assert_eq!((each.status, each.header("portico-incomplete")), (200, Some("sent;reason=too_large")));
    let made = calls.load(Ordering::SeqCst);
    assert!((30..70).contains(&made), "{made} calls of a megabyte");
}

#[test]
fn a_client_that_leaves_takes_its_calls_along() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (begun.clone(), ended.clone());
    // Never answers, and tells when it is left.
    let service = Upstream::scripted(move |stream| {
        let mut stream = BufReader::new(stream);
        if Seen::read(&mut stream)?.is_some() {
            counters.0.fetch_add(1, Ordering::SeqCst);
            let rest = stream.read_to_end(&mut Vec::new());
            counters.1.fetch_add(1, Ordering::SeqCst);
            rest?;
        }
        Ok(())
    });
    let routes =
        json!({"a": {"deadline": "60s", "parts": [part("one", "/1"), part("two", "/2"), part("three", "/3")]}});
    let (_control_plane, node) = gateway(&service, routes);
    let mut client = Connection::open(node.traffic).unwrap();
    client.write(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    eventually("all parts are asked", || (begun.load(Ordering::SeqCst) == 3).then_some(()));
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(client);
    eventually("all calls are given up", || (ended.load(Ordering::SeqCst) == 3).then_some(()));
    // It is on record, with its calls.
    eventually("the request is counted", || {
        let metrics = node.metrics();
        metrics.contains("http_response_status_code=\"499\",http_route=\"/a/*\"").then_some(())
    });
    // A part that fails takes the others along, too.
    let text =
        raw(node.traffic, b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Duration::from_millis(300))
            .unwrap();
    assert_eq!(text, "");
    eventually("all calls are given up again", || (ended.load(Ordering::SeqCst) == 6).then_some(()));
}

#[test]
fn explain_tells_the_plan() {
    let service = service(|_| None);
    let stock = json!({"name": "stock", "fallback": {"value": "[]"}, "timeout": "50ms", "for_each": {
        "items": "order.lines", "each": {"call": {"upstream": "service", "path": "/stock/{items.sku}"}, "key": "sku"},
    }});
    let order = part("order", "/orders/{query.id}?lang={header.accept-language}");
    let parts = json!([part_with("news", "/news", json!({"optional": {}})), stock, order]);
    let mobile =
        json!({"name": "mobile", "when": {"header": {"name": "X-Client", "equals": "mobile"}}, "skip": ["news"]});
    let routes = json!({"page": {"deadline": "2s", "parts": parts, "variants": [mobile]}});
    let (control_plane, _node) = gateway(&service, routes);
    let explain = |url: &str, headers: Value| {
        let asked = json!({"request": {"url": url, "headers": headers}});
        control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json()
    };
    let headers = json!([{"name": "accept-language", "value": "de"}, {"name": "x-client", "value": "mobile"}]);
    let told = explain("/page?id=a%20b", headers);
    let part = |name: &str, need: &str, wave: u32, target: &str, timeout: &str| {
        let mut part = json!({
            "name": name, "need": need, "upstream": "service", "wave": wave, "method": "GET", "target": target, "timeout": timeout,
        });
        part.as_object_mut().unwrap().retain(|_, value| *value != "");
        part
    };
    let expect =
        [part("stock", "fallback", 2, "", "50ms"), part("order", "required", 1, "/orders/a%20b?lang=de", "2s")];
    assert_eq!(told["compose"], json!({"variant": "mobile", "parts": expect}), "{told:#}");
    let refused = explain("/page?id=..", json!([{"name": "accept-language", "value": "de"}]));
    assert_eq!(
        (&refused["refused"]["status"], &refused["refused"]["reason"]),
        (&json!(400), &json!("call")),
        "{refused:#}"
    );
}
