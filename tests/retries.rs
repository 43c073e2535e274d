//! Further tries under load: no request fails that need not, and when all endpoints fail, tries do not make it worse.

use crate::harness::{
    http::{Connection, Request, send},
    load::{Load, Plan, Target},
    stack::Node,
    upstream::Upstream,
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;

const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

/// A node before these endpoints.
fn node(folder: &TempDir, name: &str, endpoints: &[SocketAddr], more: Value) -> Node {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    let mut upstream = json!({"name": "back", "endpoints": endpoints});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let routes = json!([{"name": "all", "forward": {"upstream": "back"}}]);
    let file = folder.path().join(format!("{name}.json"));
    std::fs::write(&file, json!({"upstreams": [upstream], "routes": routes}).to_string()).unwrap();
    let mut node = Node::of(&["--config", file.to_str().unwrap()]);
    node.restart();
    node
}

/// The value of a metric of a node, by its name and labels.
fn metric(node: &Node, name: &str) -> u64 {
    let text = send(node.status, &Request::get("/metrics")).unwrap().text();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn endpoints_die_and_one_is_busy_at_times_and_no_request_fails() {
    let (folder, echo) = (TempDir::new().unwrap(), Upstream::echo("echo"));
    let mut mortal = ["a", "b"].map(|name| node(&folder, name, &[echo.address], json!({})));
    // One answer of three is none.
    let (busy, count) = (Arc::<AtomicU64>::default(), AtomicU64::new(0));
    let told = busy.clone();
    let moody = Upstream::answering(move |seen| {
        if count.fetch_add(1, SeqCst) % 3 == 2 {
            told.fetch_add(1, SeqCst);
            return BUSY.into();
        }
        let target = &seen.target;
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len()).into_bytes()
    });
    let endpoints = [mortal[0].traffic, mortal[1].traffic, moody.address, echo.address];
    let policy = json!({"retry": {"attempts": 3}, "ejection": {"base": "500ms"}});
    let gateway = node(&folder, "gateway", &endpoints, policy);
    let load = Load::start(Plan {
        targets: vec![Target { traffic: gateway.traffic, status: gateway.status }],
        paths: vec!["/a".into(), "/b/c".into()],
        connections: 8,
        pause: Duration::from_millis(2),
    });
    load.more(500);
    for _ in 0..3 {
        for endpoint in &mut mortal {
            endpoint.kill();
            load.more(300);
            endpoint.restart();
            load.more(100);
        }
    }
    let outcome = load.stop();
    let (busy, retries) = (busy.load(SeqCst), metric(&gateway, "portico_retries_total"));
    println!("{} requests, {busy} were answered 503, {retries} tries, slowest {:?}", outcome.requests, outcome.slowest);
    outcome.assert_none_failed();
    assert!(busy > 0 && retries >= busy, "{busy} {retries}");
}

#[test]
fn when_all_endpoints_fail_tries_are_a_fifth_of_the_requests_at_most() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 250;
    let (folder, asked) = (TempDir::new().unwrap(), Arc::<AtomicU64>::default());
    let endpoints = [(); 3].map(|()| {
        let asked = asked.clone();
        Upstream::answering(move |_| {
            asked.fetch_add(1, SeqCst);
            BUSY.into()
        })
    });
    let retry =
        json!({"attempts": 5, "back_off": {"base": "1ms", "max": "1ms"}, "budget": {"share": 20, "min_per_second": 0}});
    let policy = json!({"retry": retry, "ejection": {"consecutive_failures": 0}});
    let gateway = node(&folder, "gateway", &endpoints.each_ref().map(|endpoint| endpoint.address), policy);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::open(gateway.traffic).unwrap();
                for _ in 0..EACH {
                    let response = connection.send(&Request::get("/")).unwrap();
                    assert_eq!((response.status, response.text().as_str()), (503, "busy"));
                }
            });
        }
    });
    let (requests, asked) = (CLIENTS * EACH, asked.load(SeqCst));
    println!("{requests} requests, {asked} reached an endpoint");
    // Each worker may take one that another took at the same time.
    assert!(asked > requests && 10 * asked <= 12 * requests + 10 * CLIENTS, "{asked} of {requests}");
    let refused = eventually("the metric tells", || {
        Some(metric(&gateway, "portico_upstream_retries_over_budget_total{upstream=\"back\"}")).filter(|n| *n > 0)
    });
    assert!(refused >= requests / 2, "{refused}");
}
