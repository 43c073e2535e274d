//! Further tries: which requests, after what, when, how many, and which answer the client gets.

use super::harness::{Backend, DEADLINE, Node, nobody, ok};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

// An upstream of these endpoints, none of which is ejected.
fn upstream(retry: Value, endpoints: &[SocketAddr]) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    let upstream =
        json!({"name": "back", "endpoints": endpoints, "retry": retry, "ejection": {"consecutive_failures": 0}});
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

// Answers each request by its number among all.
fn numbered(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> (Backend, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            if !conn.try_send(answer(count.fetch_add(1, SeqCst)).as_bytes()) {
                return;
            }
        }
    });
    (backend, asked)
}

fn over_budget(node: &Node) -> u64 {
    node.router().pools().map(|pool| pool.retries_over_budget()).sum()
}

#[test]
fn an_answer_that_another_endpoint_may_better_is_not_the_clients() {
    let connections = Arc::<AtomicUsize>::default();
    let count = connections.clone();
    let busy = Backend::start(move |_, mut conn| {
        count.fetch_add(1, SeqCst);
        while conn.request().is_some() {
            conn.send(BUSY);
        }
    });
    let node = Node::start(&upstream(json!({}), &[busy.address, Backend::echo().address]));
    for _ in 0..10 {
        assert_eq!(node.ask(GET).status(), 200);
    }
    let counts = node.counts();
    assert!(counts.retries >= 4, "{counts:?}");
    assert!(counts.failures.is_empty());
    // What was read to its end left its connection as it was.
    assert_eq!(connections.load(SeqCst), 1);
    assert!(node.log().iter().any(|line| line["retries"] == 1 && line["http.response.status_code"] == 200));
}

#[test]
fn the_last_answer_is_the_clients() {
    let (backend, asked) = numbered(|n| BUSY.replace("busy", &format!("no {n}")));
    let node = Node::start(&upstream(json!({"attempts": 3}), &[backend.address]));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.text(), asked.load(SeqCst)), (503, "no 3", 4));
    let line = &node.log()[0];
    assert_eq!(
        (&line["retries"], &line["http.response.status_code"], &line["reason"]),
        (&json!(3), &json!(503), &Value::Null)
    );
}

#[test]
fn only_what_may_be_repeated_is() {
    let listed = json!({"answers": {"listed": {"statuses": [429]}}});
    let late = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let cases = [
        (json!({}), GET, BUSY, 2),
        (json!({}), POST, BUSY, 1),
        (json!({"methods": ["POST"]}), POST, BUSY, 2),
        (json!({"attempts": 0}), GET, BUSY, 1),
        (json!({"answers": {"none": {}}}), GET, BUSY, 1),
        (json!({}), GET, late, 1),
        (listed.clone(), GET, late, 2),
        (listed, GET, BUSY, 1),
    ];
    for (retry, request, answer, expect) in cases {
        let (backend, asked) = numbered(move |_| answer.to_string());
        let node = Node::start(&upstream(retry.clone(), &[backend.address]));
        assert_eq!(node.ask(request).line, answer.lines().next().unwrap());
        assert_eq!(asked.load(SeqCst), expect, "{retry} {request} {answer}");
    }
}

#[test]
fn a_method_that_is_named_is_repeated_when_the_connection_breaks() {
    for (methods, status) in [(json!([]), 502), (json!(["POST"]), 200)] {
        let backend = Backend::start(|number, mut conn| {
            conn.request();
            if number > 0 {
                conn.send(ok("second"));
            }
        });
        let node = Node::start(&upstream(json!({"methods": methods}), &[backend.address]));
        assert_eq!(node.ask(POST).status(), status);
    }
}

