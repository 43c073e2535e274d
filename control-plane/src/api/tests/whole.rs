//! The whole configuration: apply, export, and the history.

use super::{Api, route, upstream};
use proto::{
    example::example,
    json,
    resource::{KINDS, Kind},
};
use serde_json::{Map, Value, json};

// What is secret is shown as its digest.
fn shown() -> Value {
    let show = |kind: Kind| json!([json::write(&json::read(kind, &example(kind)).unwrap())]);
    KINDS.into_iter().map(|kind| (kind.plural().to_owned(), show(kind))).collect::<Map<_, _>>().into()
}

fn examples() -> Value {
    KINDS.into_iter().map(|kind| (kind.plural().to_owned(), json!([example(kind)]))).collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn what_is_exported_can_be_applied_and_changes_nothing() {
    let api = Api::start().await;
    let applied = api.post("/v1/apply", &examples()).await.check(200);
    assert_eq!(applied.revision(), 1);
    let body = applied.json();
    assert_eq!(body["created"].as_array().unwrap().len(), KINDS.len());
    assert_eq!((&body["changed"], &body["revision"]), (&json!(true), &json!(1)));
    for form in ["application/json", "application/yaml"] {
        let exported = api.call("GET", "/v1/export", &[("accept", form)], "").await.check(200);
        assert_eq!(exported.header("content-type"), form);
        let again = api.call("POST", "/v1/apply?prune=true", &[("content-type", form)], exported.body).await.check(200);
        let body = again.json();
        assert_eq!((again.revision(), &body["changed"]), (1, &json!(false)));
        assert_eq!(body["unchanged"].as_array().unwrap().len(), KINDS.len());
        assert_eq!(again.header("etag"), applied.header("etag"));
    }
    let exported = api.get("/v1/export").await.json();
    assert_eq!(exported, shown());
    assert_eq!(api.get("/v1/export?labels=team=edge").await.json()["policies"], examples()["policies"]);
    assert_eq!(api.get("/v1/export?labels=team=edge").await.json()["routes"], json!([]));
}

#[tokio::test]
async fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    let api = Api::start().await;
    api.post("/v1/apply", &examples()).await.check(200);
    let mut upstreams = examples()["upstreams"].clone();
    upstreams[0]["labels"]["team"] = "ship".into();
    let body = json!({"upstreams": upstreams, "routes": [{"name": "new", "respond": {}}]});
    let tried = api.post("/v1/apply?dry_run=true&prune=true", &body).await.check(200);
    assert_eq!(tried.revision(), 1);
    let tried = tried.json();
    assert_eq!(tried["created"], json!(["route/new"]));
    assert_eq!(tried["updated"], json!(["upstream/orders"]));
    // The keyring stays.
    let deleted = ["certificate/example", "consumer/acme", "policy/hide-server", "route/orders"];
    let deleted = json!([&deleted[..], &["test/orders-are-for-orders"]].concat());
    assert_eq!(tried["deleted"], deleted);
    assert_eq!((&tried["dry_run"], &tried["changed"]), (&json!(true), &json!(true)));
    let change = tried["changes"].as_array().unwrap().iter().find(|change| change["resource"] == "upstream/orders");
    let change = change.unwrap();
    assert_eq!(
        (&change["before"]["labels"]["team"], &change["after"]["labels"]["team"]),
        (&json!("pay"), &json!("ship"))
    );
    assert_eq!(api.get("/v1/export").await.json(), shown());
    let wrong = json!({"routes": [{"name": "new", "forward": {"upstream": "nobody"}}]});
    api.post("/v1/apply?dry_run=true", &wrong).await.check_problem(422, "invalid-configuration");

    let done = api.post("/v1/apply?prune=true", &body).await.check(200).json();
    for list in ["created", "updated", "deleted"] {
        assert_eq!(done[list], tried[list], "{list}");
    }
}

#[tokio::test]
async fn apply_deletes_only_what_prune_selects() {
    let api = Api::start().await;
    let of = |team: &str, name: &str| json!({"name": name, "labels": {"team": team}, "endpoints": [{"address": "127.0.0.1:1"}]});
    let all = json!({"upstreams": [of("pay", "a"), of("pay", "b"), of("ship", "c")]});
    api.post("/v1/apply", &all).await.check(200);
    let part = json!({"upstreams": [of("pay", "a")], "routes": null});
    assert_eq!(api.post("/v1/apply", &part).await.check(200).json()["deleted"], json!([]));
    let pruned = api.post("/v1/apply?prune=true&labels=team=pay", &part).await.check(200).json();
    assert_eq!((&pruned["deleted"], &pruned["unchanged"]), (&json!(["upstream/b"]), &json!(["upstream/a"])));
    let pruned = api.post("/v1/apply?prune=true", &json!({})).await.check(200).json();
    assert_eq!(pruned["deleted"], json!(["upstream/a", "upstream/c"]));
}

