//! Prints what the policy `jwt` costs: for a token that a worker has not seen, how much of that is the signature, and for one
//! that it has.
//!
//! `cargo run --release -p data-plane --features figures --example tokens`
#![expect(clippy::print_stdout, reason = "it is for reading")]

use data_plane::figures::Tokens;

fn main() {
    println!("algorithm  signature µs  unseen µs   seen ns");
    for tokens in Tokens::all(3_000) {
        let (signature, unseen, seen) = (tokens.signature(), tokens.unseen(), tokens.seen(1_000_000));
        println!(
            "{:<9} {:>13.1} {:>10.1} {:>9}",
            tokens.algorithm,
            signature.as_secs_f64() * 1e6,
            unseen.as_secs_f64() * 1e6,
            seen.as_nanos()
        );
    }
}