#[test]
fn a_try_that_takes_too_long_is_given_up_for_another() {
    let backend = Backend::start(|number, mut conn| {
        while conn.request().is_some() {
            match number {
                0 => assert!(conn.is_closed()),
                _ => conn.send(ok("second")),
            }
        }
    });
    let retry = json!({"attempts": 5, "per_try": "150ms", "back_off": {"base": "1ms"}});
    let node = Node::start(&upstream(retry, &[backend.address]));
    let start = Instant::now();
    assert_eq!(node.ask(GET).text(), "second");
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn all_tries_together_have_the_time_of_one_answer() {
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let silent = Backend::start(move |_, mut conn| {
        conn.request();
        count.fetch_add(1, SeqCst);
        conn.read_to_end();
    });
    let retry = json!({"attempts": 5, "per_try": "200ms", "back_off": {"base": "1ms", "max": "1ms"}});
    let mut resources = upstream(retry, &[silent.address]);
    resources[0].1["timeouts"] = json!({"response": "500ms"});
    let node = Node::start(&resources);
    let start = Instant::now();
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (504, "response_timeout"));
    let took = start.elapsed();
    // Six tries would be 1.2s.
    assert!((Duration::from_millis(500)..Duration::from_millis(1_000)).contains(&took), "{took:?}");
    assert_eq!(asked.load(SeqCst), 3);
    // An answer that does come may take all the time that there is, be it of a try that came late.
    let (backend, _) = numbered(|n| if n == 0 { BUSY.into() } else { ok("") });
    resources[0].1["endpoints"] = json!([{"address": backend.address.to_string()}]);
    node.change(&resources);
    assert_eq!(node.ask(GET).status(), 200);
}

