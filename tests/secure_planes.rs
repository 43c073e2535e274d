//! TLS between the planes and to administrators, by one flag: who is let in, and what is said to who is not.

use crate::harness::{
    admin::TOKEN,
    http::{Request, send},
    ports,
    process::Process,
    stack::{JOIN_TOKEN, Node, folder},
    wait::eventually,
};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

/// A control plane with an authority of its own.
pub(crate) struct Secure {
    admin: SocketAddr,
    discovery: SocketAddr,
    // Before the folder, which holds its log, so that it is dropped first.
    process: Process,
    folder: TempDir,
}

impl Secure {
    pub(crate) fn start(more: &[&str]) -> Secure {
        let (admin, discovery, folder) = (ports::free(), ports::free(), folder());
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico-control-plane"));
        command.args(["--admin-listen", &admin.to_string(), "--discovery-listen", &discovery.to_string()]);
        command.arg("--data-dir").arg(folder.path().join("data")).arg("--tls-ca-dir").arg(folder.path().join("ca"));
        command.args(more).env("PORTICO_ADMIN_TOKEN", TOKEN).env("PORTICO_JOIN_TOKEN", JOIN_TOKEN);
        let process = Process::start("control-plane", command, folder.path());
        let secure = Secure { admin, discovery, process, folder };
        let url = format!("https://{admin}/readyz");
        eventually("the control plane is ready", || {
            secure.portico(&["healthcheck", "--url", &url]).status.success().then_some(())
        });
        secure
    }

    /// What its own program says of its health.
    fn is_healthy(&self) -> bool {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico-control-plane"));
        command.args(["--admin-listen", &self.admin.to_string(), "--tls-ca-dir"]);
        command.arg(self.folder.path().join("ca")).arg("healthcheck");
        command.output().unwrap().status.success()
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca/ca.pem")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command.args(arguments).current_dir(self.folder.path()).env("PORTICO_TOKEN", TOKEN);
        command.env("PORTICO_SERVER", format!("https://{}", self.admin)).env("PORTICO_CA", self.ca());
        command
    }

    pub(crate) fn portico(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], says: &str) {
        let output = self.portico(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(says), "{arguments:?}: {told}");
    }

    /// Makes a route that all nodes run.
    #[track_caller]
    pub(crate) fn route(&self, name: &str) {
        let file = self.folder.path().join("routes.yaml");
        let text =
            format!("routes:\n- name: {name}\n  match: {{path: {{exact: /{name}}}}}\n  respond: {{body: {name}}}\n");
        fs::write(&file, text).unwrap();
        let applied = self.portico(&["apply", "-f", file.to_str().unwrap(), "--wait", "all"]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    pub(crate) fn node(&self) -> Node {
        self.node_at(&format!("https://{}", self.discovery))
    }

    fn node_at(&self, url: &str) -> Node {
        Node::of(&["--control-plane", url, "--control-plane-ca", self.ca().to_str().unwrap()])
    }
}

fn credential(node: &Node) -> Vec<u8> {
    fs::read(node.state().join("credential.pem")).unwrap()
}

#[test]
fn a_node_joins_with_the_token_and_from_then_on_shows_its_certificate() {
    let secure = Secure::start(&[]);
    assert!(secure.is_healthy());
    let mut node = secure.node();
    node.restart();
    secure.route("a");
    assert_eq!(node.get("/a").text(), "a");
    let mode = fs::metadata(node.state().join("credential.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // It needs no token any more.
    let before = credential(&node);
    node.kill();
    node = node.with_join_token("not-the-token");
    node.restart();
    secure.route("b");
    assert_eq!(node.get("/b").text(), "b");
    assert_eq!(credential(&node), before);
}

#[test]
fn nobody_is_let_in_without_a_token_or_with_the_certificate_of_another() {
    let secure = Secure::start(&[]);
    let mut node = secure.node();
    node.restart();
    secure.route("a");

    let mut stranger = secure.node().with_join_token("not-the-token");
    stranger.spawn();
    eventually("the stranger is refused", || stranger.log().contains("join token").then_some(()));

    let mut thief = secure.node().with_join_token("not-the-token");
    fs::create_dir_all(thief.state()).unwrap();
    fs::write(thief.state().join("credential.pem"), credential(&node)).unwrap();
    thief.spawn();
    eventually("the thief is refused", || thief.log().contains("certificate is that of another node").then_some(()));

    for refused in [&stranger, &thief] {
        assert!(!refused.is_ready());
        assert!(send(refused.traffic, &Request::get("/a")).is_ok_and(|response| response.status != 200));
    }
    assert_eq!(node.get("/a").text(), "a");
}

#[test]
fn a_certificate_is_renewed_before_it_ends() {
    let secure = Secure::start(&["--node-certificate-life", "5s"]);
    let mut node = secure.node();
    node.restart();
    for name in ["a", "b"] {
        let before = credential(&node);
        eventually("the certificate is renewed", || (credential(&node) != before).then_some(()));
        secure.route(name);
        eventually("it runs the route", || (node.get(&format!("/{name}")).text() == name).then_some(()));
    }
}

#[test]
fn failures_of_tls_say_what_to_do() {
    let secure = Secure::start(&[]);
    let (admin, other) = (secure.admin, Secure::start(&[]));
    let other_ca = other.ca();
    secure.fails(&["nodes", "--ca", other_ca.to_str().unwrap()], "give the control plane's ca.pem");
    secure.fails(&["nodes", "--server", &format!("http://{admin}")], "write https:// in the URL");

    let mut plain = Node::of(&["--control-plane", &format!("http://{}", secure.discovery)]);
    plain.spawn();
    eventually("the node tells that it is not let in", || plain.log().contains("no control plane").then_some(()));
    let mut wrong = Node::of(&[
        "--control-plane",
        &format!("https://{}", secure.discovery),
        "--control-plane-ca",
        other_ca.to_str().unwrap(),
    ]);
    wrong.spawn();
    eventually("the node tells what is missing", || wrong.log().contains("--control-plane-ca").then_some(()));
    assert!(!plain.is_ready() && !wrong.is_ready());

    // The reverse: TLS spoken to who does not speak it.
    let status = plain.status;
    secure.fails(&["nodes", "--server", &format!("https://{status}")], "write http:// in the URL");
}

#[test]
fn cleartext_beyond_loopback_is_refused() {
    let folder = folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico-control-plane"));
    command.args(["--admin-listen", "127.0.0.1:0", "--discovery-listen", "0.0.0.0:0"]);
    let mut process = Process::start("control-plane", command.arg("--data-dir").arg(folder.path()), folder.path());
    assert!(!process.wait().success());
    assert!(process.log().contains("--discovery-tls-cert"), "{}", process.log());
}
