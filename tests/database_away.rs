//! While the database is away, writes are refused soon and in order, and reads go on from memory.

use crate::harness::{postgres::Postgres, stack::ControlPlane, upstream::Upstream, wait::eventually};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn writes_get_503_within_5_seconds_and_reads_go_on_marked_stale() {
    let Some(mut postgres) = Postgres::start() else { return };
    let control_plane = ControlPlane::start_on(postgres.url());
    let node = control_plane.node();
    let echo = Upstream::echo("orders");
    control_plane.admin.route("orders", "/orders", echo.address);
    let fresh = control_plane.admin.ok("GET", "/v1/routes/orders", None);
    assert_eq!(fresh.header("portico-stale"), None);

    postgres.kill();
    let began = Instant::now();
    let body = json!({"match": {"path": {"exact": "/a"}}, "respond": {}});
    let refused = control_plane.admin.send("PUT", "/v1/routes/a", Some(&body));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{refused:?}");

    let stale = eventually("reads are marked stale", || {
        let read = control_plane.admin.ok("GET", "/v1/routes/orders", None);
        read.header("portico-stale").is_some().then_some(read)
    });
    assert_eq!(stale.body, fresh.body);
    control_plane.admin.ok("GET", "/v1/export", None);
    assert_eq!(control_plane.admin.send("GET", "/readyz", None).status, 503);
    assert_eq!(control_plane.admin.send("GET", "/livez", None).status, 200);
    assert_eq!(node.get("/orders").status, 200);

    postgres.restart();
    eventually("writes are taken again", || {
        let written = control_plane.admin.send("PUT", "/v1/routes/a?wait=all", Some(&body));
        matches!(written.status, 200 | 201).then_some(())
    });
    assert_eq!(node.get("/a").status, 200);
    eventually("reads are fresh again", || {
        control_plane.admin.ok("GET", "/v1/routes/orders", None).header("portico-stale").is_none().then_some(())
    });
}