#[test]
fn an_upstream_that_says_when_to_come_back_is_heard() {
    let wait = |seconds: u64| BUSY.replace("content-length", &format!("retry-after: {seconds}\r\ncontent-length"));
    let (backend, asked) = numbered(move |n| if n == 0 { wait(1) } else { ok("back") });
    let mut resources = upstream(json!({}), &[backend.address]);
    resources[0].1["timeouts"] = json!({"response": "5s"});
    let node = Node::start(&resources);
    let start = Instant::now();
    assert_eq!(node.ask(GET).text(), "back");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(asked.load(SeqCst), 2);
    // What does not fit is for the client to heed.
    let (backend, asked) = numbered(move |_| wait(5));
    resources[0].1["endpoints"] = json!([{"address": backend.address.to_string()}]);
    node.change(&resources);
    let start = Instant::now();
    let response = node.ask(GET);
    assert_eq!((response.status(), response.header("retry-after"), asked.load(SeqCst)), (503, Some("5"), 1));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_client_that_left_is_tried_for_no_more() {
    let wait = BUSY.replace("content-length", "retry-after: 1\r\ncontent-length");
    let (backend, asked) = numbered(move |_| wait.clone());
    let node = Node::start(&upstream(json!({}), &[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    let start = Instant::now();
    while asked.load(SeqCst) == 0 {
        assert!(start.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
    drop(client);
    node.await_counts(|counts| counts.failures.keys().any(|(_, reason, _)| *reason == "client_closed"));
    // One that stays is tried for after that time, and by then the other would have been.
    assert_eq!(node.ask(GET).status(), 503);
    assert_eq!(asked.load(SeqCst), 3);
}

#[test]
fn beyond_the_budget_an_answer_is_an_answer() {
    let (backend, asked) = numbered(|_| BUSY.into());
    let budget = |share: u32, least: u32| json!({"budget": {"share": share, "min_per_second": least}});
    let mut resources = upstream(budget(50, 0), &[backend.address]);
    let node = Node::start(&resources);
    let mut client = node.connect();
    for _ in 0..100 {
        client.send(GET);
        assert_eq!(client.response().text(), "busy");
    }
    let retries = asked.load(SeqCst) as u64 - 100;
    assert_eq!((node.counts().retries, over_budget(&node)), (retries, 100 - retries));
    // The machine may be so slow that ten seconds have passed.
    assert!((1..=50).contains(&retries), "{retries}");
    // It is the upstream's, whatever else of it changes.
    resources[0].1["timeouts"] = json!({"response": "9s"});
    resources[0].1["retry"] = budget(0, 0);
    node.change(&resources);
    assert_eq!(node.ask(GET).status(), 503);
    assert_eq!(over_budget(&node), 100 - retries + 1);
    // Who reached nobody needs none.
    resources[0].1["endpoints"] =
        json!([{"address": nobody().to_string()}, {"address": Backend::echo().address.to_string()}]);
    node.change(&resources);
    for _ in 0..10 {
        assert_eq!(node.ask(POST).status(), 200);
    }
    assert_eq!(over_budget(&node), 100 - retries + 1);
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let (closed, wait) = channel();
    let endless = Backend::start(move |_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n");
        while conn.try_send(b"4000\r\n") && conn.try_send(&[b'x'; 0x4000]) && conn.try_send(b"\r\n") {}
        closed.send(()).unwrap();
    });
    // One that says nothing more costs no time either.
    let silent = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100\r\n\r\nhalf");
        conn.read_to_end();
    });
    let endpoints = [endless.address, silent.address, Backend::echo().address];
    let node = Node::start(&upstream(json!({"attempts": 2}), &endpoints));
    let start = Instant::now();
    for _ in 0..6 {
        assert_eq!(node.ask(GET).status(), 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    wait.recv_timeout(DEADLINE).unwrap();
}

const BODIES: [&str; 2] = [
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello, world",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello,\r\n6\r\n world\r\n0\r\n\r\n",
];

#[test]
fn a_body_that_was_kept_is_sent_again_whole() {
    for request in BODIES {
        for break_off in [true, false] {
            let (said, heard) = channel();
            let backend = Backend::start(move |number, mut conn| {
                while let Some(request) = conn.request() {
                    said.send(request.text().to_string()).unwrap();
                    match number {
                        0 if break_off => return,
                        0 => conn.send("HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
                        _ => conn.send(ok("done")),
                    }
                }
            });
            let node = Node::start(&upstream(json!({}), &[backend.address]));
            assert_eq!(node.ask(request).text(), "done");
            assert_eq!([heard.recv().unwrap(), heard.recv().unwrap()], ["hello, world"; 2]);
            assert_eq!(node.log()[0]["http.request.body.size"], 12);
        }
    }
}

#[test]
fn a_body_is_sent_while_it_comes_and_again_when_it_must() {
    // Answers when it has heard the beginning, and then hears no more.
    let (asked, wait) = channel();
    let backend = Backend::start(move |number, mut conn| {
        if number == 0 {
            conn.head();
            assert_eq!(conn.read(5), b"hello");
            conn.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
            asked.send(()).unwrap();
            return;
        }
        let request = conn.request().unwrap();
        conn.send(ok(request.text()));
    });
    let node = Node::start(&upstream(json!({}), &[backend.address]));
    let mut client = node.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello");
    wait.recv_timeout(DEADLINE).unwrap();
    client.send(", world");
    assert_eq!(client.response().text(), "hello, world");
}

#[test]
fn a_body_larger_than_may_be_kept_makes_no_request_fail() {
    let body = "x".repeat(100_000);
    for framing in ["length", "chunked"] {
        let request = match framing {
            "length" => format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{body}"),
            _ => format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"),
        };
        for (buffer, tries) in [("1KiB", 1), ("128KiB", 2)] {
            let asked = Arc::<AtomicUsize>::default();
            let count = asked.clone();
            let backend = Backend::start(move |_, mut conn| {
                while let Some(request) = conn.request() {
                    assert_eq!(request.body.len(), 100_000);
                    count.fetch_add(1, SeqCst);
                    conn.send(BUSY);
                }
            });
            let node = Node::start(&upstream(json!({"buffer": buffer}), &[backend.address]));
            assert_eq!((node.ask(&request).status(), asked.load(SeqCst)), (503, tries), "{framing} {buffer}");
        }
    }
}
