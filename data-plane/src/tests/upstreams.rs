//! Calls to upstreams: connections that are kept, tries that are repeated, and answers that cannot be forwarded.

use super::harness::{Backend, Node, forward, nobody, ok};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::channel,
    },
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const PUT: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

// Answers with the number of the connection.
fn numbered() -> Backend {
    Backend::start(|number, mut conn| {
        while conn.request().is_some() {
            conn.send(ok(&number.to_string()));
        }
    })
}

fn upstream(more: Value, endpoints: &[(std::net::SocketAddr, u32)]) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> =
        endpoints.iter().map(|(address, weight)| json!({"address": address.to_string(), "weight": weight})).collect();
    let mut upstream = json!({"name": "back", "endpoints": endpoints});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

#[test]
fn a_connection_is_used_again_by_any_client() {
    let node = Node::start(&forward(&[numbered().address]));
    for _ in 0..5 {
        assert_eq!(node.ask(GET).text(), "0");
    }
    // A change that leaves the endpoint alone leaves its connections alone.
    let mut changed = forward(&[]);
    changed[0].1 =
        json!({"name": "back", "endpoints": [{"address": nobody().to_string()}], "timeouts": {"idle": "5s"}});
    node.change(&changed);
    assert_eq!(node.ask(GET).status(), 502);
}

#[test]
fn connections_outlive_a_change_of_the_upstream() {
    let backend = numbered();
    let node = Node::start(&upstream(json!({}), &[(backend.address, 1)]));
    assert_eq!(node.ask(GET).text(), "0");
    node.change(&upstream(json!({"timeouts": {"response": "9s"}}), &[(backend.address, 3)]));
    assert_eq!(node.ask(GET).text(), "0");
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_no_error() {
    let (closed, wait) = channel();
    let backend = Backend::start(move |number, mut conn| {
        conn.request();
        conn.send(ok(&number.to_string()));
        drop(conn);
        closed.send(()).unwrap();
    });
    // Not even a try: there are none.
    let node = Node::start(&upstream(json!({"retry": {"attempts": 0}}), &[(backend.address, 1)]));
    for number in 0..20 {
        let request = if number % 2 == 0 { GET } else { POST };
        let response = node.ask(request);
        assert_eq!((response.status(), response.text()), (200, number.to_string().as_str()), "{request}");
        wait.recv().unwrap();
    }
    assert_eq!(node.counts().retries, 0);
}

// Answers the first request of its first connection, and closes that after the second came.
fn dying(asked: Arc<AtomicUsize>) -> Backend {
    Backend::start(move |number, mut conn| {
        while conn.request().is_some() {
            let n = asked.fetch_add(1, SeqCst);
            if number == 0 && n > 0 {
                return;
            }
            conn.send(ok(&number.to_string()));
        }
    })
}

#[test]
fn a_request_is_repeated_only_where_that_is_safe() {
    for (request, status, asked) in [(GET, 200, 3), (POST, 502, 2)] {
        let count = Arc::<AtomicUsize>::default();
        let node = Node::start(&forward(&[dying(count.clone()).address]));
        assert_eq!(node.ask(GET).status(), 200);
        let response = node.ask(request);
        assert_eq!((response.status(), count.load(SeqCst)), (status, asked), "{request}");
        if status == 502 {
            assert_eq!(response.reason(), "closed");
        }
    }
    // Idempotent, but its body may be gone.
    for (buffer, status, asked) in [("16KiB", 200, 3), ("0B", 502, 2)] {
        let count = Arc::<AtomicUsize>::default();
        let backend = dying(count.clone());
        let node = Node::start(&upstream(json!({"retry": {"buffer": buffer}}), &[(backend.address, 1)]));
        assert_eq!(node.ask(GET).status(), 200);
        assert_eq!((node.ask(PUT).status(), count.load(SeqCst)), (status, asked), "{buffer}");
    }
}

#[test]
fn nothing_is_repeated_once_an_answer_has_begun() {
    for answer in ["HTTP/1.1 200 OK\r\nX: half", "HTTP/1.1 20"] {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let backend = Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                if count.fetch_add(1, SeqCst) == 1 {
                    conn.send(answer);
                    return;
                }
                conn.send(ok(""));
            }
        });
        let node = Node::start(&forward(&[backend.address]));
        assert_eq!(node.ask(GET).status(), 200);
        assert_eq!((node.ask(GET).status(), asked.load(SeqCst)), (502, 2), "{answer}");
    }
}

