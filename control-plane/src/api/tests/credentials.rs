//! Credentials: told once, kept as digests, exchanged without a gap.

use super::{Answer, Api, waiting::node};
use proto::{
    name::Name,
    resource::{KINDS, Kind},
};
use serde_json::json;

const OF_ACME: &str = "/v1/consumers/acme/credentials";

async fn start() -> Api {
    let api = Api::start().await;
    api.put("/v1/consumers/acme", &json!({"groups": ["gold"]})).await.check(201);
    api
}

// Whose the key is, by what nodes would get.
fn owner(api: &Api, key: &str) -> Option<(String, String)> {
    let head = api.state.publisher.head();
    let found = head.snapshot.directory().find(key.as_bytes())?;
    Some((found.consumer.name.to_string(), found.consumer.credential_id(found.at).to_owned()))
}

fn key_of(answer: &Answer) -> String {
    answer.json()["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_told_once_and_kept_as_a_digest() {
    let api = start().await;
    let answer = api.post(OF_ACME, &json!({"id": "billing", "labels": {"team": "pay"}, "expires_in": "90d"})).await;
    let answer = answer.check(201);
    let (made, key) = (answer.json(), key_of(&answer));
    assert_eq!(answer.header("location"), "/v1/consumers/acme/credentials/billing");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(key.starts_with("ptk_") && key.len() == 53, "{key}");
    assert_eq!(owner(&api, &key), Some(("acme".into(), "billing".into())));
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z') && made["labels"] == json!({"team": "pay"}));

    // Nobody reads it again, wherever he looks.
    let mut kept = made.clone();
    kept.as_object_mut().unwrap().remove("key");
    assert_eq!(api.get(answer.header("location")).await.check(200).json(), kept);
    assert_eq!(api.get(OF_ACME).await.check(200).json(), json!({ "credentials": [kept] }));
    let targets = KINDS.map(|kind| format!("/v1/{}", kind.plural()));
    for target in targets.iter().map(String::as_str).chain(["/v1/export", "/v1/audit", "/v1/revisions/2/diff"]) {
        let answer = api.get(target).await.check(200);
        assert!(!String::from_utf8_lossy(&answer.body).contains(&key), "{target}");
    }
    let head = api.state.publisher.head();
    assert!(
        head.snapshot.entries().all(|entry| !entry.resource.payload.windows(53).any(|part| part == key.as_bytes()))
    );
    // The keyring came with it, in the same change; the next one finds it there.
    let line = &api.get("/v1/audit").await.json()["audit"][0];
    assert_eq!(line["path"], "/v1/consumers/{name}/credentials");
    assert_eq!(line["changes"].as_array().unwrap().len(), 2, "{line:#}");
    let other = api.post(OF_ACME, &json!({})).await.check(201);
    assert_eq!(owner(&api, &key), Some(("acme".into(), "billing".into())));
    assert_eq!(owner(&api, &key_of(&other)).unwrap().1, other.json()["id"].as_str().unwrap());
}

#[tokio::test]
async fn an_exchange_lets_both_keys_in_and_revocation_none() {
    let api = start().await;
    let old = key_of(&api.post(OF_ACME, &json!({"id": "old", "labels": {"team": "pay"}})).await.check(201));
    let rotated = api.post(&format!("{OF_ACME}/old/rotate"), &json!({"id": "new", "overlap": "1h"})).await.check(201);
    let new = key_of(&rotated);
    assert_eq!(rotated.json()["labels"], json!({"team": "pay"}));
    assert_eq!(owner(&api, &old).unwrap().1, "old");
    assert_eq!(owner(&api, &new).unwrap().1, "new");
    let end = api.get(&format!("{OF_ACME}/old")).await.json()["expires_at"].clone();
    assert!(end.is_string());
    // What ends sooner still ends then.
    api.post(&format!("{OF_ACME}/old/rotate"), &json!({"overlap": "2h"})).await.check(201);
    assert_eq!(api.get(&format!("{OF_ACME}/old")).await.json()["expires_at"], end);

    api.delete(&format!("{OF_ACME}/old")).await.check(204);
    assert_eq!(owner(&api, &old), None);
    let rotated = api.post(&format!("{OF_ACME}/new/rotate"), &json!({"id": "newer", "overlap": "0s"})).await.check(201);
    assert_eq!(owner(&api, &new), None);
    assert_eq!(owner(&api, &key_of(&rotated)).unwrap().1, "newer");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let api = start().await;
    api.post(OF_ACME, &json!({"id": "one"})).await.check(201);
    let problem = api.post(OF_ACME, &json!({"id": "one"})).await.check_problem(422, "invalid-configuration");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("is the id of another"), "{problem:#}");
    let problem =
        api.post(OF_ACME, &json!({"expires_in": "soon", "role": 1})).await.check_problem(422, "invalid-fields");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem:#}");
    api.post("/v1/consumers/none/credentials", &json!({})).await.check_problem(404, "not-found");
    api.get("/v1/consumers/none/credentials").await.check_problem(404, "not-found");
    for missing in ["two", "One", "%2f"] {
        api.get(&format!("{OF_ACME}/{missing}")).await.check_problem(404, "not-found");
        api.delete(&format!("{OF_ACME}/{missing}")).await.check_problem(404, "not-found");
        let answer = api.post(&format!("{OF_ACME}/{missing}/rotate"), &json!({})).await;
        answer.check_problem(404, "not-found");
    }
    let stale = [("content-type", "application/json"), ("if-match", "\"00\"")];
    api.call("POST", OF_ACME, &stale, "{}").await.check_problem(412, "precondition-failed");
    let tag = api.get(OF_ACME).await.header("etag").to_owned();
    let fresh = [("content-type", "application/json"), ("if-match", tag.as_str())];
    api.call("POST", OF_ACME, &fresh, "{}").await.check(201);
}

