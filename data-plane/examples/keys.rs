//! Prints what finding the consumer of an API key costs, and how much memory many keys need.
//!
//! `cargo run --release -p data-plane --features figures --example keys [CONSUMERS KEYS-EACH]`. Memory is right for the
//! first of a run only: what it frees the others use again.
#![expect(clippy::print_stdout, reason = "it is for reading")]

use data_plane::figures::Keys;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = match arguments.as_slice() {
        [consumers, each] => vec![(*consumers, *each)],
        _ => vec![(1, 1), (1_000, 10), (10_000, 100)],
    };
    println!("consumers  keys each  find ns  of it digest  check ms  change µs       MB  bytes a key");
    for (consumers, each) in sizes {
        let mut keys = Keys::new(consumers, each);
        let (find, digest) = (keys.find(1_000_000), keys.digest(1_000_000));
        let change = keys.change(100);
        println!(
            "{consumers:>9} {each:>10} {:>8} {:>13} {:>9.1} {:>10.1} {:>8.1} {:>12.1}",
            find.as_nanos(),
            digest.as_nanos(),
            keys.check.as_secs_f64() * 1e3,
            change.as_secs_f64() * 1e6,
            keys.memory as f64 / 1e6,
            keys.memory as f64 / (consumers * each) as f64,
        );
    }
}
