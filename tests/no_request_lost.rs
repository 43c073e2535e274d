//! Under load the configuration changes all the time, the control plane and Postgres are killed and come back, nodes are
//! drained and replaced: no request fails. `cargo bench --bench gateway -- soak` is the same for longer.

use crate::harness::trial::Trial;
use std::time::Duration;

#[test]
fn no_request_fails_while_everything_else_does() {
    let trial = Trial { changes: 200, lasting: Duration::ZERO, connections: 16, pause: Duration::from_millis(2) };
    let Some(verdict) = trial.run(&|_| ()) else { return };
    println!("{} requests in {:?}, slowest {:?}", verdict.load.requests, verdict.load.lasted, verdict.load.slowest);
    verdict.load.assert_none_failed();
    assert!(verdict.revision >= verdict.changes as u64, "{} of {} changes", verdict.revision, verdict.changes);
}