#[test]
fn a_try_that_reached_nobody_is_repeated_elsewhere() {
    let backend = Backend::echo();
    for request in [GET, POST] {
        let node = Node::start(&forward(&[nobody(), backend.address]));
        for _ in 0..6 {
            let response = node.ask(request);
            assert_eq!(response.status(), 200, "{request}");
            assert_eq!(response.text().ends_with("\nx"), request == POST);
        }
        assert!(node.counts().retries >= 3);
    }
    let node = Node::start(&upstream(json!({"retry": {"attempts": 0}}), &[(nobody(), 1)]));
    assert_eq!(node.ask(GET).status(), 502);
    assert_eq!(node.counts().retries, 0);
}

#[test]
fn endpoints_get_their_shares() {
    let answers = ["a", "b", "c"].map(|body| {
        Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                conn.send(ok(body));
            }
        })
    });
    let endpoints = [(answers[0].address, 3), (answers[1].address, 1), (answers[2].address, 0)];
    for balance in ["round_robin", "least_request", "random"] {
        let node = Node::start(&upstream(json!({"balance": {balance: {}}}), &endpoints));
        let mut client = node.connect();
        let mut counts = BTreeMap::<String, usize>::new();
        for _ in 0..200 {
            client.send(GET);
            *counts.entry(client.response().text().to_string()).or_default() += 1;
        }
        assert_eq!(counts.get("c"), None);
        let a = counts["a"];
        match balance {
            "round_robin" => assert_eq!(a, 150),
            _ => assert!((120..180).contains(&a), "{balance}: {counts:?}"),
        }
    }
}

#[test]
fn connections_to_an_endpoint_are_bounded() {
    let (asked, wait) = channel();
    let (go, going) = channel::<()>();
    let going = std::sync::Mutex::new(going);
    let backend = Backend::start(move |_, mut conn| {
        while conn.request().is_some() {
            asked.send(()).unwrap();
            going.lock().unwrap().recv().unwrap();
            conn.send(ok("done"));
        }
    });
    let node = Node::start(&upstream(json!({"connections": {"max": 1}}), &[(backend.address, 1)]));
    let mut first = node.connect();
    first.send(GET);
    wait.recv().unwrap();
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "overflow"));
    assert_eq!(response.header("retry-after"), Some("1"));
    go.send(()).unwrap();
    assert_eq!(first.response().text(), "done");
    go.send(()).unwrap();
    assert_eq!(node.ask(GET).text(), "done");
}

#[test]
fn an_answer_that_cannot_be_framed_is_not_forwarded() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let (closed, wait) = channel();
        let backend = Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                conn.send(answer);
            }
            closed.send(()).unwrap();
        });
        let node = Node::start(&forward(&[backend.address]));
        let response = node.ask(GET);
        assert_eq!((response.status(), response.reason().as_str()), (502, "bad_response"), "{answer}");
        wait.recv_timeout(super::harness::DEADLINE).unwrap();
    }
}

#[test]
fn what_is_sent_before_the_answer_is_passed_over() {
    let backend = Backend::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let node = Node::start(&forward(&[backend.address]));
    for _ in 0..2 {
        let response = node.ask(GET);
        assert_eq!((response.status(), response.text(), response.header("link")), (200, "ok", None));
    }
}

#[test]
fn interim_answers_are_counted_however_slowly_they_come() {
    let (_never, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        for _ in 0..40 {
            conn.try_send(b"HTTP/1.1 103 Early Hints\r\n\r\n");
            // Long enough for each to be read alone.
            wait.lock().unwrap().recv_timeout(std::time::Duration::from_millis(5)).ok();
        }
        conn.try_send(ok("late").as_bytes());
    });
    let node = Node::start(&forward(&[backend.address]));
    assert_eq!(node.ask(GET).reason(), "bad_response");
}

#[test]
fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    let (more, wait) = channel();
    let backend = Backend::start(move |number, mut conn| {
        while conn.request().is_some() {
            // A second answer to one request would be the next client's.
            conn.send(format!("{}{}", ok(&number.to_string()), ok("poison")));
            more.send(()).unwrap();
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    for number in 0..3 {
        assert_eq!(node.ask(GET).text(), number.to_string());
        wait.recv().unwrap();
    }
}

#[test]
fn names_are_resolved_when_they_are_dialled() {
    let backend = Backend::echo().address;
    let resources = |host: &str| {
        let address = format!("{host}:{}", backend.port());
        vec![
            (Kind::Upstream, json!({"name": "back", "endpoints": [{"address": address}]})),
            (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
        ]
    };
    let node = Node::start(&resources("localhost"));
    assert_eq!(node.ask(GET).status(), 200);
    node.change(&resources("no-such-name.invalid"));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (502, "resolve"));
}

#[test]
fn an_old_server_is_understood() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\nold");
    });
    let node = Node::start(&forward(&[backend.address]));
    for _ in 0..2 {
        let response = node.ask(GET);
        assert_eq!((response.line.as_str(), response.text()), ("HTTP/1.1 200 OK", "old"));
    }
}