#[tokio::test]
async fn a_large_configuration_does_not_shrink_unconfirmed() {
    let api = Api::start().await;
    let upstreams: Vec<Value> = (0..120)
        .map(|at| {
            let mut body = upstream();
            body["name"] = format!("u-{at}").into();
            body
        })
        .collect();
    api.post("/v1/apply", &json!({"upstreams": upstreams})).await.check(200);
    let few = json!({"upstreams": upstreams[..10]});
    let problem = api.post("/v1/apply?prune=true", &few).await.check_problem(409, "shrinks");
    assert_eq!((&problem["from"], &problem["to"]), (&json!(120), &json!(10)));
    api.post("/v1/apply?prune=true&confirm_shrink=true", &few).await.check(200);
    assert_eq!(api.get("/v1/revisions/2").await.json()["confirmed_shrink"], true);
}

#[tokio::test]
async fn a_restore_is_a_step_forward() {
    let api = Api::start().await;
    api.post("/v1/apply", &examples()).await.check(200);
    let tag = api.get("/v1/export").await.header("etag").to_owned();
    api.put("/v1/upstreams/other", &upstream()).await.check(201);
    api.put("/v1/routes/other", &route("/other", "other")).await.check(201);
    api.delete("/v1/routes/orders").await.check(204);

    let diff = api.get("/v1/revisions/1/diff?to=4").await.check(200).json();
    let resources: Vec<&Value> = diff["changes"].as_array().unwrap().iter().map(|change| &change["resource"]).collect();
    assert_eq!(resources, [&json!("route/orders"), &json!("route/other"), &json!("upstream/other")]);
    assert_eq!((&diff["changes"][0]["before"], &diff["changes"][0]["after"]), (&example(Kind::Route), &Value::Null));
    let step = api.get("/v1/revisions/2/diff").await.check(200).json();
    assert_eq!((&step["from"], &step["to"]), (&json!(1), &json!(2)));
    assert_eq!(step["changes"][0]["after"]["name"], "other");
    api.get("/v1/revisions/2/diff?to=9").await.check_problem(404, "not-found");

    let restored = api.call("POST", "/v1/revisions/1/restore?reason=back", &[], "").await.check(200);
    assert_eq!((restored.revision(), restored.header("etag")), (5, tag.as_str()));
    assert_eq!(restored.json()["deleted"], json!(["route/other", "upstream/other"]));
    assert_eq!(api.get("/v1/export").await.json(), shown());
    assert_eq!(api.get("/v1/revisions/5").await.json()["reason"], "back");
    let again = api.call("POST", "/v1/revisions/1/restore", &[], "").await.check(200);
    assert_eq!((again.revision(), &again.json()["changed"]), (5, &json!(false)));
    api.call("POST", "/v1/revisions/77/restore", &[], "").await.check_problem(404, "not-found");
    // To nothing and back.
    api.call("POST", "/v1/revisions/0/restore", &[], "").await.check(200);
    let nothing: Map<_, _> = KINDS.into_iter().map(|kind| (kind.plural().to_owned(), json!([]))).collect();
    assert_eq!(api.get("/v1/export").await.json(), Value::Object(nothing));
    api.call("POST", "/v1/revisions/5/restore", &[], "").await.check(200);
    assert_eq!(api.get("/v1/export").await.json(), shown());
}

#[tokio::test]
async fn a_replayed_apply_says_what_the_first_one_did() {
    let api = Api::start().await;
    let apply = |key: &'static str, body: Value| {
        let api = &api;
        async move {
            let headers = [("content-type", "application/json"), ("idempotency-key", key)];
            api.call("POST", "/v1/apply", &headers, body.to_string()).await.check(200)
        }
    };
    let first = apply("one", examples()).await;
    let part = json!({"upstreams": examples()["upstreams"]});
    let nothing = apply("two", part.clone()).await;
    assert_eq!(nothing.json()["changed"], false);
    api.put("/v1/upstreams/other", &upstream()).await.check(201);
    for (key, body, before) in [("one", examples(), first), ("two", part, nothing)] {
        let again = apply(key, body).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.json(), before.json(), "{key}");
        assert_eq!(again.header("etag"), before.header("etag"), "{key}");
    }
}
