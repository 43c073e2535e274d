//! What many API keys need on a node: the memory of its whole process with them and without, as they came by one change
//! after another, and after it was started again from its disk; and how long the start takes.

use crate::harness::{
    http::Request,
    stack::{ControlPlane, Node},
    wait::{eventually, within},
};
use serde_json::{Value, json};
use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How many keys one write brings.
const AT_ONCE: usize = 20_000;

/// A start with many of them takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(consumers: usize, each: usize) -> ExitCode {
    let control_plane = ControlPlane::start_with(&["--max-body", "64MiB"]);
    let mut node = control_plane.node();
    let route = json!({"name": "all", "respond": {}, "policies": [{"api_key": {}}]});
    let body = json!({"routes": [route], "consumers": [{"name": "known"}]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let made = control_plane.admin.ok("POST", "/v1/consumers/known/credentials?wait=all", Some(&json!({})));
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(status(&node, &key), 200);
    let before = resident(&mut node);

    let numbers: Vec<usize> = (0..consumers).collect();
    for part in numbers.chunks((AT_ONCE / each).max(1)) {
        let part: Vec<Value> = part.iter().map(|at| consumer(*at, each)).collect();
        let written =
            control_plane.admin.ok("POST", "/v1/apply?wait=all&timeout=60s", Some(&json!({ "consumers": part })));
        assert_eq!(written.status, 200, "{}", written.text());
    }
    assert_eq!(status(&node, &key), 200);
    let after = resident(&mut node);
    within(PATIENCE, "the revision is on the node's disk", || {
        control_plane.admin.get("/v1/nodes")["nodes"][0]["running"]["persisted"].as_bool().filter(|is| *is)
    });
    node.kill();
    let begun = Instant::now();
    node.spawn();
    within(PATIENCE, "the node is ready", || node.is_ready().then_some(()));
    let started = begun.elapsed();
    assert_eq!(status(&node, &key), 200);
    let again = eventually("it takes part again", || {
        let nodes = control_plane.admin.get("/v1/nodes");
        let mut nodes = nodes["nodes"].as_array()?.iter();
        nodes.any(|node| node["connected"] == true).then(|| resident(&mut node))
    });
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("{consumers} consumers with {each} keys each, SQLite, one node with one worker");
    println!("without them       {:>8.1} MB", megabytes(before));
    for (what, bytes) in [("as they came", after), ("after a restart", again)] {
        println!("{what:<18} {:>8.1} MB, {:>8.1} MB more", megabytes(bytes), megabytes(bytes.saturating_sub(before)));
    }
    println!("ready after {:.1} s", started.as_secs_f64());
    ExitCode::SUCCESS
}

fn status(node: &Node, key: &str) -> u16 {
    node.send(&Request { headers: &[("x-api-key", key)], ..Request::get("/") }).status
}

fn consumer(at: usize, each: usize) -> Value {
    let credential = |number: usize| json!({"id": format!("key-{number}"), "api_key": {"digest": digest(at, number)}});
    json!({"name": format!("consumer-{at}"), "credentials": (0..each).map(credential).collect::<Vec<_>>()})
}

// Of no key; as evenly spread as one.
fn digest(consumer: usize, number: usize) -> String {
    let mut seed = (consumer as u64) << 32 | number as u64;
    let mut next = || {
        // SplitMix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    (0..4).map(|_| format!("{:016x}", next())).collect()
}

fn resident(node: &mut Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
