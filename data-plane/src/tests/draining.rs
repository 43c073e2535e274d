//! A node that stops fails nobody.

use super::harness::{Backend, DEADLINE, Node, forward, respond};
use std::{
    net::TcpStream,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn who_is_in_flight_or_in_the_queue_is_answered() {
    let (backend, wait, go) = Backend::held();
    let node = Node::start(&forward(&[backend.address]));
    let address = node.address;
    let mut busy = node.connect();
    busy.send(GET);
    wait.recv().unwrap();
    let mut open: Vec<_> = (0..20).map(|_| node.connect()).collect();
    let drain = node.drain(DEADLINE);
    // The drain has begun when nobody is let in any more.
    let start = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
        assert!(start.elapsed() < DEADLINE);
    }
    for client in &mut open {
        client.send(GET);
    }
    for _ in 0..=open.len() {
        go.send(()).unwrap();
    }
    for client in open.iter_mut().chain([&mut busy]) {
        let response = client.response();
        assert_eq!((response.text(), response.header("connection")), ("done", Some("close")));
        assert!(client.is_closed());
    }
    assert_eq!(drain.join().unwrap().len(), 21);
}

#[test]
fn idle_connections_are_closed_but_not_too_soon() {
    let node = Node::start(&respond());
    let mut idle = node.connect();
    idle.send(GET);
    assert_eq!(idle.response().header("connection"), None);
    let mut late = node.connect();
    late.send(GET);
    late.response();
    let mut fresh = node.connect();
    let start = Instant::now();
    let drain = node.drain(DEADLINE);
    assert!(idle.is_closed());
    assert!(start.elapsed() > Duration::from_millis(500), "a request may be on its way");
    // Whoever's request was on its way gets an answer, or had been told.
    if late.try_send(GET.as_bytes())
        && let Some(head) = late.head()
    {
        assert_eq!(head.status(), 200);
    }
    assert!(fresh.is_closed());
    drain.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_request_on_a_connection_that_is_about_to_close_is_answered() {
    let node = Node::start(&respond());
    let mut clients: Vec<_> = (0..10).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        client.response();
    }
    let drain = node.drain(DEADLINE);
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
        assert!(client.is_closed());
    }
    assert_eq!(drain.join().unwrap().len(), 20);
}

#[test]
fn the_deadline_cuts_off_who_does_not_end() {
    let backend = Backend::start(|_, mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        conn.is_closed();
    });
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    client.head();
    assert_eq!(client.read(4), b"half");
    let log = node.drain(Duration::from_millis(100)).join().unwrap();
    assert!(client.is_closed());
    assert_eq!(log[0]["reason"], "client_closed");
}

#[test]
fn clients_under_load_see_no_failure() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let address = node.address;
    let (started, wait) = channel();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let started = started.clone();
            std::thread::spawn(move || {
                let mut answered = 0;
                loop {
                    // New connections are refused once the listener is closed; until then every request is answered.
                    let Ok(stream) = TcpStream::connect(address) else { return answered };
                    let mut client = super::harness::Conn::new(stream);
                    loop {
                        client.send(GET);
                        let response = client.response();
                        assert_eq!(response.status(), 200);
                        answered += 1;
                        if answered == 10 {
                            started.send(()).unwrap();
                        }
                        if response.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..8 {
        wait.recv().unwrap();
    }
    let log = node.drain(DEADLINE).join().unwrap();
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(log.len(), answered);
}
