//! What is wrong with a request, and what it gets.

use super::{Api, MAX_BODY, TOKEN, route, upstream};
use crate::api::edge;
use axum::{Router, middleware::from_fn, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn pointers(problem: &Value) -> BTreeSet<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn all_faults_of_a_resource_come_at_once() {
    let api = Api::start().await;
    api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    let body = json!({
        "name": "other",
        "lables": {"team": "pay"},
        "match": {"path": {"prefix": "orders"}, "methods": ["get"]},
        "forward": {"upstream": "order", "timeouts": {"response": "15 seconds"}},
        "redirect": {"status": 200},
    });
    let problem = api.put("/v1/routes/orders", &body).await.check_problem(422, "invalid-configuration");
    let found = pointers(&problem);
    for pointer in ["/name", "/lables"] {
        assert!(found.contains(pointer), "{pointer}: {problem}");
    }
    assert!(problem["errors"].as_array().unwrap().iter().all(|error| error.get("resource").is_none()), "{problem}");
    assert!(problem.to_string().contains("did you mean \\\"labels\\\"?"), "{problem}");

    let body = json!({"lables": {}, "forward": {"upstream": "order"}});
    let problem = api.put("/v1/routes/orders", &body).await.check_problem(422, "invalid-configuration");
    assert_eq!(pointers(&problem), BTreeSet::from(["/lables", "/forward/upstream"]), "{problem}");
    assert_eq!(problem["title"], "the configuration is not valid");
    assert!(problem.to_string().contains("did you mean \\\"orders\\\"?"), "{problem}");
    assert_eq!(api.get("/v1/routes").await.json()["routes"], json!([]));
}

#[tokio::test]
async fn faults_of_apply_are_placed_in_its_body() {
    let api = Api::start().await;
    api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    let body = json!({
        "routes": [
            {"name": "a", "match": {"path": {"prefix": "/a"}}, "forward": {"upstream": "orders"}},
            {"name": "b", "match": {"path": {"prefix": "/a"}}, "forward": {"upstream": "order"}},
            {"name": "a", "respond": {}},
            {"name": "B", "respond": {}},
            {"respond": {}},
            "c",
        ],
        "upstreams": [{"name": "new", "endpoints": [{"address": "nowhere"}], "port": 1}],
        "polices": [],
        "policies": {},
    });
    let problem = api.post("/v1/apply", &body).await.check_problem(422, "invalid-configuration");
    let expect = [
        "/routes/1/forward/upstream",
        "/routes/1/match",
        "/routes/2/name",
        "/routes/3/name",
        "/routes/4/name",
        "/routes/5",
        "/upstreams/0/port",
        "/upstreams/0/endpoints/0/address",
        "/polices",
        "/policies",
    ];
    let found = pointers(&problem);
    for pointer in expect {
        assert!(found.contains(pointer), "{pointer}: {problem:#}");
    }
    assert_eq!(api.get("/v1/routes").await.json()["routes"], json!([]));
    let problem = api.post("/v1/apply", &json!([])).await.check_problem(422, "invalid-configuration");
    assert_eq!(pointers(&problem), BTreeSet::from([""]));
}

#[tokio::test]
async fn a_fault_in_a_resource_that_is_not_in_the_body_names_it() {
    let api = Api::start().await;
    api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    api.put("/v1/routes/orders", &route("/", "orders")).await.check(201);
    let orders = json!({"routes": [
        {"name": "orders", "match": {"path": {"prefix": "/"}}, "forward": {"upstream": "orders"}},
    ]});
    let problem = api.post("/v1/apply?prune=true&labels=!keep", &orders);
    let problem = problem.await.check_problem(422, "invalid-configuration");
    assert_eq!(pointers(&problem), BTreeSet::from(["/routes/0/forward/upstream"]));
    let mut kept = route("/kept", "orders");
    kept["labels"] = json!({"keep": "yes"});
    api.put("/v1/routes/kept", &kept).await.check(201);
    let problem = api.post("/v1/apply?prune=true&labels=!keep", &json!({})).await;
    let problem = problem.check_problem(422, "invalid-configuration");
    assert_eq!(problem["errors"][0]["resource"], "route/kept");
    assert_eq!(problem["errors"][0]["pointer"], "/forward/upstream");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_with_its_place() {
    let api = Api::start().await;
    let put = |media_type: &'static str, body: String| {
        let api = &api;
        async move { api.call("PUT", "/v1/upstreams/a", &[("content-type", media_type)], body).await }
    };
    let problem = put("application/json", "{\n  \"a\": }".into()).await.check_problem(400, "malformed-body");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(8)));
    let problem = put("application/yaml", "a: [1\nb: }".into()).await.check_problem(400, "malformed-body");
    assert_eq!(problem["line"], 2);
    put("application/json", "{\"name\": \"a\", \"name\": \"b\"}".into()).await.check_problem(400, "malformed-body");
    put("application/yaml", "name: a\nname: b".into()).await.check_problem(400, "malformed-body");
    put("application/json", String::new()).await.check_problem(400, "malformed-body");
    let bomb = (0..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |bomb, at| {
        let aliases = vec![format!("*a{at}"); 10].join(",");
        bomb + &format!("a{}: &a{} [{aliases}]\n", at + 1, at + 1)
    });
    put("application/yaml", bomb).await.check_problem(400, "malformed-body");
    put("application/json", "[".repeat(100_000)).await.check_problem(400, "malformed-body");
    put("application/yaml", "- ".repeat(50_000)).await.check_problem(400, "malformed-body");
    for media_type in ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin1"] {
        put(media_type, "{}".into()).await.check_problem(415, "unsupported-media-type");
    }
    let headers = [("content-type", "application/json")];
    api.call("PATCH", "/v1/upstreams/a", &headers, "{}").await.check_problem(415, "unsupported-media-type");
    api.call("PATCH", "/v1/upstreams/a", &[], "{}").await.check_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let api = Api::start().await;
    let body = json!({"labels": {"a": "x".repeat(MAX_BODY)}});
    let problem = api.put("/v1/upstreams/a", &body).await.check_problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains(&MAX_BODY.to_string()));
    // Nor when its size is not announced.
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let answer = api.call("PUT", "/v1/upstreams/a", &headers, body.to_string()).await;
    answer.check_problem(413, "too-large");
    api.call("PUT", "/v1/upstreams/a", &headers, upstream().to_string()).await.check(201);
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let api = Api::start().await;
    let wrong_byte = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);
    let longer = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    for authorization in [&*wrong_byte, &longer, &basic, "Bearer", "Bearer ", "", "Bearer \u{e9}"] {
        for target in ["/v1/routes", "/v1/routes/a", "/v1/export", "/v1/nodes", "/v1/revisions", "/v1/revisions/0"] {
            let answer = api.call("GET", target, &[("authorization", authorization)], "").await;
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            answer.check_problem(401, "unauthorized");
        }
        let answer = api.call("POST", "/v1/apply", &[("authorization", authorization)], "{}").await;
        answer.check_problem(401, "unauthorized");
    }
    api.call("GET", "/v1/routes", &[("authorization", &format!("bearer  {TOKEN}"))], "").await.check(200);
    for open in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        api.send(Request::get(open).header("host", "x").body(Full::<Bytes>::default()).unwrap()).await.check(200);
    }
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not() {
    let api = Api::start().await;
    for unknown in
        ["/", "/v1", "/v1/routes/", "/v1/customers", "/v1/routes/a/b", "/v2/routes", "/docs/", "/docs/index.html/x"]
    {
        api.get(unknown).await.check_problem(404, "unknown-path");
    }
    api.get("/docs/index.html").await.check_problem(404, "not-found");
    let answer = api.delete("/v1/routes").await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    answer.check_problem(405, "method-not-allowed");
    api.get("/v1/routes/Not_A_Name").await.check_problem(404, "not-found");
    let problem = api.put("/v1/upstreams/Not_A_Name", &upstream()).await.check_problem(422, "invalid-configuration");
    assert_eq!(pointers(&problem), BTreeSet::from(["/name"]));
    api.get("/v1/routes/%ff").await.check_problem(400, "invalid-request");
    for missing in ["/v1/revisions/7", "/v1/revisions/x", "/v1/revisions/-1", "/v1/revisions/99999999999999999999"] {
        api.get(missing).await.check_problem(404, "not-found");
    }
    api.get("/v1/nodes/nobody").await.check_problem(404, "not-found");
}

