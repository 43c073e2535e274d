//! A control plane and nodes as real processes, on ports that they keep over a restart.

use super::{
    admin::{Admin, TOKEN},
    http::{Request, Response, send},
    ports,
    process::Process,
    wait::eventually,
};
use rustix::process::Signal;
use std::{net::SocketAddr, path::PathBuf, process::Command};
use tempfile::TempDir;

/// The token that all nodes of the tests join with.
pub(crate) const JOIN_TOKEN: &str = "a-join-token-for-tests";

/// A control plane.
pub(crate) struct ControlPlane {
    pub(crate) admin: Admin,
    pub(crate) discovery: SocketAddr,
    database: String,
    arguments: Vec<String>,
    // Before the folder, which holds its log, so that it is dropped first.
    process: Option<Process>,
    folder: TempDir,
}

/// A node.
pub(crate) struct Node {
    pub(crate) traffic: SocketAddr,
    pub(crate) status: SocketAddr,
    arguments: Vec<String>,
    join_token: String,
    // Before the folder, which holds its log, so that it is dropped first.
    process: Option<Process>,
    folder: TempDir,
}

/// A folder for a process's state and log.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("portico-test").tempdir().unwrap()
}

impl ControlPlane {
    /// Starts one on SQLite.
    pub(crate) fn start() -> ControlPlane {
        ControlPlane::start_with(&[])
    }

    /// The same with more settings.
    pub(crate) fn start_with(arguments: &[&str]) -> ControlPlane {
        let folder = folder();
        let database = format!("sqlite:{}", folder.path().join("portico.db").display());
        ControlPlane::start_in(folder, database, arguments)
    }

    /// Starts one on another database.
    pub(crate) fn start_on(database: String) -> ControlPlane {
        ControlPlane::start_in(folder(), database, &[])
    }

    fn start_in(folder: TempDir, database: String, arguments: &[&str]) -> ControlPlane {
        let (admin, discovery) = (Admin { address: ports::free() }, ports::free());
        let arguments = arguments.iter().map(|argument| argument.to_string()).collect();
        let mut control_plane = ControlPlane { admin, discovery, database, arguments, folder, process: None };
        control_plane.restart();
        control_plane
    }

    /// Starts it again, where it was.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.spawn();
        eventually("the control plane is ready", || {
            assert!(self.process().is_running(), "the control plane ended");
            let ready = send(self.admin.address, &Request::get("/readyz")).ok()?;
            (ready.status == 200).then_some(())
        });
    }

    /// Starts it again, and does not wait.
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico-control-plane"));
        command
            .args(["--admin-listen", &self.admin.address.to_string()])
            .args(["--discovery-listen", &self.discovery.to_string()])
            .args(["--database", &self.database])
            .arg("--data-dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .env("PORTICO_ADMIN_TOKEN", TOKEN)
            .env("PORTICO_JOIN_TOKEN", JOIN_TOKEN);
        self.process = Some(Process::start("control-plane", command, self.folder.path()));
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// A node of this control plane, ready.
    #[track_caller]
    pub(crate) fn node(&self) -> Node {
        let mut node = self.node_with(&[]);
        node.restart();
        node
    }

    /// A node of this control plane with more settings, not started.
    pub(crate) fn node_with(&self, arguments: &[&str]) -> Node {
        Node::of(&[&["--control-plane", &format!("http://{}", self.discovery)], arguments].concat())
    }
}

impl Node {
    /// A node with these settings beside the usual ones, not started.
    pub(crate) fn of(arguments: &[&str]) -> Node {
        Node {
            traffic: ports::free(),
            status: ports::free(),
            arguments: arguments.iter().map(|argument| argument.to_string()).collect(),
            join_token: JOIN_TOKEN.into(),
            folder: folder(),
            process: None,
        }
    }

    /// The same with another join token.
    pub(crate) fn with_join_token(mut self, token: &str) -> Node {
        self.join_token = token.into();
        self
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.spawn();
        eventually("the node is ready", || {
            assert!(self.process().is_running(), "the node ended");
            self.is_ready().then_some(())
        });
    }

    /// Starts it, and does not wait.
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico-node"));
        command
            .args(["--listen", &format!("http={}", self.traffic)])
            .args(["--status-listen", &self.status.to_string()])
            .arg("--data-dir")
            .arg(self.folder.path().join("state"))
            .args(&self.arguments)
            .env("PORTICO_SHUTDOWN_DELAY", "500ms")
            // A test that wants one, or more, says so by its argument.
            .env("PORTICO_ACCESS_LOG", "off")
            .env("PORTICO_WORKERS", "1")
            .env("PORTICO_JOIN_TOKEN", &self.join_token);
        self.process = Some(Process::start("node", command, self.folder.path()));
    }

    pub(crate) fn is_ready(&self) -> bool {
        send(self.status, &Request::get("/readyz")).is_ok_and(|response| response.status == 200)
    }

    /// What it counts now.
    pub(crate) fn metrics(&self) -> String {
        send(self.status, &Request::get("/metrics")).unwrap().text()
    }

    /// One request, on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request<'_>) -> Response {
        let sent = send(self.traffic, request);
        sent.unwrap_or_else(|error| panic!("failed to {} {}: {error}", request.method, request.target))
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Tells it to end in good order.
    pub(crate) fn terminate(&mut self) {
        self.process().signal(Signal::TERM);
    }

    /// Waits until it has ended by itself, and returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let code = self.process().wait().code();
        self.process = None;
        code
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default()
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }
}
