//! The database away.

use super::{Api, until, upstream};
use crate::api::starting;
use std::time::{Duration, Instant};

#[tokio::test]
async fn reads_go_on_marked_stale_and_writes_are_refused_soon() {
    let api = Api::start().await;
    api.put("/v1/upstreams/a", &upstream()).await.check(201);
    assert!(!api.get("/v1/upstreams/a").await.headers.contains_key("portico-stale"));
    api.get("/readyz").await.check(200);

    api.state.store.close().await;
    let started = Instant::now();
    let answer = api.put("/v1/upstreams/b", &upstream()).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    answer.check_problem(503, "unavailable");

    until(|| async { api.get("/readyz").await.status == 503 }).await;
    for target in ["/v1/upstreams/a", "/v1/upstreams", "/v1/export", "/v1/nodes"] {
        let answer = api.get(target).await.check(200);
        assert_eq!(answer.header("portico-stale"), "true", "{target}");
    }
    let answer = api.get("/v1/revisions").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.check_problem(503, "unavailable");
    api.get("/livez").await.check(200);
}

#[tokio::test]
async fn a_control_plane_that_starts_is_alive_and_not_ready() {
    let api = Api::start().await.with_router(starting()).await;
    api.get("/livez").await.check(200);
    for target in ["/readyz", "/v1/routes", "/v1/nope"] {
        let answer = api.get(target).await;
        assert!(answer.headers.contains_key("retry-after"), "{target}");
        answer.check_problem(503, "unavailable");
    }
}
