//! Prints what a decision of a limit costs, and what many keys need.
//!
//! `cargo run --release -p data-plane --features figures --example limiter`
#![expect(clippy::print_stdout, reason = "it is for reading")]

use data_plane::figures::{limits::Limits, resident};

const TIMES: u32 = 5_000_000;

fn main() {
    println!("windows  threads       keys  decision ns  places taken  displaced  MB more");
    for (windows, threads, keys) in [
        (1, 1, 1),
        (1, 1, 1_000),
        (1, 1, 1_000_000),
        (1, 1, 5_000_000),
        (2, 1, 1_000),
        (1, 2, 1),
        (1, 2, 1_000),
        (1, 2, 1_000_000),
    ] {
        let before = resident();
        let limits = Limits::new(windows);
        // Once before, so that what has to be made is there.
        limits.decide(TIMES, threads, keys);
        let decision = limits.decide(TIMES, threads, keys);
        let ((taken, displaced), more) = (limits.keys(), resident().saturating_sub(before));
        println!(
            "{windows:>7} {threads:>8} {keys:>10} {:>12} {taken:>13} {displaced:>10} {:>8.1}",
            decision.as_nanos(),
            more as f64 / 1e6
        );
    }
}
