//! At least 30 s of load while everything else is changed, killed and drained; fails when a request does.

use crate::harness::trial::Trial;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

pub(crate) fn run(changes: usize) -> ExitCode {
    let began = Instant::now();
    let trial = Trial { changes, lasting: Duration::from_secs(30), connections: 16, pause: Duration::from_millis(1) };
    let told = |what: &str| eprintln!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
    let Some(verdict) = trial.run(&told) else { return ExitCode::FAILURE };
    let load = verdict.load;
    println!("changes            {} (revision {} runs on both nodes)", verdict.changes, verdict.revision);
    println!("load               {:.1} s, {} requests", load.lasted.as_secs_f64(), load.requests);
    println!("requests a second  {:.0}", load.requests as f64 / load.lasted.as_secs_f64());
    println!("slowest            {:.1} ms", load.slowest.as_secs_f64() * 1e3);
    println!("failed             {}", load.failed);
    load.failures.iter().for_each(|failure| println!("  {failure}"));
    if load.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
