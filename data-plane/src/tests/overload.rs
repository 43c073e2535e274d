//! A node that is short of memory.

use super::{
    faults::{Client, Protocol, Seen},
    harness::{Backend, Conn, DEADLINE, Node, forward, respond, settings},
};
use crate::settings::Settings;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn is_refused(client: &mut Conn) -> bool {
    let response = client.response();
    let is_known = response.json()["request_id"].as_str().is_some_and(|id| id.len() == 32);
    response.status() == 503
        && response.reason() == "overloaded"
        && response.header("retry-after") == Some("1")
        && response.header("content-type") == Some("application/problem+json")
        && is_known
}

#[test]
fn what_is_new_is_turned_away_and_what_is_under_way_is_finished() {
    let (backend, wait, go) = Backend::held();
    let node = Node::start(&forward(&[backend.address]));
    let mut under_way = node.connect();
    under_way.send(GET);
    wait.recv_timeout(DEADLINE).unwrap();
    let mut next = node.connect();
    next.send(GET);
    wait.recv_timeout(DEADLINE).unwrap();
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(under_way.response().text(), "done");
    assert_eq!(next.response().text(), "done");
    under_way.send(GET);
    wait.recv_timeout(DEADLINE).unwrap();

    node.overload(true);
    // On a connection that stands, and on a new one, which is closed.
    next.send(GET);
    assert!(is_refused(&mut next));
    let mut new = node.connect();
    assert!(is_refused(&mut new) && new.is_closed());
    // A client that does not wait for the answer gets it all the same.
    let mut hasty = node.connect();
    hasty.try_send(GET.repeat(100).as_bytes());
    assert!(is_refused(&mut hasty));
    go.send(()).unwrap();
    assert_eq!(under_way.response().text(), "done");
    // Idle by now, they all end.
    assert!(under_way.is_closed() && next.is_closed());

    node.overload(false);
    go.send(()).unwrap();
    assert_eq!(node.ask(GET).text(), "done");
    let counts = node.counts();
    assert_eq!(counts.refused, 2);
    assert_eq!(
        counts.failures.iter().filter(|((_, reason, _), _)| *reason == "overloaded").map(|(_, n)| n).sum::<u64>(),
        3
    );
}

#[test]
fn clients_of_http_2_are_turned_away_too() {
    let node = Node::start(&respond());
    let mut client = Client::new(Protocol::Http2, node.address);
    assert_eq!(client.ask("GET", "/", "the first", || {}), Seen::Whole(200, "here".into()));
    node.overload(true);
    assert_eq!(client.ask("GET", "/", "the second", || {}), Seen::Refused(503, "overloaded".into()));
    node.overload(false);
    assert_eq!(client.ask("GET", "/", "the third", || {}), Seen::Whole(200, "here".into()));
}

#[test]
fn idle_connections_end_when_the_memory_is_short() {
    let long = Duration::from_secs(600);
    let node = Node::with(Settings { keep_alive_timeout: long, header_timeout: long, ..settings() }, &respond());
    let mut clients: Vec<Conn> = (0..20).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_eq!(client.response().status(), 200);
    }
    let start = Instant::now();
    node.overload(true);
    assert!(clients.iter_mut().all(Conn::is_closed));
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn a_node_that_is_short_of_memory_drains_as_any() {
    let (backend, wait, go) = Backend::held();
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    client.send(GET);
    wait.recv_timeout(DEADLINE).unwrap();
    node.overload(true);
    let drain = node.drain(DEADLINE);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "done");
    assert_eq!(drain.join().unwrap().len(), 1);
}
