//! Prometheus, as the system's package has it: one that scrapes what it is told to, and its judgement of a page.

use super::{
    http::{Request, send},
    ports,
    process::Process,
    stack::folder,
    wait::eventually,
};
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A running Prometheus.
pub(crate) struct Prometheus {
    address: SocketAddr,
    // Before the folder, which holds its data, so that it is dropped first.
    process: Process,
    _folder: TempDir,
}

/// Where a program of the package is; `None` where it is not, which fails under tests/run.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    let required = std::env::var_os("PORTICO_TEST_REQUIRE_PROMETHEUS").is_some();
    assert!(found.is_some() || !required, "there is no {name}, and PORTICO_TEST_REQUIRE_PROMETHEUS asks for one");
    if found.is_none() {
        eprintln!("skipped: there is no {name}; tests/run brings one");
    }
    found
}

impl Prometheus {
    /// Starts one that scrapes these, by the names of their jobs, again and again.
    pub(crate) fn start(jobs: &[(&str, SocketAddr)]) -> Option<Prometheus> {
        let program = program("prometheus")?;
        let folder = folder();
        let mut config = String::from("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n");
        for (job, address) in jobs {
            writeln!(config, "  - {{job_name: {job}, static_configs: [{{targets: [\"{address}\"]}}]}}").unwrap();
        }
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let address = ports::free();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let process = Process::start("prometheus", command, folder.path());
        Some(Prometheus { address, process, _folder: folder })
    }

    /// What an expression comes to, as soon as it is that.
    #[track_caller]
    pub(crate) fn expect(&mut self, expression: &str, expect: f64) {
        let what = format!("{expression} is {expect}");
        eventually(&what, || {
            assert!(self.process.is_running(), "Prometheus ended: {}", self.process.log());
            (self.query(expression)? == expect).then_some(())
        });
    }

    // The value of the one series that an expression yields.
    fn query(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = send(self.address, &Request::get(&format!("/api/v1/query?query={encoded}"))).ok()?;
        if answer.status != 200 {
            return None;
        }
        let answer = answer.json();
        let result = answer["data"]["result"].as_array().expect("an expression yields series");
        assert!(result.len() < 2, "{expression} yields more than one series: {result:?}");
        result.first()?["value"][1].as_str()?.parse().ok()
    }
}

/// Has a page judged; panics at what Prometheus's own tool does not like.
#[track_caller]
pub(crate) fn judge(page: &str) {
    let Some(program) = program("promtool") else { return };
    let mut tool = Command::new(program);
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().unwrap();
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool says:\n{}\nof:\n{page}", String::from_utf8_lossy(&text));
}
