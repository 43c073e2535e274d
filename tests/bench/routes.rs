//! What a thousand routes cost: user-space instructions a request with one route and with many, counted by valgrind.
//!
//! Two runs that differ only in their number of requests take the start out; the count hardly depends on the machine or
//! on what else it does. The request is for the last route.

use crate::harness::{
    http::{Connection, Request},
    ports,
    process::Process,
    stack::folder,
    upstream::Upstream,
    wait::within,
};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    process::{Command, ExitCode},
    time::Duration,
};

const FEW: u64 = 2_000;
const MANY: u64 = 12_000;
const CONNECTIONS: usize = 16;

/// Everything is many times slower under valgrind.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(routes: usize) -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not there; install it (Debian and Ubuntu: apt-get install valgrind)");
        return ExitCode::FAILURE;
    }
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec());
    let mut costs = Vec::new();
    for count in [1, routes] {
        let instructions = |requests| instructions(count, requests, upstream.address);
        let cost = (instructions(MANY) - instructions(FEW)) as f64 / (MANY - FEW) as f64;
        println!("{count:6} routes: {cost:8.0} instructions a request");
        costs.push(cost);
    }
    println!("{:+.2} %", (costs[1] / costs[0] - 1.0) * 100.0);
    ExitCode::SUCCESS
}

/// All instructions of a node that has so many routes and answers so many requests for the last of them.
fn instructions(routes: usize, requests: u64, upstream: SocketAddr) -> u64 {
    let folder = folder();
    let configuration = json!({
        "upstreams": [{"name": "all", "endpoints": [{"address": upstream.to_string()}]}],
        "routes": (0..routes).map(|number| json!({"name": format!("route-{number}"),
            "match": {"path": {"prefix": path(number)}}, "forward": {"upstream": "all"}}))
            .collect::<Vec<_>>(),
    });
    let file = folder.path().join("portico.json");
    fs::write(&file, configuration.to_string()).unwrap();
    let (traffic, status) = (ports::free(), ports::free());
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(env!("CARGO_BIN_EXE_portico-node"))
        .args(["--listen", &format!("http={traffic}"), "--status-listen", &status.to_string(), "--workers", "1"])
        .args(["--access-log", "/dev/null", "--shutdown-delay", "0s", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("state"));
    let mut process = Process::start("node", command, folder.path());
    within(PATIENCE, "the node is ready", || {
        assert!(process.is_running(), "the node ended: {}", process.log());
        let ready = crate::harness::http::send(status, &Request::get("/readyz")).ok()?;
        (ready.status == 200).then_some(())
    });
    let target = format!("{}/x", path(routes - 1));
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(traffic).unwrap()).collect();
    for number in 0..requests as usize {
        let response = connections[number % CONNECTIONS].send(&Request::get(&target)).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    drop(connections);
    process.signal(Signal::TERM);
    assert!(process.wait().success(), "{}", process.log());
    let log = process.log();
    let line =
        log.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:")).expect("valgrind counts");
    let digits: String = line.split(':').next_back().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// A route's path: as long as any other's, so that only their number counts.
fn path(number: usize) -> String {
    format!("/svc{number:06}/api")
}
