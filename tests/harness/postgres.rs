//! Postgres: a database a test on the server of tests/run, or a server of one's own that can be killed.

use super::{process::Process, wait::eventually};
use sqlx::{Connection, PgConnection};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A server that a test may kill.
pub(crate) struct Postgres {
    // Before the folder, which holds its data, so that it is dropped first.
    process: Option<Process>,
    folder: TempDir,
    binaries: PathBuf,
}

/// The folder of Postgres's programs, from tests/run or where packages put them; `None` where there is none, which
/// fails under tests/run.
pub(crate) fn binaries() -> Option<PathBuf> {
    let from_run = std::env::var_os("PORTICO_TEST_POSTGRES_BIN").map(PathBuf::from);
    let packaged = || {
        let entries = fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("bin")).collect();
        folders.sort();
        folders.into_iter().rev().find(|folder| folder.join("initdb").exists())
    };
    let found = from_run.or_else(packaged);
    let required = std::env::var_os("PORTICO_TEST_REQUIRE_POSTGRES").is_some();
    assert!(found.is_some() || !required, "there is no Postgres, and PORTICO_TEST_REQUIRE_POSTGRES asks for one");
    found
}

impl Postgres {
    /// Starts a server; `None` where there is no Postgres.
    pub(crate) fn start() -> Option<Postgres> {
        let Some(binaries) = binaries() else {
            eprintln!("skipped: there is no Postgres; tests/run brings one");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("portico-pg").tempdir_in("/tmp").unwrap();
        if let Some((user, group)) = postgres_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut postgres = Postgres { folder, binaries, process: None };
        let mut initdb = postgres.command("initdb");
        initdb.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let output = initdb.arg(postgres.data()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        postgres.restart();
        Some(postgres)
    }

    /// Where a control plane finds it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Runs a statement, and returns the one column of its rows.
    #[track_caller]
    pub(crate) fn ask(&self, statement: &'static str) -> Vec<i32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            sqlx::query_scalar(statement).fetch_all(&mut connection).await.unwrap()
        })
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Starts it, and waits until it takes connections.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let pid_file = self.data().join("postmaster.pid");
        eventually("Postgres starts", || {
            let process = self.process.get_or_insert_with(|| {
                let mut command = command(&self.binaries, "postgres", self.folder.path());
                command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
                command.args(["-c", "listen_addresses=", "-c", "max_connections=50"]);
                Process::start("postgres", command, self.folder.path())
            });
            // After a kill its old children may hold on for a moment, and the new server gives up.
            if !process.is_running() {
                self.process = None;
                return None;
            }
            let status = fs::read_to_string(&pid_file).ok()?;
            let mut lines = status.lines();
            let own = lines.next()?.trim() == process.id().to_string();
            (own && lines.nth(6)?.trim() == "ready").then_some(())
        });
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        command(&self.binaries, program, self.folder.path())
    }
}

fn command(binaries: &Path, program: &str, folder: &Path) -> Command {
    let mut command = Command::new(binaries.join(program));
    command.current_dir(folder);
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command
}

/// As whom Postgres runs, when we are root, as whom it refuses to.
fn postgres_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("root needs a user named postgres");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}
