//! Bodies are streamed both ways, with limits and back-pressure, and never end as complete when they are not.

use super::harness::{Backend, Node, forward, ok, settings};
use crate::settings::Settings;
use proto::{resource::Kind, route::BodyLimit};
use serde_json::json;
use std::{io::Read, sync::mpsc::channel};

#[test]
fn a_body_is_streamed_in_both_directions() {
    // Each side goes on only when it saw what the other sent.
    let backend = Backend::start(|_, mut conn| {
        let head = conn.head().unwrap();
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        assert_eq!((conn.line().as_deref(), conn.read(5)), (Some("3"), b"one\r\n".to_vec()));
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nuno\r\n");
        assert_eq!((conn.line().as_deref(), conn.read(5)), (Some("3"), b"two\r\n".to_vec()));
        conn.send("3\r\ndue\r\n");
        assert_eq!((conn.line().as_deref(), conn.line().as_deref()), (Some("0"), Some("")));
        conn.send("0\r\n\r\n");
        conn.is_closed();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    assert_eq!(client.head().unwrap().header("transfer-encoding"), Some("chunked"));
    assert_eq!((client.line().as_deref(), client.read(5)), (Some("3"), b"uno\r\n".to_vec()));
    client.send("3\r\ntwo\r\n");
    assert_eq!((client.line().as_deref(), client.read(5)), (Some("3"), b"due\r\n".to_vec()));
    client.send("0\r\n\r\n");
    assert_eq!((client.line().as_deref(), client.line().as_deref()), (Some("0"), Some("")));
}

#[test]
fn bodies_arrive_as_they_were_sent() {
    let backend = Backend::echo();
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    let big = "0123456789abcdef".repeat(64 * 1024);
    for method in ["POST", "PUT", "GET", "DELETE", "QUERY"] {
        for body in ["", "x", big.as_str()] {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
            let response = client.response();
            assert!(response.text().ends_with(&format!("]\n{body}")), "{method} {}", body.len());
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            let chunks = if body.is_empty() { "0\r\n\r\n" } else { &chunks };
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
            let response = client.response();
            assert!(response.text().ends_with(&format!("]\n{body}")), "{method} {} in chunks", body.len());
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let (seen, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        if let Some(head) = conn.head() {
            seen.send(head.line).unwrap();
            conn.read_to_end();
            seen.send("closed".into()).unwrap();
        }
    });
    let node =
        Node::with(Settings { max_request_body: BodyLimit::Bytes(10), ..settings() }, &forward(&[backend.address]));
    // At once, where the length is known.
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.reason().as_str()), (413, "body_too_large"));
    assert!(client.is_closed());
    // While it comes, otherwise; the upstream never sees it end.
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n");
    assert_eq!(wait.recv().unwrap(), "POST / HTTP/1.1");
    client.send("8\r\n12345678\r\n");
    assert_eq!(client.response().status(), 413);
    assert!(client.is_closed());
    assert_eq!(wait.recv().unwrap(), "closed");
}

#[test]
fn a_routes_limit_wins_over_the_nodes() {
    let backend = Backend::echo().address.to_string();
    let route = |name: &str, limit: &str| {
        (
            Kind::Route,
            json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}},
            "limits": {"request_body": limit}, "forward": {"upstream": "back"}}),
        )
    };
    let node = Node::with(
        Settings { max_request_body: BodyLimit::Bytes(5), ..settings() },
        &[
            (Kind::Upstream, json!({"name": "back", "endpoints": [{"address": backend}]})),
            route("more", "10B"),
            route("all", "unlimited"),
            route("none", "0B"),
        ],
    );
    for (path, len, status) in
        [("/more", 10, 200), ("/more", 11, 413), ("/all", 1000, 200), ("/none", 0, 200), ("/none", 1, 413)]
    {
        let body = "x".repeat(len);
        let response = node.ask(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}"));
        assert_eq!(response.status(), status, "{path} {len}");
    }
}

#[test]
fn a_body_that_is_not_whole_never_ends_as_if_it_were() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalfX",
    ] {
        let backend = Backend::start(move |_, mut conn| {
            conn.request();
            conn.send(answer);
            conn.finish();
        });
        let node = Node::start(&forward(&[backend.address]));
        let mut client = node.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = client.read_to_end();
        let text = String::from_utf8(all).unwrap();
        // What breaks at once may take its head with it.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 200 OK"), "{answer}: {text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{answer}: {text}");
        let log = node.log();
        assert_eq!(log[0]["reason"], "upstream_body_truncated", "{answer}");
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "all of it");
    }
}

#[test]
fn answers_that_have_no_body_have_none() {
    for status in ["204 No Content", "304 Not Modified"] {
        let backend = Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                conn.send(format!("HTTP/1.1 {status}\r\netag: x\r\n\r\n"));
            }
        });
        let node = Node::start(&forward(&[backend.address]));
        let mut client = node.connect();
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let head = client.response_head();
            assert_eq!(head.line, format!("HTTP/1.1 {status}"));
            assert_eq!(head.header("etag"), Some("x"));
        }
    }
}

