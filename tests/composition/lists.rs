//! Lists joined with what other services say of their elements: how often those are asked, and what becomes of elements
//! that they do not know.

use super::{gateway, part, service};
use crate::harness::{
    http::Request,
    upstream::{Seen, Upstream},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

// 50 lines of 12 products. A number and a string are two products, whatever is in the string.
fn order() -> String {
    let line = |at: usize| {
        let sku = match at % 12 {
            0 => "\"7\"".to_string(),
            1 => "7".to_string(),
            // The same as the next time it comes, which is written plainly.
            2 if at < 12 => "\"s\\u006bu-2\"".to_string(),
            n => format!("\"sku-{n}\""),
        };
        format!("{{\"line\":{at}, \"sku\":{sku}, \"price\":1.{at}0}}")
    };
    format!("{{\"lines\":[{}]}}", (0..50).map(line).collect::<Vec<_>>().join(","))
}

fn stock(sku: &str) -> String {
    format!("{{\"sku\":{sku},\"left\":1000000000000000000{}}}", sku.len())
}

fn keys(text: &str) -> Vec<&str> {
    text.split_once('=').map_or(Vec::new(), |(_, keys)| keys.split(',').collect())
}

fn compose(for_each: Value) -> Value {
    json!({
        "parts": [part("order", "/order"), {"name": "stock", "for_each": for_each, "required": {}}],
        "merge": [{"at": "order", "from": "order"}, {"at": "order.lines[].stock", "from": "stock", "on": "sku"}],
    })
}

#[test]
fn fifty_elements_with_twelve_keys_cause_twelve_calls_or_one() {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let told = seen.clone();
    let service = service(move |seen| {
        if seen.target == "/order" {
            return Some(order());
        }
        told.lock().unwrap().push(seen.clone());
        if seen.method == "POST" {
            let asked: Value = serde_json::from_slice(&seen.body).unwrap();
            let answers = asked["skus"].as_array().unwrap().iter().rev().map(|sku| stock(&sku.to_string()));
            return Some(format!("[{}]", answers.collect::<Vec<_>>().join(", ")));
        }
        Some(stock(&format!("\"{}\"", keys(&seen.target)[0])))
    });
    let each = json!({"items": "order.lines", "each": {
        "call": {"upstream": "service", "path": "/stock?sku={items.sku}"}, "key": "sku",
    }});
    let batch = json!({"items": "order.lines", "batch": {
        "call": {"upstream": "service", "path": "/stock", "body": "{\"skus\": {items.sku}}"}, "key": "sku", "max": 50,
    }});
    let mut in_fives = batch.clone();
    in_fives["batch"]["max"] = json!(5);
    let routes = json!({"each": compose(each), "batch": compose(batch), "fives": compose(in_fives)});
    let (_control_plane, node) = gateway(&service, routes);
    let ask = |target: &str| {
        let answer = node.get(target);
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.text(), std::mem::take(&mut *seen.lock().unwrap()))
    };

    let (each, calls) = ask("/each");
    assert_eq!(calls.len(), 12);
    // In a query both of them are the same text; in the answer each has its own.
    let asked: BTreeSet<&str> = calls.iter().map(|call| keys(&call.target)[0]).collect();
    assert_eq!(asked.len(), 11);
    assert!(
        each.starts_with("{\"order\":{\"lines\":[{\"line\":0,\"sku\":\"7\",\"price\":1.00,\"stock\":{\"sku\":\"7\",")
    );
    assert_eq!(each.matches("\"left\":").count(), 50);

    let (batch, calls) = ask("/batch");
    assert_eq!((calls.len(), calls[0].header("content-type")), (1, Some("application/json")));
    let skus = (3..12).map(|n| format!(",\"sku-{n}\"")).collect::<String>();
    assert_eq!(String::from_utf8_lossy(&calls[0].body), format!("{{\"skus\": [\"7\",7,\"s\\u006bu-2\"{skus}]}}"));
    // The number's is not the string's.
    assert!(
        batch.contains("{\"line\":1,\"sku\":7,\"price\":1.10,\"stock\":{\"sku\":7,\"left\":10000000000000000001}}")
    );
    assert!(
        batch.contains(
            "{\"line\":0,\"sku\":\"7\",\"price\":1.00,\"stock\":{\"sku\":\"7\",\"left\":10000000000000000003}}"
        )
    );
    assert_eq!(batch.matches("\"left\":").count(), 50);

    let (fives, calls) = ask("/fives");
    assert_eq!((fives, calls.len()), (batch, 3));
}

