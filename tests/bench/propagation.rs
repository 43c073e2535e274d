//! How long it takes from an admin write being sent until traffic sees it, on one idle node.
//!
//! Each write gives a route's answer another number; the clock runs from the write's first byte until the number is in
//! an answer of the node, which is asked all the time on one connection.

use crate::harness::{
    admin::TOKEN,
    http::{Connection, Request},
    stack::ControlPlane,
    wait::PATIENCE,
};
use serde_json::json;
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Between two writes: longer than the control plane gathers changes when it is busy.
const PAUSE: Duration = Duration::from_millis(15);

pub(crate) fn run(writes: usize) -> ExitCode {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let mut admin = Connection::open(control_plane.admin.address).unwrap();
    let mut traffic = Connection::open(node.traffic).unwrap();
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let (mut acknowledged, mut live) = (Vec::new(), Vec::new());
    for number in 0..writes {
        thread::sleep(PAUSE);
        let body = json!({"match": {"path": {"exact": "/n"}}, "respond": {"body": number.to_string()}}).to_string();
        let write = Request {
            method: "PUT",
            target: "/v1/routes/n",
            host: "admin.test",
            headers: &headers,
            body: body.as_bytes(),
        };
        let began = Instant::now();
        let (acknowledged_after, live_after) = thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let response = admin.send(&write).unwrap();
                assert!(response.status < 300, "{}", response.text());
                began.elapsed()
            });
            let live_after = loop {
                let seen = traffic.send(&Request::get("/n")).unwrap();
                if seen.status == 200 && seen.text() == number.to_string() {
                    break began.elapsed();
                }
                assert!(began.elapsed() < PATIENCE, "the change does not arrive: {} {}", seen.status, seen.text());
            };
            (writing.join().unwrap(), live_after)
        });
        acknowledged.push(acknowledged_after);
        live.push(live_after);
    }
    println!("{writes} writes, SQLite, one node, nothing else going on");
    for (what, mut times) in [("write acknowledged", acknowledged), ("live in traffic", live)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("{what:20} p50 {:6.2} ms  p99 {:6.2} ms  max {:6.2} ms", at(0.5), at(0.99), at(1.0));
    }
    ExitCode::SUCCESS
}
