//! A node that is told to stop answers what it has taken, and says so to those who send more.

use crate::harness::{
    http::{Connection, Request},
    stack::ControlPlane,
    upstream::{Seen, Upstream},
    wait::eventually,
};
use std::{
    io::{BufReader, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

#[test]
fn a_request_in_flight_is_answered_before_the_node_ends() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--shutdown-delay", "0s"]);
    node.restart();
    let (held, release) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let script = (held.clone(), release.clone());
    let slow = Upstream::scripted(move |stream| {
        let mut stream = BufReader::new(stream);
        while Seen::read(&mut stream)?.is_some() {
            script.0.store(true, Ordering::Release);
            eventually("the test releases the answer", || script.1.load(Ordering::Acquire).then_some(()));
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")?;
        }
        Ok(())
    });
    control_plane.admin.route("slow", "/", slow.address);
    let traffic = node.traffic;
    let client = thread::spawn(move || Connection::open(traffic).unwrap().send(&Request::get("/")).unwrap());
    eventually("the request is at the upstream", || held.load(Ordering::Acquire).then_some(()));

    node.terminate();
    eventually("the node says that it is not ready", || (!node.is_ready()).then_some(()));
    eventually("the node takes nobody new", || Connection::open(traffic).is_err().then_some(()));
    release.store(true, Ordering::Release);
    let response = client.join().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "slow"));
    assert!(response.closes(), "{response:?}");
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let control_plane = ControlPlane::start();
    let mut node = control_plane.node_with(&["--shutdown-delay", "1h"]);
    node.restart();
    node.terminate();
    eventually("the node drains", || (!node.is_ready()).then_some(()));
    node.terminate();
    assert_eq!(node.wait(), Some(143));
}
