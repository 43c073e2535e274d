//! Programs that measure the gateway as a whole: `cargo bench --bench gateway -- NAME`, see bench/README.md.
//!
//! They print figures and never fail because of one: a slow machine is no fault. A lost request is one.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a program to be read by people")]
#![allow(dead_code, reason = "the harness has more than a benchmark needs")]

mod harness;

mod bench {
    pub(crate) mod keys;
    pub(crate) mod propagation;
    pub(crate) mod routes;
    pub(crate) mod soak;
}

use bench::{keys, propagation, routes, soak};
use std::process::ExitCode;

fn main() -> ExitCode {
    // cargo adds `--bench` of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let name = arguments.first().map(String::as_str).unwrap_or_default();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let ran = match name {
        "soak" => number(1, 1000).map(soak::run),
        "propagation" => number(1, 1000).map(propagation::run),
        "routes" => number(1, 1000).map(routes::run),
        "keys" => number(1, 10_000).and_then(|consumers| Ok(keys::run(consumers, number(2, 100)?))),
        _ => {
            eprintln!(
                "usage: cargo bench --bench gateway -- soak [CHANGES] | propagation [WRITES] | routes [ROUTES] | \
                 keys [CONSUMERS [KEYS-EACH]]"
            );
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::from(2)
        }
    }
}
