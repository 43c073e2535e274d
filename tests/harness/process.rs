//! A program under test: started with nothing of our environment, ended with its owner, its log shown when a test fails.

use super::wait::{PATIENCE, within};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// The most bytes of a log that a failing test shows.
const MOST_LOG: usize = 8 * 1024;

/// A running program.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program, its standard output and error going to the end of a file in a folder.
    pub(crate) fn start(name: &str, mut command: impl std::borrow::BorrowMut<Command>, folder: &Path) -> Process {
        let command = command.borrow_mut();
        for (variable, _) in
            std::env::vars().filter(|(variable, _)| variable.starts_with("PORTICO_") || variable.starts_with("OTEL_"))
        {
            if command.get_envs().all(|(set, _)| set.to_str() != Some(&variable)) {
                command.env_remove(variable);
            }
        }
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        Process { name: name.into(), child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id() as i32).expect("a child has a process id");
        kill_process(id, signal).unwrap_or_else(|error| panic!("failed to signal {}: {error}", self.name));
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        within(PATIENCE * 2, &format!("{name} ends"), || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().map(|(at, _)| at).find(|at| log.len() - at <= MOST_LOG).unwrap_or(0);
            eprintln!("--- the end of {}'s log ---\n{}", self.name, &log[from..]);
        }
    }
}
