//! What is wrong with composition elsewhere, by the documentation of the best known of them, and is right here: one test for
//! each.

use super::{answer, configure, gateway, part, part_with, service};
use crate::harness::{
    http::{Connection, Request},
    stack::{ControlPlane, Node},
    upstream::{Seen, Upstream},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

fn text(node: &Node, target: &str) -> String {
    let answer = node.get(target);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

// "If two backends return the same field, the slowest one wins."
#[test]
fn a_clash_is_won_by_the_configuration() {
    // Each of the two in turn is the slower one.
    static LAST: (Mutex<&str>, Condvar) = (Mutex::new("/b"), Condvar::new());
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let service = service(|seen| {
        let name = seen.target.clone();
        if *LAST.0.lock().unwrap() == name {
            let mut last = LAST.0.lock().unwrap();
            while DONE.lock().unwrap().is_empty() {
                last = LAST.1.wait_timeout(last, Duration::from_millis(20)).unwrap().0;
            }
        }
        DONE.lock().unwrap().insert(name.clone());
        LAST.1.notify_all();
        Some(format!("{{\"from\":\"{}\"}}", &name[1..]))
    });
    let merged = |on_conflict: &str| {
        let mut shape = json!({"flatten": [{"at": "a"}, {"at": "b", "on_conflict": {}}]});
        shape["flatten"][1]["on_conflict"][on_conflict] = json!({});
        json!({"parts": [part("a", "/a"), part("b", "/b")], "shape": shape})
    };
    let routes = json!({"keep": merged("keep"), "replace": merged("replace"), "fail": merged("fail")});
    let (control_plane, node) = gateway(&service, routes);
    for slow in ["/a", "/b"] {
        *LAST.0.lock().unwrap() = slow;
        for (target, expect) in [("/keep", "{\"from\":\"a\"}"), ("/replace", "{\"from\":\"b\"}")] {
            DONE.lock().unwrap().clear();
            assert_eq!(text(&node, target), expect, "{slow} is slow");
        }
        DONE.lock().unwrap().clear();
        assert_eq!(node.get("/fail").status, 502);
    }
    // A clash that can be seen is not taken.
    let clash = json!({"parts": [part("a", "/a"), part("b", "/b")], "merge": [{"at": "x", "from": "a"}, {"at": "x", "from": "b"}]});
    let route = json!({"name": "clash", "compose": clash});
    let refused = control_plane.admin.send("PUT", "/v1/routes/clash", Some(&route));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("/compose/merge/1/at"), "{}", refused.text());
}

// "The merge is shallow": what has the same name one level down is lost.
#[test]
fn what_lies_deeper_is_not_lost() {
    let service = service(|seen| {
        Some(match seen.target.as_str() {
            "/order" => "{\"shipping\":{\"city\":\"Bern\",\"zip\":\"3000\"},\"id\":1}".into(),
            _ => "{\"price\":4.00}".to_string(),
        })
    });
    let routes = json!({"a": {
        "parts": [part("order", "/order"), part("rate", "/rate")],
        "merge": [{"from": "order"}, {"at": "shipping.rate", "from": "rate"}],
    }});
    let (_control_plane, node) = gateway(&service, routes);
    assert_eq!(
        text(&node, "/a"),
        "{\"shipping\":{\"city\":\"Bern\",\"zip\":\"3000\",\"rate\":{\"price\":4.00}},\"id\":1}"
    );
}

// "200 if any backend succeeds, 500 otherwise."
#[test]
fn the_status_says_what_happened() {
    let service = Upstream::answering(|seen| answer(&format!("{} X", seen.target.trim_start_matches('/')), "", "{}"));
    let of = |status: u16, rules: Value| {
        let part = part_with("p", &format!("/{status}"), json!({"required": {"status": rules}}));
        json!({"parts": [part_with("good", "/200", json!({"optional": {}})), part]})
    };
    let incomplete = json!({
        "parts": [part("good", "/200"), part_with("p", "/500", json!({"optional": {}}))], "incomplete": {"status": 203},
    });
    let routes = json!({
        "gone": of(410, json!([{"when": [404, 410], "answer": 404}])),
        "paid": of(402, json!([{"when": [404], "answer": 404}, {"when": [402], "answer": 402}])),
        "other": of(418, json!([{"when": [404], "answer": 404}])),
        "created": {"parts": [part("p", "/201")]},
        "accepted": {"parts": [part_with("p", "/404", json!({"accept": [200, 404]}))]},
        "incomplete": incomplete,
    });
    let (_control_plane, node) = gateway(&service, routes);
    for (target, status) in
        [("/gone", 404), ("/paid", 402), ("/other", 502), ("/created", 200), ("/accepted", 200), ("/incomplete", 203)]
    {
        assert_eq!(node.get(target).status, status, "{target}");
    }
}

// "The timeout of a backend is overwritten by that of the endpoint", and "the merge is cut at 85 % of the timeout".
#[test]
fn each_part_has_the_time_that_was_said() {
    let service = service(|seen| {
        let pause: u64 = seen.target.trim_start_matches('/').parse().unwrap();
        thread::sleep(Duration::from_millis(pause));
        Some("1".into())
    });
    let routes = json!({
        // Its own, though there was more for all.
        "own": {"deadline": "20s", "parts": [part("fast", "/0"), part_with("slow", "/5000", json!({"timeout": "100ms", "optional": {}}))]},
        // Nearly all of what there is for all.
        "nearly": {"deadline": "2s", "parts": [part("slow", "/1850")]},
        "over": {"deadline": "200ms", "parts": [part("slow", "/5000")]},
    });
    let (_control_plane, node) = gateway(&service, routes);
    let begun = Instant::now();
    let own = node.get("/own");
    assert_eq!((own.text().as_str(), own.header("portico-incomplete")), ("{\"fast\":1}", Some("slow;reason=timeout")));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(text(&node, "/nearly"), "{\"slow\":1}");
    assert_eq!(node.get("/over").status, 504);
}

// "Sequential calls cannot use arrays", and "strings where numbers were".
#[test]
fn a_call_takes_arrays_and_numbers_as_they_are() {
    let service = service(|seen| match seen.target.as_str() {
        "/list" => Some("{\"ids\":[1,2.50,100000000000000000001,\"x\"],\"n\":1e400}".into()),
        "/all" => Some(String::from_utf8(seen.body.clone()).unwrap()),
        target => Some(format!("{target:?}")),
    });
    let mut all = part("all", "/all");
    all["call"]["body"] = json!("{\"ids\": {parts.list.ids}, \"n\": {parts.list.n}, \"first\": {parts.list.ids[]}}");
    let routes = json!({"a": {"parts": [part("list", "/list"), all, part("query", "/by?ids={parts.list.ids}")]}});
    let (_control_plane, node) = gateway(&service, routes);
    let ids = "[1,2.50,100000000000000000001,\"x\"]";
    let list = format!("{{\"ids\":{ids},\"n\":1e400}}");
    let all = format!("{{\"ids\": {ids}, \"n\": 1e400, \"first\": {ids}}}");
    let query = "\"/by?ids=1,2.50,100000000000000000001,x\"";
    assert_eq!(text(&node, "/a"), format!("{{\"list\":{list},\"all\":{all},\"query\":{query}}}"));
}

// What only passes through comes byte for byte, whatever others would make of it.
#[test]
fn json_is_passed_on_as_it_is() {
    const ODD: &str = "{ \"z\" : 12345678901234567890123, \"a\":0.10,\"e\":-1E+2 , \"u\":\"\\u00e9\\/\\ud800\",\n\"z\":null,\"\":[ ] }";
    let service = service(|seen| match seen.target.as_str() {
        "/odd" => Some(format!(" {ODD}\r\n")),
        _ => Some("{\"a\":1,\"\\u0061\":2}".into()),
    });
    let duplicates = |rule: &str| {
        let mut compose = json!({"parts": [part_with("p", "/twice", json!({"optional": {}}))], "duplicate_keys": {}});
        compose["duplicate_keys"][rule] = json!({});
        compose
    };
    let shaped = json!({"parts": [part("odd", "/odd")], "shape": {"omit": ["odd.a"]}});
    let routes = json!({
        "odd": {"parts": [part("odd", "/odd")]}, "pass": duplicates("pass"), "refuse": duplicates("refuse"), "shaped": shaped,
    });
    let (_control_plane, node) = gateway(&service, routes);
    assert_eq!(text(&node, "/odd"), format!("{{\"odd\":{ODD}}}"));
    assert_eq!(text(&node, "/pass"), "{\"p\":{\"a\":1,\"\\u0061\":2}}");
    let refused = node.get("/refuse");
    assert_eq!((refused.text().as_str(), refused.header("portico-incomplete")), ("{}", Some("p;reason=duplicate")));
    // Where something is taken out, all else is as it was.
    let rest = "{\"z\":12345678901234567890123,\"e\":-1E+2,\"u\":\"\\u00e9\\/\\ud800\",\"z\":null,\"\":[ ]}";
    assert_eq!(text(&node, "/shaped"), format!("{{\"odd\":{rest}}}"));
}

// "Streams are buffered": what is not composed is not held up, on the same gateway and of the same service.
#[test]
fn beside_a_composition_streams_stream() {
    static GO: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    let service = Upstream::scripted(|stream| {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = Seen::read(&mut stream)? {
            if seen.target != "/stream" {
                stream.get_mut().write_all(&answer("200 OK", "", "1"))?;
                continue;
            }
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
            let mut go = GO.0.lock().unwrap();
            while !*go {
                go = GO.1.wait(go).unwrap();
            }
            stream.get_mut().write_all(b"4\r\nlast\r\n0\r\n\r\n")?;
        }
        Ok(())
    });
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    configure(&control_plane, &service, json!({"composed": {"parts": [part("a", "/a")]}}));
    let stream = json!({"match": {"path": {"exact": "/stream"}}, "forward": {"upstream": "service"}});
    control_plane.admin.ok("PUT", "/v1/routes/stream?wait=all", Some(&stream));
    let mut client = BufReader::new(TcpStream::connect(node.traffic).unwrap());
    client.get_mut().write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    read_until(&mut client, "first");
    assert_eq!(text(&node, "/composed"), "{\"a\":1}");
    *GO.0.lock().unwrap() = true;
    GO.1.notify_all();
    read_until(&mut client, "last");
}

// A line that ends so; others are passed over.
fn read_until(client: &mut BufReader<TcpStream>, end: &str) {
    let mut line = String::new();
    while !line.trim_end().ends_with(end) {
        line.clear();
        assert!(client.read_line(&mut line).unwrap() > 0, "the stream ends before {end:?}");
    }
}

// The same answers give the same bytes, whichever comes first.
#[test]
fn answers_have_one_body_whatever_comes_first() {
    assert_eq!(bodies(500), 1);
}

// cargo test --release --test tests ten_thousand -- --ignored
#[test]
#[ignore = "takes a minute"]
fn ten_thousand_answers_have_one_body_whatever_comes_first() {
    assert_eq!(bodies(10_000), 1);
}

// How many different bodies so many answers have, of services that take their time at random.
fn bodies(answers: usize) -> usize {
    let service = service(|seen| {
        thread::sleep(Duration::from_micros(u64::from(rand() % 3_000)));
        Some(match seen.target.as_str() {
            "/order" => {
                let line = |n: u32| format!("{{\"sku\":\"s{}\",\"n\":{n}.0}}", n % 6);
                format!("{{\"id\":1,\"lines\":[{}]}}", (0..12).map(line).collect::<Vec<_>>().join(", "))
            }
            target if target.starts_with("/stock/") => format!("{{ \"left\":{}00000000000000000000 }}", target.len()),
            target => format!("{{\"from\":{target:?},\"same\":{target:?}}}"),
        })
    });
    let stock = json!({"name": "stock", "required": {}, "for_each": {
        "items": "order.lines", "each": {"call": {"upstream": "service", "path": "/stock/{items.sku}"}, "key": "sku"},
    }});
    let routes = json!({"page": {
        "parts": [part("order", "/order"), part("a", "/a"), part("b", "/b"), stock, part("after", "/after?of={parts.a.from}")],
        "merge": [
            {"from": "order"}, {"at": "a", "from": "a"}, {"at": "b", "from": "b"}, {"at": "lines[].stock", "from": "stock", "on": "sku"},
            {"at": "after", "from": "after"}, {"at": "stock", "from": "stock"},
        ],
        "shape": {"flatten": [{"at": "a"}, {"at": "b", "on_conflict": {"replace": {}}}], "move": [{"from": "after.from", "to": "lines_after"}]},
    }});
    let (_control_plane, node) = gateway(&service, routes);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let traffic = node.traffic;
            thread::spawn(move || {
                let mut client = Connection::open(traffic).unwrap();
                let mut found = HashSet::new();
                for _ in 0..answers / 20 {
                    let answer = client.send(&Request::get("/page")).unwrap();
                    assert_eq!((answer.status, answer.header("portico-incomplete")), (200, None), "{}", answer.text());
                    found.insert(answer.body);
                }
                found
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<HashSet<_>>().len()
}

// Some number.
fn rand() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u32
}
