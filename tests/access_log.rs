//! The access log says what its policy says, and no request waits for it: not for a pipe that nobody reads, not for a
//! disk that is full.

use crate::harness::{
    http::{Connection, Request},
    stack::{ControlPlane, Node, folder},
    wait::eventually,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::{Value, json};
use std::{fs::File, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

/// Long, so that a line is long.
const PATH_LENGTH: usize = 4000;
/// More lines than the node keeps for a writer that does not keep up.
const MANY: usize = 2000;
/// What the resident memory may differ by for other reasons.
const FLAT: u64 = 4 * 1024 * 1024;

// A node that answers everything, and logs there.
fn node(control_plane: &ControlPlane, log: &Path, policies: Value) -> Node {
    let body = json!({"routes": [{"name": "all", "respond": {"body": "here"}, "policies": policies}]});
    control_plane.admin.ok("POST", "/v1/apply", Some(&body));
    let mut node = control_plane.node_with(&["--access-log", log.to_str().unwrap()]);
    node.restart();
    node
}

fn ask(node: &Node, times: usize, path: &str) {
    let mut client = Connection::open(node.traffic).unwrap();
    for _ in 0..times {
        assert_eq!(client.send(&Request::get(path)).unwrap().status, 200);
    }
}

fn dropped(node: &Node) -> u64 {
    let metrics = node.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("portico_log_dropped_total "));
    line.unwrap().parse().unwrap()
}

fn resident(node: &mut Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.process().id())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn the_policy_says_what_is_logged() {
    let control_plane = ControlPlane::start();
    let (folder, log) = (folder(), "access.log");
    let log = folder.path().join(log);
    let text = "{http.request.method} {url.path} {http.response.status_code} {http.request.header.x-tenant}";
    let mut node = node(&control_plane, &log, json!([{"access_log": {"text": {"format": text}}}]));
    node.send(&Request { headers: &[("x-tenant", "acme"), ("cookie", "hush")], ..Request::get("/a?hush") });
    let silent = json!({"match": {}, "respond": {}, "policies": [{"access_log": {"off": {}}}]});
    control_plane.admin.put("/v1/routes/all?wait=all", &silent);
    node.get("/b");
    let told = json!({"match": {}, "respond": {}, "policies": [{"access_log": {"fields": ["url.path", "route"]}}]});
    control_plane.admin.put("/v1/routes/all?wait=all", &told);
    node.get("/c");
    node.terminate();
    assert_eq!(node.wait(), Some(0));
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!(lines, "GET /a 200 acme\n{\"url.path\":\"/c\",\"route\":\"all\"}\n");

    let wrong = json!({"access_log": {"fields": ["url.pth"], "request_headers": ["authorization"]}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/wrong", Some(&wrong));
    let errors = refused.json()["errors"].clone();
    let told: Vec<(&str, &str)> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["pointer"].as_str().unwrap(), error["detail"].as_str().unwrap()))
        .collect();
    let [(field, meant), (header, credential)] = told[..] else { panic!("{errors}") };
    assert_eq!((field, header), ("/access_log/fields/0", "/access_log/request_headers/0"));
    assert!(meant.contains("did you mean \"url.path\"?") && credential.contains("credential"), "{errors}");
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    // There is somebody at the other end, who does not read. Without waiting for the node, which comes later.
    let mut reader = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&pipe).unwrap();
    let mut node = node(&control_plane, &pipe, json!([]));
    let path = format!("/{}", "x".repeat(PATH_LENGTH));
    eventually("lines are dropped", || {
        ask(&node, MANY / 4, &path);
        (dropped(&node) > 0).then_some(())
    });
    let (before, lost) = (resident(&mut node), dropped(&node));
    ask(&node, MANY, &path);
    let after = resident(&mut node);
    assert!(after < before + FLAT, "{before} bytes became {after}");
    eventually("lines are counted", || (dropped(&node) > lost + MANY as u64 / 2).then_some(()));

    // What was kept is whole, and the node ends all the same.
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).unwrap();
    let read = std::thread::spawn(move || {
        let mut lines = String::new();
        reader.read_to_string(&mut lines).unwrap();
        lines
    });
    node.terminate();
    assert_eq!(node.wait(), Some(0));
    let lines = read.join().unwrap();
    assert!(lines.lines().count() > 100);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["url.path"], path.as_str());
    }
}

#[test]
fn a_full_disk_holds_up_nobody() {
    let control_plane = ControlPlane::start();
    let mut node = node(&control_plane, Path::new("/dev/full"), json!([]));
    for n in 1..=3 {
        ask(&node, 100, "/");
        eventually("all lines are counted", || (dropped(&node) == n * 100).then_some(()));
    }
    assert_eq!(node.log().matches("failed to write the access log").count(), 1, "{}", node.log());
    node.terminate();
    assert_eq!(node.wait(), Some(0));
}
