//! The command line, as a person and a script meet it.

use crate::harness::{
    admin::TOKEN,
    stack::{ControlPlane, folder},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

struct Cli<'a> {
    control_plane: &'a ControlPlane,
    folder: &'a Path,
}

impl Cli<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .args(arguments)
            .current_dir(self.folder)
            .env("PORTICO_SERVER", format!("http://{}", self.control_plane.admin.address))
            .env("PORTICO_TOKEN", TOKEN);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ORDERS: &str = "
upstreams:
- name: orders
  labels: {team: pay}
  endpoints: [{address: \"127.0.0.1:9\"}]
routes:
- name: orders
  labels: {team: pay}
  match: {path: {prefix: /orders}}
  forward: {upstream: orders}
";

#[test]
fn files_are_applied_compared_and_pruned() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let cli = Cli { control_plane: &control_plane, folder: folder.path() };
    fs::create_dir(folder.path().join("conf")).unwrap();
    fs::write(folder.path().join("conf/orders.yaml"), ORDERS).unwrap();
    let hello =
        json!({"routes": [{"name": "hello", "match": {"path": {"exact": "/hello"}}, "respond": {"body": "hi"}}]});
    fs::write(folder.path().join("conf/hello.json"), hello.to_string()).unwrap();
    fs::write(folder.path().join("conf/notes.txt"), "not a configuration").unwrap();

    let dry = cli.run(&["apply", "-f", "conf", "--dry-run"]);
    assert!(stdout(&dry).contains("+ route/hello") && stderr(&dry).contains("nothing was changed"), "{dry:?}");
    let drift = cli.run(&["diff", "-f", "conf", "--exit-code"]);
    assert_eq!(drift.status.code(), Some(1));
    assert!(stdout(&drift).contains("+ upstream/orders"), "{drift:?}");
    assert_eq!(cli.ok(&["get", "routes"]).lines().count(), 1);

    let applied = cli.run(&["apply", "-f", "conf", "--reason", "first", "--wait", "all"]);
    assert!(applied.status.success(), "{}", stderr(&applied));
    assert_eq!(stdout(&applied), "+ route/hello\n+ route/orders\n+ upstream/orders\n");
    assert!(stderr(&applied).contains("revision 1"), "{}", stderr(&applied));
    assert_eq!(cli.run(&["diff", "-f", "conf", "--exit-code"]).status.code(), Some(0));
    assert!(stderr(&cli.run(&["apply", "-f", "conf"])).contains("nothing had to be changed"));

    // What `export` prints, `apply` takes.
    let exported = cli.ok(&["export"]);
    let again = cli.run_with(&["apply", "-f", "-", "--prune"], &exported);
    assert!(stderr(&again).contains("nothing had to be changed"), "{}", stderr(&again));
    let exported: Value = serde_json::from_str(&cli.ok(&["export", "-o", "json"])).unwrap();
    assert_eq!(exported["routes"].as_array().unwrap().len(), 2);

    let changed = ORDERS.replace("/orders}", "/orders/v2}");
    let difference = cli.run_with(&["diff", "-f", "-"], &changed);
    assert!(stdout(&difference).contains("~ route/orders"), "{difference:?}");
    assert!(stdout(&difference).lines().any(|line| line.trim_start().starts_with("- ") && line.contains("/orders")));
    let pruned = cli.run_with(&["apply", "-f", "-", "--prune"], &changed);
    assert_eq!(stdout(&pruned), "~ route/orders\n- route/hello\n", "{}", stderr(&pruned));

    let listed = cli.ok(&["revisions"]);
    assert!(listed.contains("first") && listed.lines().count() >= 3, "{listed}");
    assert!(cli.ok(&["revisions", "1", "--diff", "2"]).contains("- route/hello"));
    assert!(cli.ok(&["revisions", "1", "--restore"]).contains("+ route/hello"));
    assert_eq!(cli.ok(&["get", "route", "hello", "-o", "json"]).parse::<Value>().unwrap()["respond"]["body"], "hi");
}

#[test]
fn a_refused_configuration_is_shown_with_every_place() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let cli = Cli { control_plane: &control_plane, folder: folder.path() };
    fs::write(folder.path().join("a.yaml"), ORDERS).unwrap();
    fs::write(
        folder.path().join("b.yaml"),
        "routes: [{name: x, respond: {statsu: 1}}, {name: y, forward: {upstream: order}}]",
    )
    .unwrap();
    let refused = cli.run(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    let text = stderr(&refused);
    assert!(text.contains("b.yaml: /routes/0/respond/statsu: ") && text.contains("did you mean \"status\"?"), "{text}");
    assert!(text.contains("b.yaml: /routes/1/forward/upstream: "), "{text}");
    assert_eq!(stdout(&refused), "");

    let odd = cli.run_with(&["apply", "-f", "-"], "routes: [{");
    assert_eq!(odd.status.code(), Some(78), "{}", stderr(&odd));
}

#[test]
fn exit_codes_tell_scripts_what_happened() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let cli = Cli { control_plane: &control_plane, folder: folder.path() };
    assert_eq!(cli.run(&["--version"]).status.code(), Some(0));
    assert_eq!(cli.run(&["apply"]).status.code(), Some(2));
    assert_eq!(cli.run(&["get", "things"]).status.code(), Some(2));
    assert_eq!(cli.run(&["get", "route", "none"]).status.code(), Some(1));
    assert_eq!(cli.run(&["delete", "route", "none"]).status.code(), Some(1));
    assert_eq!(cli.run(&["--server", "http://127.0.0.1:1", "nodes"]).status.code(), Some(1));
    let ready = format!("http://{}/readyz", control_plane.admin.address);
    assert_eq!(cli.run(&["healthcheck", "--url", &ready]).status.code(), Some(0));
    assert_eq!(cli.run(&["healthcheck", "--url", "http://127.0.0.1:1/readyz"]).status.code(), Some(1));
    assert!(cli.ok(&["completions", "bash"]).contains("portico"));
}

#[test]
fn a_wrong_token_is_told_and_not_repeated() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let cli = Cli { control_plane: &control_plane, folder: folder.path() };
    fs::write(folder.path().join("token"), "hush-hush\n").unwrap();
    for arguments in [&["--token", "hush-hush", "nodes"][..], &["--token", "hush\nhush", "nodes"]] {
        let refused = cli.run(arguments);
        assert!(!refused.status.success() && !stderr(&refused).contains("hush"), "{}", stderr(&refused));
    }
}

#[test]
fn nodes_are_listed_with_what_they_run() {
    let control_plane = ControlPlane::start();
    let _node = control_plane.node();
    let folder = folder();
    let cli = Cli { control_plane: &control_plane, folder: folder.path() };
    let listed = cli.ok(&["nodes"]);
    assert!(listed.lines().nth(1).is_some_and(|line| line.contains("live")), "{listed}");
    let nodes: Value = serde_json::from_str(&cli.ok(&["nodes", "-o", "json"])).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1);
}
