//! A node needs nobody to start: it boots from its disk, or from a file.

use crate::harness::{
    http::{Request, send},
    postgres::Postgres,
    process::Process,
    stack::{ControlPlane, JOIN_TOKEN, Node, folder},
    upstream::Upstream,
    wait::eventually,
};
use rustix::process::Signal;
use serde_json::json;
use std::{fs, process::Command};

#[test]
fn a_node_boots_with_the_control_plane_and_the_database_off() {
    let Some(mut postgres) = Postgres::start() else { return };
    let mut control_plane = ControlPlane::start_on(postgres.url());
    let mut node = control_plane.node();
    let echo = Upstream::echo("orders");
    control_plane.admin.route("orders", "/orders", echo.address);
    let of_nodes = control_plane.admin.get("/v1/nodes");
    let id = of_nodes["nodes"][0]["id"].clone();
    eventually("the revision is on the node's disk", || {
        control_plane.admin.get("/v1/nodes")["nodes"][0]["running"]["persisted"].as_bool().filter(|is| *is)
    });

    control_plane.kill();
    postgres.kill();
    node.kill();
    node.restart();
    assert_eq!(node.get("/orders/1").json()["upstream"], "orders");

    // Once they are back, it is the same node, and in sync.
    postgres.restart();
    control_plane.restart();
    eventually("the node is in sync", || {
        let nodes = control_plane.admin.get("/v1/nodes");
        let node = nodes["nodes"].as_array()?.iter().find(|node| node["connected"] == true)?.clone();
        (node["id"] == id && node["running"]["revision"] == 2).then_some(())
    });
    let other = Upstream::echo("other");
    control_plane.admin.route("other", "/other", other.address);
    assert_eq!(node.get("/other").json()["upstream"], "other");
}

#[test]
fn a_damaged_configuration_on_disk_is_not_run() {
    let mut control_plane = ControlPlane::start();
    let mut node = control_plane.node();
    let body = json!({"match": {"path": {"exact": "/a"}}, "respond": {"body": "a"}});
    control_plane.admin.put("/v1/routes/a?wait=all", &body);
    eventually("the revision is on the node's disk", || {
        let running = control_plane.admin.get("/v1/nodes")["nodes"][0]["running"].clone();
        (running["revision"] == 1 && running["persisted"] == true).then_some(())
    });
    node.kill();
    control_plane.kill();
    let kept = files_below(&node.state()).into_iter().filter(|path| fs::metadata(path).unwrap().len() > 64);
    for path in kept {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    node.spawn();
    eventually("the damage is told", || node.log().contains("damaged").then_some(()));
    eventually("the node answers", || {
        send(node.status, &Request::get("/livez")).ok().filter(|live| live.status == 200)
    });
    assert!(!node.is_ready());
    control_plane.restart();
    eventually("the node is ready", || node.is_ready().then_some(()));
    assert_eq!(node.get("/a").text(), "a");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn a_node_runs_from_a_file_and_reads_it_again_on_sighup() {
    let folder = folder();
    let file = folder.path().join("portico.yaml");
    let write = |body: &str| {
        let text = format!("routes:\n- name: a\n  match: {{path: {{exact: /a}}}}\n  respond: {{body: {body}}}\n");
        fs::write(&file, text).unwrap();
    };
    write("one");
    let mut node = Node::of(&["--config", file.to_str().unwrap()]);
    node.restart();
    assert_eq!(node.get("/a").text(), "one");

    write("two");
    node.process().signal(Signal::HUP);
    eventually("the file is read again", || (node.get("/a").text() == "two").then_some(()));

    // A bad file is told and changes nothing.
    fs::write(&file, "routes: [{name: a, respond: {bdy: three}}]").unwrap();
    node.process().signal(Signal::HUP);
    eventually("the fault is told", || node.process().log().contains("bdy").then_some(()));
    assert_eq!(node.get("/a").text(), "two");
}

#[test]
fn a_node_does_not_start_on_a_bad_file() {
    let folder = folder();
    let file = folder.path().join("portico.yaml");
    fs::write(&file, "routes: [{name: a, match: {path: {exact: a}}, respond: {}}]").unwrap();
    let mut node = Node::of(&["--config", file.to_str().unwrap()]);
    node.spawn();
    let log = node.process().log();
    assert_eq!(node.wait(), Some(78), "{log}");
}

#[test]
fn two_nodes_do_not_share_a_data_directory() {
    let control_plane = ControlPlane::start();
    let first = control_plane.node();
    let folder = folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico-node"));
    command.args(["--listen", "http=127.0.0.1:0", "--status-listen", "127.0.0.1:0", "--data-dir"]).arg(first.state());
    command.args(["--control-plane", &format!("http://{}", control_plane.discovery), "--join-token", JOIN_TOKEN]);
    let mut second = Process::start("second", command, folder.path());
    assert!(!second.wait().success());
    assert!(second.log().contains("another"), "{}", second.log());
    assert!(first.is_ready());
}
