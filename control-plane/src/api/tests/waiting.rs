//! Waiting for nodes.

use super::{Api, upstream};
use crate::nodes::Introduction;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn node(id: &str) -> Introduction {
    Introduction {
        id: id.into(),
        build: "0.1.0".into(),
        labels: BTreeMap::from([("zone".to_owned(), id.to_owned())]),
        peer: Some("127.0.0.1:40000".into()),
        status_address: None,
        running: None,
    }
}

#[tokio::test]
async fn without_a_live_node_there_is_nothing_to_wait_for() {
    let api = Api::start().await;
    let answer = api.put("/v1/upstreams/a?wait=all&timeout=30s", &upstream()).await.check(201);
    assert_eq!(answer.header("portico-wait"), "no-live-nodes; running=0; live=0");
    assert_eq!(answer.json()["name"], "a");
}

#[tokio::test]
async fn who_lags_is_named_and_the_write_stands() {
    let api = Api::start().await;
    let _session = api.nodes.connect(node("a")).unwrap();
    let answer = api.put("/v1/upstreams/a?wait=all&timeout=100ms", &upstream()).await.check(202);
    assert_eq!(answer.header("portico-wait"), "not-reached; running=0; live=1");
    let body = answer.json();
    assert_eq!((&body["revision"], &body["wait"]["live"]), (&json!(1), &json!(1)));
    assert_eq!(body["wait"]["lagging"][0]["id"], "a");
    assert_eq!(answer.revision(), 1);
    let tag = answer.header("etag").to_owned();
    assert_eq!(api.get("/v1/upstreams/a").await.check(200).header("etag"), tag);
    let body = json!({"upstreams": []});
    let answer = api.post("/v1/apply?wait=50%25&timeout=100ms", &body).await.check(202);
    assert_eq!(answer.json()["wait"]["lagging"][0]["labels"]["zone"], "a");
    api.call("DELETE", "/v1/upstreams/a?wait=n:1&timeout=100ms", &[], "").await.check(202);
}

#[tokio::test]
async fn nodes_are_listed_by_id_and_labels() {
    let api = Api::start().await;
    let _sessions = ["b", "a", "c"].map(|id| api.nodes.connect(node(id)).unwrap());
    let list = api.get("/v1/nodes?page_size=2").await.check(200).json();
    assert_eq!((&list["nodes"][0]["id"], &list["nodes"][1]["id"]), (&json!("a"), &json!("b")));
    let token = list["next_page_token"].as_str().unwrap();
    let list = api.get(&format!("/v1/nodes?page_size=2&page_token={token}")).await.check(200).json();
    assert_eq!((&list["nodes"][0]["id"], &list["next_page_token"]), (&json!("c"), &json!("")));
    let list = api.get("/v1/nodes?labels=zone!=a").await.check(200).json();
    assert_eq!(list["nodes"].as_array().unwrap().len(), 2);
    let one = api.get("/v1/nodes/b").await.check(200).json();
    assert_eq!((&one["live"], &one["running"], &one["build"]), (&json!(true), &json!(null), &json!("0.1.0")));
}
