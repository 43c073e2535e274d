//! The trial that a gateway has to stand: under load the configuration changes all the time, the control plane and
//! Postgres are killed and come back, nodes are drained and replaced.
//!
//! tests/no_request_lost.rs runs it short, tests/bench long.

use super::{
    admin::{route, upstream},
    load::{Load, Outcome, Plan, Target},
    postgres::Postgres,
    stack::{ControlPlane, Node},
    upstream::Upstream,
    wait::eventually,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// How hard it is.
pub(crate) struct Trial {
    /// How many changes are made, in five parts.
    pub(crate) changes: usize,
    /// How long the load goes on at least.
    pub(crate) lasting: Duration,
    pub(crate) connections: usize,
    /// The pause of a connection between two requests.
    pub(crate) pause: Duration,
}

/// What came of it.
pub(crate) struct Verdict {
    pub(crate) load: Outcome,
    pub(crate) changes: usize,
    /// The revision at the end, which the nodes run.
    pub(crate) revision: u64,
}

impl Trial {
    /// Runs it; `None` where there is no Postgres. `told` hears of each step.
    pub(crate) fn run(&self, told: &dyn Fn(&str)) -> Option<Verdict> {
        let mut postgres = Postgres::start()?;
        let mut control_plane = ControlPlane::start_on(postgres.url());
        let echo = Upstream::echo("echo");
        control_plane.admin.route("all", "/", echo.address);
        let mut first = control_plane.node();
        let mut second = control_plane.node();
        let began = Instant::now();
        let load = Load::start(Plan {
            targets: vec![target(&first), target(&second)],
            paths: vec!["/a".into(), "/b/c".into()],
            connections: self.connections,
            pause: self.pause,
        });
        load.more(200);
        let part = self.changes / 5;
        let mut made = 0;
        let mut change = |control_plane: &ControlPlane| {
            told(&format!("{part} changes"));
            change(control_plane, made, part, &echo);
            made += part;
        };

        change(&control_plane);
        told("the control plane is killed and restarted");
        control_plane.kill();
        load.more(200);
        control_plane.restart();
        change(&control_plane);

        told("Postgres is killed and restarted");
        postgres.kill();
        load.more(200);
        postgres.restart();
        eventually("writes are taken again", || {
            let body = route("/other", "all");
            (control_plane.admin.send("PUT", "/v1/routes/other", Some(&body)).status < 300).then_some(())
        });
        change(&control_plane);

        for node in [&mut first, &mut second] {
            told("a node is drained and restarted");
            node.terminate();
            assert_eq!(node.wait(), Some(0), "the node did not end in good order: {}", node.log());
            load.more(100);
            node.restart();
            change(&control_plane);
            load.more(100);
        }

        told("the load goes on until its time is over");
        eventually_after(began + self.lasting);
        let revision = all_run_the_head(&control_plane);
        Some(Verdict { load: load.stop(), changes: made, revision })
    }
}

fn target(node: &Node) -> Target {
    Target { traffic: node.traffic, status: node.status }
}

fn eventually_after(time: Instant) {
    while let Some(left) = time.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
}

/// Waits until the live nodes run the newest revision, and returns it.
fn all_run_the_head(control_plane: &ControlPlane) -> u64 {
    eventually("all live nodes run the head", || {
        let head = control_plane.admin.get("/v1/revisions?page_size=1")["revisions"][0]["revision"].as_u64()?;
        let nodes = control_plane.admin.get("/v1/nodes");
        let live: Vec<_> = nodes["nodes"].as_array()?.iter().filter(|node| node["live"] == true).collect();
        (live.len() == 2 && live.iter().all(|node| node["running"]["revision"] == head)).then_some(head)
    })
}

/// Makes changes, each of them of what the load goes through.
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