#[test]
fn no_more_calls_are_under_way_than_may_be() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (now.clone(), most.clone());
    let service = service(move |seen| {
        if seen.target == "/order" {
            return Some(order());
        }
        counters.1.fetch_max(counters.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // So long that the others would be there too.
        thread::sleep(Duration::from_millis(20));
        counters.0.fetch_sub(1, Ordering::SeqCst);
        Some("{}".into())
    });
    let each = |parallel: u32| {
        compose(json!({"items": "order.lines", "parallel": parallel, "each": {
            "call": {"upstream": "service", "path": "/stock?sku={items.sku}"}, "key": "sku",
        }}))
    };
    let (_control_plane, node) = gateway(&service, json!({"one": each(1), "three": each(3)}));
    for (target, expect) in [("/one", 1), ("/three", 3)] {
        most.store(0, Ordering::SeqCst);
        assert_eq!(node.get(target).status, 200);
        assert_eq!(most.load(Ordering::SeqCst), expect, "{target}");
    }
}

#[test]
fn an_element_that_nobody_knows_is_no_end() {
    let service = Upstream::answering(|seen| match seen.target.as_str() {
        "/order" => super::answer("200 OK", "", "{\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\"},{\"sku\":null},{}]}"),
        "/many" => super::answer("200 OK", "", &format!("{{\"lines\":[{}1]}}", "1,".repeat(100))),
        "/none" => super::answer("200 OK", "", "{}"),
        "/odd" => super::answer("200 OK", "", "{\"lines\":{\"a\":1}}"),
        "/stock/a" => super::answer("200 OK", "", "{\"left\":1}"),
        _ => super::answer("404 Not Found", "", "{}"),
    });
    let compose = |order: &str, failed_item: Value| {
        json!({
            "parts": [part("order", order), {"name": "stock", "optional": {}, "for_each": {
                "items": "order.lines", "failed_item": failed_item,
                "each": {"call": {"upstream": "service", "path": "/stock/{items.sku}"}, "key": "sku"},
            }}],
            "merge": [{"at": "order", "from": "order"}, {"at": "order.lines[].stock", "from": "stock", "on": "sku"}],
        })
    };
    let routes = json!({
        "fail": compose("/order", json!({"fail": {}})),
        "omit": compose("/order", json!({"omit": {}})),
        "value": compose("/order", json!({"value": "{\"left\": null}"})),
        "many": compose("/many", json!({"omit": {}})),
        "none": compose("/none", json!({"omit": {}})),
        "odd": compose("/odd", json!({"omit": {}})),
    });
    let (_control_plane, node) = gateway(&service, routes);
    let rest = "{\"sku\":null},{}]}}";
    for (target, incomplete, body) in [
        (
            "/fail",
            Some("stock;reason=status"),
            "{\"order\":{\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\"},{\"sku\":null},{}]}}".into(),
        ),
        (
            "/omit",
            Some("stock;reason=status;state=partial"),
            format!("{{\"order\":{{\"lines\":[{{\"sku\":\"a\",\"stock\":{{\"left\":1}}}},{{\"sku\":\"b\"}},{rest}"),
        ),
        (
            "/value",
            Some("stock;reason=status;state=partial"),
            format!(
                "{{\"order\":{{\"lines\":[{{\"sku\":\"a\",\"stock\":{{\"left\":1}}}},{{\"sku\":\"b\",\"stock\":{{\"left\": null}}}},{rest}"
            ),
        ),
        ("/many", Some("stock;reason=items"), format!("{{\"order\":{{\"lines\":[{}1]}}}}", "1,".repeat(100))),
        ("/none", None, "{\"order\":{}}".to_string()),
        ("/odd", Some("stock;reason=items"), "{\"order\":{\"lines\":{\"a\":1}}}".into()),
    ] {
        let answer = node.send(&Request::get(target));
        assert_eq!((answer.status, answer.header("portico-incomplete")), (200, incomplete), "{target}");
        assert_eq!(answer.text(), body, "{target}");
    }
}

#[test]
fn an_answer_grows_no_larger_than_it_may() {
    let service = service(|seen| match seen.target.as_str() {
        "/order" => Some(format!("{{\"lines\":[{}{{\"sku\":1}}]}}", "{\"sku\":1},".repeat(99))),
        _ => Some(format!("\"{}\"", "x".repeat(400_000))),
    });
    let each = json!({"items": "order.lines", "each": {
        "call": {"upstream": "service", "path": "/stock?sku={items.sku}"}, "key": "sku",
    }});
    // 400 kB a hundred times are 40 MB; a part of it is small.
    let mut small = compose(each.clone());
    small["shape"] = json!({"omit": ["order.lines[].stock"]});
    let (_control_plane, node) = gateway(&service, json!({"large": compose(each), "small": small}));
    let refused = node.get("/large");
    assert_eq!((refused.status, &refused.json()["reason"]), (502, &json!("not_composed")), "{}", refused.text());
    assert_eq!(node.get("/small").status, 200);
}
