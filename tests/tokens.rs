//! Admin tokens and the audit, as people and scripts meet them on the command line.

use crate::harness::{
    admin::TOKEN,
    http::{Request, send},
    stack::{ControlPlane, folder},
    wait::eventually,
};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const HELLO: &str = "routes: [{name: hello, match: {path: {exact: /hello}}, respond: {body: hi}}]";

/// Runs `portico` with a token.
fn portico(folder: &Path, control_plane: &ControlPlane, token: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command.args(arguments).current_dir(folder);
    command.env("PORTICO_SERVER", format!("http://{}", control_plane.admin.address)).env("PORTICO_TOKEN", token);
    command.output().unwrap()
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, says: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && told.contains(says), "{:?} {told}", output.status);
}

/// What a control plane answers to a list of routes.
fn status(control_plane: &ControlPlane, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let request = Request { method: "GET", target: "/v1/routes", host: "admin.test", headers: &headers, body: b"" };
    send(control_plane.admin.address, &request).unwrap().status
}

#[test]
fn a_token_of_a_role_does_what_the_role_may_and_the_audit_tells() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    fs::write(folder.path().join("hello.yaml"), HELLO).unwrap();
    let run = |token: &str, arguments: &[&str]| portico(folder.path(), &control_plane, token, arguments);

    let editor = run(TOKEN, &["tokens", "create", "deploy", "--role", "editor", "--expires-in", "90d"]);
    let told = String::from_utf8_lossy(&editor.stderr).into_owned();
    let editor = out(&editor).trim().to_owned();
    assert!(editor.starts_with("portico_") && editor.len() == 57 && !told.contains(&editor), "{editor} {told}");
    let viewer = out(&run(TOKEN, &["tokens", "create", "look", "--role", "viewer", "-o", "json"]));
    let viewer: Value = serde_json::from_str(&viewer).unwrap();
    let viewer = viewer["token"].as_str().unwrap();

    let applied = run(&editor, &["apply", "-f", "hello.yaml", "--reason", "say hello"]);
    assert_eq!(out(&applied), "+ route/hello\n");
    fails(&run(viewer, &["delete", "route", "hello"]), 1, "needs the role editor");
    fails(&run(&editor, &["tokens", "list"]), 1, "needs the role admin");
    fails(&run(&editor, &["audit"]), 1, "needs the role admin");
    fails(&run(TOKEN, &["tokens", "create", "Bad", "--role", "boss"]), 78, "/role");
    assert!(out(&run(viewer, &["get", "routes"])).contains("hello"));

    let listed = out(&run(TOKEN, &["tokens", "list"]));
    assert!(listed.contains("deploy") && listed.contains("bootstrap") && !listed.contains("portico_"), "{listed}");
    let audit = out(&run(TOKEN, &["audit"]));
    let line = audit.lines().nth(1).unwrap();
    for part in ["deploy", "127.0.0.1", "+ route/hello", "say hello"] {
        assert!(line.contains(part), "{part}: {audit}");
    }
    let found = out(&run(TOKEN, &["audit", "--resource", "route/hello", "-o", "json"]));
    let found: Value = serde_json::from_str(&found).unwrap();
    let (line, alone) = (&found["audit"][0], &found["audit"][1]);
    assert_eq!((line["actor"].as_str(), line["role"].as_str()), (Some("deploy"), Some("editor")));
    assert_eq!((line["path"].as_str(), line["revision"].as_u64(), alone), (Some("/v1/apply"), Some(1), &Value::Null));
    assert!(out(&run(TOKEN, &["revisions"])).contains("deploy"));

    run(TOKEN, &["tokens", "delete", "deploy"]);
    fails(&run(&editor, &["get", "routes"]), 1, "no such token");
    fails(&run(TOKEN, &["tokens", "delete", "deploy"]), 1, "no token named");
}

#[test]
fn a_token_ends_on_every_control_plane_and_outlives_their_restart() {
    let database_folder = folder();
    let database = format!("sqlite:{}", database_folder.path().join("shared.db").display());
    let mut here = ControlPlane::start_on(database.clone());
    let there = ControlPlane::start_on(database);
    let folder = folder();
    let made = out(&portico(folder.path(), &here, TOKEN, &["tokens", "create", "ci", "--role", "viewer"]));
    let token = made.trim();
    assert_eq!(status(&here, token), 200);
    eventually("the other control plane knows it", || (status(&there, token) == 200).then_some(()));

    here.kill();
    here.restart();
    assert_eq!(status(&here, token), 200);

    out(&portico(folder.path(), &there, TOKEN, &["tokens", "delete", "ci"]));
    assert_eq!(status(&there, token), 401);
    eventually("the other control plane refuses it", || (status(&here, token) == 401).then_some(()));
}
