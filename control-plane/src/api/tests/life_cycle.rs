//! The life of a resource.

use super::{Api, route, upstream};
use proto::{example::example, json, resource::KINDS};
use serde_json::{Value, json};

#[tokio::test]
async fn every_kind_has_the_same_life() {
    let api = Api::start().await;
    for kind in KINDS {
        let mut body = example(kind);
        // Alone, without what other kinds would have to provide.
        if body.get("forward").is_some() {
            body = json!({"name": "orders", "labels": {"team": "pay"}, "respond": {"body": "hello"}});
        }
        body.as_object_mut().unwrap().remove("credentials");
        let shown = json::write(&json::read(kind, &body).unwrap());
        let collection = format!("/v1/{}", kind.plural());
        let one = format!("{collection}/{}", body["name"].as_str().unwrap());

        let made = api.post(&collection, &body).await.check(201);
        assert_eq!(made.header("location"), one);
        assert_eq!(made.json(), shown);
        let revision = made.revision();

        let got = api.get(&one).await.check(200);
        assert_eq!(got.json(), shown);
        assert_eq!(got.header("etag"), made.header("etag"));

        let same = api.put(&one, &body).await.check(200);
        assert_eq!((same.revision(), same.header("etag")), (revision, made.header("etag")));

        let patched = api.patch(&one, &json!({"labels": {"team": null, "env": "dev"}})).await.check(200);
        assert_eq!(patched.json()["labels"], json!({"env": "dev"}));
        assert_eq!(patched.revision(), revision + 1);
        assert_ne!(patched.header("etag"), made.header("etag"));

        let gone = api.delete(&one).await.check(204);
        assert_eq!(gone.revision(), revision + 2);
        assert!(gone.body.is_empty());
        api.get(&one).await.check_problem(404, "not-found");
        api.delete(&one).await.check_problem(404, "not-found");
        api.patch(&one, &json!({})).await.check_problem(404, "not-found");

        api.put(&one, &body).await.check(201);
        api.delete(&one).await.check(204);
    }
}

#[tokio::test]
async fn a_name_that_is_left_out_is_the_urls_or_made_up() {
    let api = Api::start().await;
    let put = api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    assert_eq!(put.json()["name"], "orders");
    let posted = api.post("/v1/upstreams", &upstream()).await.check(201);
    let name = posted.json()["name"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&name).unwrap().get_version_num(), 7);
    assert_eq!(posted.header("location"), format!("/v1/upstreams/{name}"));
    api.get(posted.header("location")).await.check(200);
}

#[tokio::test]
async fn a_name_can_be_taken_once() {
    let api = Api::start().await;
    let mut body = upstream();
    body["name"] = "orders".into();
    api.post("/v1/upstreams", &body).await.check(201);
    let problem = api.post("/v1/upstreams", &body).await.check_problem(409, "name-taken");
    assert_eq!(problem["resource"], "upstream/orders");
}

#[tokio::test]
async fn what_is_referred_to_stays_and_says_who_refers() {
    let api = Api::start().await;
    api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    api.put("/v1/routes/a", &route("/a", "orders")).await.check(201);
    api.put("/v1/routes/b", &route("/b", "orders")).await.check(201);
    let problem = api.delete("/v1/upstreams/orders").await.check_problem(409, "still-referred");
    assert_eq!(problem["referrers"], json!(["route/a", "route/b"]));
    api.delete("/v1/routes/a").await.check(204);
    api.delete("/v1/routes/b").await.check(204);
    api.delete("/v1/upstreams/orders").await.check(204);
}

#[tokio::test]
async fn a_merge_patch_replaces_lists_and_takes_away_what_is_null() {
    let api = Api::start().await;
    api.put("/v1/upstreams/orders", &upstream()).await.check(201);
    let body =
        json!({"match": {"hosts": ["a.example", "b.example"], "methods": ["GET"]}, "forward": {"upstream": "orders"}});
    api.put("/v1/routes/orders", &body).await.check(201);
    let patch = json!({"match": {"hosts": ["c.example"], "methods": null}, "forward": null, "respond": {"body": "x"}});
    let patched = api.patch("/v1/routes/orders", &patch).await.check(200).json();
    assert_eq!(patched, json!({"name": "orders", "match": {"hosts": ["c.example"]}, "respond": {"body": "x"}}));
    // The result is checked: two actions are one too many.
    let patch = json!({"forward": {"upstream": "orders"}});
    api.patch("/v1/routes/orders", &patch).await.check_problem(422, "invalid-configuration");
    api.patch("/v1/routes/orders", &json!({"name": "other"})).await.check_problem(422, "invalid-configuration");
    api.patch("/v1/routes/orders", &json!(["x"])).await.check_problem(422, "invalid-configuration");
}

#[tokio::test]
async fn yaml_is_taken_and_answered() {
    let api = Api::start().await;
    let yaml =
        "# the orders service\nendpoints:\n  - {address: \"127.0.0.1:9000\", weight: 2}\nlabels: {country: no}\n";
    for media_type in ["application/yaml", "application/x-yaml", "text/yaml"] {
        api.call("PUT", "/v1/upstreams/orders", &[("content-type", media_type)], yaml).await;
    }
    // Without a media type too.
    let answer = api.call("PUT", "/v1/upstreams/orders", &[], yaml).await.check(200);
    let expect = json!({
        "name": "orders", "labels": {"country": "no"}, "endpoints": [{"address": "127.0.0.1:9000", "weight": 2}],
    });
    assert_eq!(answer.json(), expect);
    assert_eq!(answer.revision(), 1);
    let answer = api.call("GET", "/v1/upstreams/orders", &[("accept", "application/yaml")], "").await.check(200);
    assert_eq!(answer.header("content-type"), "application/yaml");
    let read: Value = serde_saphyr::from_str(std::str::from_utf8(&answer.body).unwrap()).unwrap();
    assert_eq!(read, expect);
}

#[tokio::test]
async fn the_same_key_and_body_is_carried_out_once() {
    let api = Api::start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "create-1")];
    let body = upstream().to_string();
    let first = api.call("POST", "/v1/upstreams", &headers, body.clone()).await.check(201);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    // Others write in between.
    api.put("/v1/upstreams/other", &upstream()).await.check(201);
    let again = api.call("POST", "/v1/upstreams", &headers, body).await.check(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    for name in ["location", "etag", "portico-revision"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.body, first.body);
    let other = json!({"endpoints": [{"address": "127.0.0.1:9001"}]}).to_string();
    api.call("POST", "/v1/upstreams", &headers, other).await.check_problem(422, "idempotency-key-reused");
    let list = api.get("/v1/upstreams").await.json();
    assert_eq!(list["upstreams"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reason_is_kept_with_the_revision() {
    let api = Api::start().await;
    let headers = [("content-type", "application/json"), ("portico-reason", "größer")];
    api.call("PUT", "/v1/upstreams/a", &headers, upstream().to_string()).await.check(201);
    let revision = api.get("/v1/revisions/1").await.check(200).json();
    assert_eq!((&revision["reason"], &revision["author"]), (&json!("größer"), &json!("bootstrap")));
    api.put("/v1/upstreams/b?reason=another%20one", &upstream()).await.check(201);
    assert_eq!(api.get("/v1/revisions/2").await.json()["reason"], "another one");
    api.call("DELETE", "/v1/upstreams/b?reason=x", &headers, "").await.check_problem(400, "invalid-request");
    let long = format!("/v1/upstreams/b?reason={}", "x".repeat(300));
    api.delete(&long).await.check_problem(400, "invalid-request");
}
