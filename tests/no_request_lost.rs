//! Under load the configuration changes all the time, the control plane and Postgres are killed and come back, a node is
//! drained and replaced: no request fails.

use crate::harness::{
    admin::{route, upstream},
    load::{Load, Plan, Target},
    postgres::Postgres,
    stack::{ControlPlane, Node},
    upstream::Upstream,
    wait::eventually,
};
use serde_json::json;
use std::time::Duration;

fn target(node: &Node) -> Target {
    Target { traffic: node.traffic, status: node.status }
}

/// Makes this many changes, each of them of what the load goes through.
fn change(control_plane: &ControlPlane, first: usize, count: usize, echo: &Upstream) {
    for number in first..first + count {
        let written = match number % 4 {
            // The route itself: another label, so that its entry is built anew.
            0 => {
                let mut body = route("/", "all");
                body["labels"] = json!({"change": number.to_string()});
                control_plane.admin.put("/v1/routes/all", &body)
            }
            // The upstream's settings; its connections stay.
            1 => {
                let mut body = upstream(&[echo.address]);
                body["timeouts"] = json!({"response": format!("{}ms", 5000 + number)});
                control_plane.admin.put("/v1/upstreams/all", &body)
            }
            // A route that comes and goes.
            2 => control_plane.admin.put("/v1/routes/other", &route(&format!("/other/{number}"), "all")),
            _ => control_plane.admin.ok("DELETE", "/v1/routes/other", None),
        };
        assert!(written.status < 300);
    }
}

#[test]
fn no_request_fails_while_everything_else_does() {
    let Some(mut postgres) = Postgres::start() else { return };
    let mut control_plane = ControlPlane::start_on(postgres.url());
    let echo = Upstream::echo("echo");
    control_plane.admin.route("all", "/", echo.address);
    let mut first = control_plane.node();
    let mut second = control_plane.node();
    let load = Load::start(Plan {
        targets: vec![target(&first), target(&second)],
        paths: vec!["/a".into(), "/b/c".into()],
        connections: 16,
        pause: Duration::from_millis(2),
    });
    load.more(200);

    change(&control_plane, 0, 40, &echo);
    control_plane.kill();
    load.more(200);
    control_plane.restart();
    change(&control_plane, 40, 40, &echo);

    postgres.kill();
    load.more(200);
    postgres.restart();
    eventually("writes are taken again", || {
        (control_plane.admin.send("PUT", "/v1/routes/other", Some(&route("/other", "all"))).status < 300).then_some(())
    });
    change(&control_plane, 80, 20, &echo);

    for node in [&mut first, &mut second] {
        node.terminate();
        assert_eq!(node.wait(), Some(0));
        load.more(100);
        node.restart();
        change(&control_plane, 100, 20, &echo);
        load.more(100);
    }

    let outcome = load.stop();
    println!("{} requests in {:?}, the slowest took {:?}", outcome.requests, outcome.lasted, outcome.slowest);
    outcome.assert_none_failed();
}
