//! Conditions: lost updates, creating only, and what a client has already.

use super::{Api, upstream};
use http::StatusCode;
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn of_two_writers_with_the_same_tag_one_wins() {
    let api = Api::start().await;
    let tag = api.put("/v1/upstreams/a", &upstream()).await.check(201).header("etag").to_owned();
    let write = |weight: u32| {
        let body = json!({"endpoints": [{"address": "127.0.0.1:9000", "weight": weight}]}).to_string();
        let (api, tag) = (&api, tag.as_str());
        async move { api.call("PUT", "/v1/upstreams/a", &[JSON, ("if-match", tag)], body).await }
    };
    let answers = [write(1), write(2), write(3), write(4), write(5), write(6), write(7), write(8)];
    let answers = futures_util::future::join_all(answers).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::OK), count(StatusCode::PRECONDITION_FAILED)), (1, 7));
    assert_eq!(api.get("/v1/revisions").await.json()["revisions"][0]["revision"], 2);
    write(9).await.check_problem(412, "precondition-failed");
}

#[tokio::test]
async fn a_condition_guards_every_write() {
    let api = Api::start().await;
    let body = upstream().to_string();
    let only_new = [JSON, ("if-none-match", "*")];
    api.call("PUT", "/v1/upstreams/a", &only_new, body.clone()).await.check(201);
    api.call("PUT", "/v1/upstreams/a", &only_new, body.clone()).await.check_problem(412, "precondition-failed");
    let only_old = [JSON, ("if-match", "*")];
    api.call("PUT", "/v1/upstreams/b", &only_old, body.clone()).await.check_problem(412, "precondition-failed");
    api.call("PUT", "/v1/upstreams/a", &only_old, body).await.check(200);
    let stale = ("if-match", "\"0123\"");
    let patch = [("content-type", "application/merge-patch+json"), stale];
    api.call("PATCH", "/v1/upstreams/a", &patch, "{}").await.check_problem(412, "precondition-failed");
    api.call("DELETE", "/v1/upstreams/a", &[stale], "").await.check_problem(412, "precondition-failed");
    api.call("POST", "/v1/apply", &[JSON, stale], "{}").await.check_problem(412, "precondition-failed");
    api.call("POST", "/v1/revisions/0/restore", &[stale], "").await.check_problem(412, "precondition-failed");
    // Either form's tag will do, and of many the one.
    let yaml = api.call("GET", "/v1/upstreams/a", &[("accept", "application/yaml")], "").await;
    let tags = format!("\"x\", {}", yaml.header("etag"));
    api.call("DELETE", "/v1/upstreams/a", &[("if-match", &tags)], "").await.check(204);
}

#[tokio::test]
async fn the_whole_has_a_tag_too() {
    let api = Api::start().await;
    let tag = api.get("/v1/export").await.check(200).header("etag").to_owned();
    let body = json!({"upstreams": [{"name": "a", "endpoints": [{"address": "127.0.0.1:9000"}]}]}).to_string();
    let applied = api.call("POST", "/v1/apply", &[JSON, ("if-match", &tag)], body.clone()).await.check(200);
    assert_eq!(api.get("/v1/export").await.header("etag"), applied.header("etag"));
    api.call("POST", "/v1/apply", &[JSON, ("if-match", &tag)], body).await.check_problem(412, "precondition-failed");
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let api = Api::start().await;
    api.put("/v1/upstreams/a", &upstream()).await.check(201);
    for target in ["/v1/upstreams/a", "/v1/upstreams", "/v1/export", "/v1/revisions", "/v1/revisions/1", "/v1/nodes"] {
        let tag = api.get(target).await.check(200).header("etag").to_owned();
        let known = [("if-none-match", tag.as_str())];
        let answer = api.call("GET", target, &known, "").await.check(304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), tag);
        // The other form is another representation.
        let yaml = [known[0], ("accept", "application/yaml")];
        api.call("GET", target, &yaml, "").await.check(200);
    }
}