#[tokio::test]
async fn parameters_that_a_call_does_not_take_are_refused() {
    let api = Api::start().await;
    for target in ["/v1/routes?page_sise=3", "/v1/routes?dry_run=true", "/v1/routes/a?labels=x", "/livez?x=1"] {
        api.get(target).await.check_problem(400, "invalid-request");
    }
    let problem = api.get("/v1/routes?page_sise=3").await.json();
    assert_eq!(problem["parameter"], "page_sise");
    for target in ["/v1/apply?dry_run=yes", "/v1/apply?labels=a", "/v1/apply?wait=some", "/v1/apply?timeout=5s"] {
        api.post(target, &json!({})).await.check_problem(400, "invalid-request");
    }
    api.get("/v1/routes?labels=a,,b").await.check_problem(400, "invalid-request");
    api.get("/v1/routes?page_token=zz").await.check_problem(400, "invalid-request");
}

#[tokio::test]
async fn a_request_has_an_id_that_can_stand_in_a_log() {
    let api = Api::start().await;
    let answer = api.call("GET", "/v1/routes", &[("x-request-id", "deploy-7/3")], "").await;
    assert_eq!(answer.header("x-request-id"), "deploy-7/3");
    for bad in ["a b", &"x".repeat(200)] {
        let answer = api.call("GET", "/v1/nope", &[("x-request-id", bad)], "").await;
        assert_ne!(answer.header("x-request-id"), bad);
        answer.check_problem(404, "unknown-path");
    }
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let api = Api::start().await;
    for target in ["/v1/routes", "/v1/export", "/livez", "/v1/nope"] {
        let (get, head) = (api.get(target).await, api.call("HEAD", target, &[], "").await);
        assert_eq!(get.status, head.status, "{target}");
        assert_eq!(get.headers.get("etag"), head.headers.get("etag"), "{target}");
        assert_eq!(get.headers.get("content-type"), head.headers.get("content-type"), "{target}");
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn a_panic_is_the_request_s_own() {
    async fn panics() {
        panic!("as it should")
    }
    let router = Router::new().route("/boom", get(panics)).layer(from_fn(edge::surround));
    let api = Api::start().await.with_router(router).await;
    let problem = api.get("/boom").await.check_problem(500, "internal");
    assert!(!problem.to_string().contains("as it should"), "{problem}");
    api.get("/boom").await.check_problem(500, "internal");
}