#[tokio::test]
async fn whoever_leaves_credentials_out_leaves_them_alone() {
    let api = start().await;
    let key = key_of(&api.post(OF_ACME, &json!({"id": "one"})).await.check(201));
    let is_there = || owner(&api, &key).is_some();
    api.put("/v1/consumers/acme", &json!({"groups": ["silver"]})).await.check(200);
    assert!(is_there());
    let file = json!({"consumers": [{"name": "acme", "groups": ["gold"]}]});
    api.post("/v1/apply?prune=true", &file).await.check(200);
    assert!(is_there(), "and the keyring is not pruned");
    api.patch("/v1/consumers/acme", &json!({"ids": ["sub-1"]})).await.check(200);
    assert!(is_there());
    // What was exported says the same.
    let export = api.get("/v1/export").await.json();
    assert_eq!(api.post("/v1/apply", &export).await.check(200).json()["changed"], false);
    // Whoever means it takes them away.
    api.patch("/v1/consumers/acme", &json!({"credentials": null})).await.check(200);
    assert!(!is_there());
    let revision = api.get("/v1/revisions").await.json()["revisions"][1]["revision"].as_u64().unwrap();
    api.post(&format!("/v1/revisions/{revision}/restore"), &json!({})).await.check(200);
    assert!(is_there());
    api.put("/v1/consumers/acme", &json!({"credentials": []})).await.check(200);
    assert!(!is_there());
}

#[tokio::test]
async fn a_key_that_is_given_is_digested_at_the_door() {
    let api = Api::start().await;
    let key = "made-elsewhere-long-ago";
    let body = json!({"credentials": [{"id": "one", "api_key": {"key": {"value": key}}}]});
    let problem = api.put("/v1/consumers/acme", &body).await.check_problem(422, "invalid-configuration");
    let error = &problem["errors"][0];
    assert_eq!(error["pointer"], "/credentials/0/api_key/key");
    assert!(error["detail"].as_str().unwrap().starts_with("there is no keyring"), "{problem:#}");
    let mut acme = body.clone();
    acme["name"] = "acme".into();
    let file = json!({"keyrings": [{"name": "api-keys", "pepper": {"value": "p".repeat(32)}}], "consumers": [acme]});
    api.post("/v1/apply", &file).await.check(200);
    assert_eq!(owner(&api, key), Some(("acme".into(), "one".into())));
    let kept = api.get("/v1/consumers/acme").await.json();
    assert_eq!(kept["credentials"][0]["api_key"]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(api.post("/v1/apply", &file).await.check(200).json()["changed"], false);
    let head = api.state.publisher.head();
    let stored = &head.snapshot.of_kind(Kind::Consumer)[&Name::parse("acme").unwrap()].resource.payload;
    assert!(!stored.windows(key.len()).any(|part| part == key.as_bytes()));
    api.delete("/v1/keyrings/api-keys").await.check_problem(422, "invalid-configuration");
}

#[tokio::test]
async fn a_key_is_told_even_when_nodes_lag() {
    let api = start().await;
    let _session = api.nodes.connect(node("a")).unwrap();
    let answer = api.post(&format!("{OF_ACME}?wait=all&timeout=10ms"), &json!({"id": "one"})).await.check(202);
    assert_eq!(owner(&api, &key_of(&answer)).unwrap().1, "one");
    assert_eq!(answer.json()["wait"]["running"], 0);
}
