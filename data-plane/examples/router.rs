//! Prints what finding a route and building a router cost.
//!
//! `cargo run --release -p data-plane --features figures --example router [SHAPE COUNT [FINDS]]`; with FINDS it only
//! finds, so that instructions can be counted: the difference of two runs is that of their finds. Memory is right for the
//! first of a run only: what it frees the others use again.
#![expect(clippy::print_stdout, reason = "it is for reading")]

use data_plane::figures::{SHAPES, Shape, Subject};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [shape, count, finds] = arguments.as_slice() {
        let shape = SHAPES.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(shape));
        let (shape, count) = (shape.expect("a shape"), count.parse().expect("how many routes"));
        Subject::new(shape, count).find(finds.parse().expect("how often"));
        return;
    }
    let wanted = |shape: Shape, count: usize| match arguments.as_slice() {
        [wanted, routes] => format!("{shape:?}").eq_ignore_ascii_case(wanted) && count.to_string() == *routes,
        _ => true,
    };
    println!("shape          routes  find ns  check ms  build ms  change check µs  build µs  MB config  with router");
    for shape in SHAPES {
        for count in [1, 1_000, 100_000] {
            if !wanted(shape, count) {
                continue;
            }
            let mut subject = Subject::new(shape, count);
            let find = subject.find(1_000_000);
            let (check, build) = subject.change(1_000);
            println!(
                "{:<12} {count:>8} {:>8} {:>9.1} {:>9.1} {:>16.1} {:>9.1} {:>10.1} {:>12.1}",
                format!("{shape:?}"),
                find.as_nanos(),
                subject.check.as_secs_f64() * 1e3,
                subject.build.as_secs_f64() * 1e3,
                check.as_secs_f64() * 1e6,
                build.as_secs_f64() * 1e6,
                subject.memory.0 as f64 / 1e6,
                subject.memory.1 as f64 / 1e6,
            );
        }
    }
}