#[test]
fn a_slow_reader_slows_the_upstream_down() {
    // Far more than all buffers on the way hold.
    const LEN: usize = 64 * 1024 * 1024;
    let (progress, wait) = channel();
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n"));
        conn.stream().set_nonblocking(true).unwrap();
        let block = [b'x'; 64 * 1024];
        let (mut sent, mut told) = (0, false);
        let mut stuck = std::time::Instant::now();
        while sent < LEN {
            match std::io::Write::write(&mut conn.stream(), &block[..block.len().min(LEN - sent)]) {
                Ok(n) => {
                    sent += n;
                    stuck = std::time::Instant::now();
                }
                // What does not go on for so long waits for the client.
                Err(_) if !told && stuck.elapsed().as_millis() > 200 => {
                    progress.send(sent).unwrap();
                    told = true;
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        conn.stream().set_nonblocking(false).unwrap();
        conn.is_closed();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let sent = wait.recv().unwrap();
    assert!(sent < LEN / 2, "the gateway took {sent} bytes that nobody reads");
    let head = client.head().unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(client.read(LEN).len(), LEN);
}

#[test]
fn a_slow_upstream_slows_the_client_down() {
    const LEN: usize = 64 * 1024 * 1024;
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut conn| {
        conn.head();
        wait.lock().unwrap().recv().unwrap();
        let len = conn.read(LEN).len();
        conn.send(ok(&len.to_string()));
        conn.is_closed();
    });
    let node =
        Node::with(Settings { max_request_body: BodyLimit::Unlimited, ..settings() }, &forward(&[backend.address]));
    let mut client = node.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n"));
    client.stream().set_nonblocking(true).unwrap();
    let block = [b'x'; 64 * 1024];
    let mut sent = 0;
    let mut stuck = std::time::Instant::now();
    while stuck.elapsed().as_millis() < 200 && sent < LEN {
        match std::io::Write::write(&mut client.stream(), &block[..block.len().min(LEN - sent)]) {
            Ok(n) => {
                sent += n;
                stuck = std::time::Instant::now();
            }
            Err(_) => std::thread::yield_now(),
        }
    }
    assert!(sent < LEN / 2, "the gateway took {sent} bytes that nobody reads");
    client.stream().set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    while sent < LEN {
        let n = block.len().min(LEN - sent);
        client.send(&block[..n]);
        sent += n;
    }
    assert_eq!(client.response().text(), LEN.to_string());
}

#[test]
fn an_answer_may_come_before_the_body_is_sent() {
    let backend = Backend::start(|_, mut conn| {
        conn.head();
        conn.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        // A server that has said no does not listen any more.
        conn.finish();
        let mut sink = [0; 1024];
        while conn.stream().read(&mut sink).is_ok_and(|n| n > 0) {}
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    let response = client.response();
    assert_eq!((response.status(), response.text()), (403, "no"));
}

#[test]
fn trailers_travel_but_for_those_that_would_be_taken_for_headers() {
    let backend = Backend::start(|_, mut conn| {
        assert_eq!(conn.head().unwrap().header("transfer-encoding"), Some("chunked"));
        assert_eq!((conn.line().as_deref(), conn.read(4)), (Some("2"), b"hi\r\n".to_vec()));
        let end: Vec<String> = std::iter::from_fn(|| conn.line()).take(3).collect();
        assert_eq!(end, ["0", "x-sum: 1", ""]);
        conn.send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n\
             0\r\nX-Sum: 2\r\nContent-Length: 9\r\nSet-Cookie: a\r\nHost: b\r\nTransfer-Encoding: x\r\n\r\n",
        );
        conn.is_closed();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n\
         0\r\nX-Sum: 1\r\nHost: b\r\nAuthorization: c\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(client.head().unwrap().status(), 200);
    let rest: Vec<String> = std::iter::from_fn(|| client.line()).take(5).collect();
    assert_eq!(rest, ["2", "hi", "0", "x-sum: 2", ""]);
}

#[test]
fn events_arrive_as_they_are_sent() {
    let (arrived, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        for number in 0..20 {
            conn.send(format!("data: {number}\n\n"));
            // The next is sent when this one has arrived.
            wait.lock().unwrap().recv().unwrap();
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().unwrap().header("content-type"), Some("text/event-stream"));
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        assert_eq!(client.line(), Some(format!("{:x}", event.len())));
        assert_eq!(client.read(event.len() + 2), format!("{event}\r\n").into_bytes());
        arrived.send(()).unwrap();
    }
    assert_eq!((client.line().as_deref(), client.line().as_deref()), (Some("0"), Some("")));
}

#[test]
fn a_connection_is_used_again_however_large_its_bodies_are() {
    let backend = Backend::start(|number, mut conn| {
        while let Some(request) = conn.request() {
            let length: usize = request.line.split(['/', ' ']).nth(2).and_then(|text| text.parse().ok()).unwrap();
            conn.send(format!("HTTP/1.1 200 OK\r\nx-connection: {number}\r\ncontent-length: {length}\r\n\r\n"));
            conn.send(vec![b'x'; length]);
        }
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    for length in [1, 4_096, 8_192, 57_344, 65_536, 65_537, 100_000, 1 << 20].repeat(3) {
        client.send(format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.body.len(), answer.header("x-connection")), (length, Some("0")));
    }
}
