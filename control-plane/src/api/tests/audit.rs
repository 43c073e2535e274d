//! Who did what.

use super::{Api, route, upstream};
use serde_json::{Value, json};

async fn lines(api: &Api, query: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/audit{query}")).await.check(200).json();
    page["audit"].as_array().unwrap().clone()
}

fn done(line: &Value) -> Vec<String> {
    let text = |change: &Value, member: &str| change[member].as_str().unwrap().to_owned();
    let changes = line["changes"].as_array().unwrap();
    changes.iter().map(|change| format!("{} {}", text(change, "resource"), text(change, "done"))).collect()
}

#[tokio::test]
async fn a_change_has_a_line_that_tells_who_what_and_from_where() {
    let api = Api::start().await;
    let token = api.token("deploy", "editor").await;
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("portico-reason", "größer"),
        ("x-request-id", "deploy-7/3"),
    ];
    api.call("PUT", "/v1/upstreams/u", &headers, upstream().to_string()).await.check(201);
    let line = &lines(&api, "").await[0];
    let at = line["at"].clone();
    assert!(at.as_str().unwrap().starts_with("20"), "{at}");
    assert_eq!(
        *line,
        json!({
            "id": 2, "at": at, "actor": "deploy", "role": "editor", "peer": "127.0.0.1", "request_id": "deploy-7/3",
            "method": "PUT", "path": "/v1/upstreams/{name}", "reason": "größer", "revision": 1, "changes_omitted": 0,
            "changes": [{"resource": "upstream/u", "kind": "upstream", "name": "u", "done": "created"}],
        })
    );
}

#[tokio::test]
async fn every_change_has_a_line_and_what_changes_nothing_has_none() {
    let api = Api::start().await;
    api.put("/v1/upstreams/u", &upstream()).await.check(201);
    api.put("/v1/upstreams/u", &upstream()).await.check(200);
    api.put("/v1/routes/r", &route("/", "nowhere")).await.check(422);
    api.put("/v1/routes/r", &route("/", "u")).await.check(201);
    api.patch("/v1/routes/r", &json!({"labels": {"team": "pay"}})).await.check(200);
    api.delete("/v1/upstreams/u").await.check(409);
    api.post("/v1/apply?dry_run=true&prune=true", &json!({})).await.check(200);
    api.post("/v1/apply", &json!({"upstreams": [{"name": "v", "endpoints": [{"address": "127.0.0.1:1"}]}]}))
        .await
        .check(200);
    api.delete("/v1/routes/r").await.check(204);
    api.post("/v1/revisions/2/restore", &json!({})).await.check(200);
    api.token("t", "viewer").await;
    api.delete("/v1/tokens/t").await.check(204);
    let found = lines(&api, "").await;
    let told: Vec<(String, Vec<String>, Option<u64>)> = found
        .iter()
        .rev()
        .map(|line| {
            let call = format!("{} {}", line["method"].as_str().unwrap(), line["path"].as_str().unwrap());
            (call, done(line), line["revision"].as_u64())
        })
        .collect();
    let expect = [
        ("PUT /v1/upstreams/{name}", vec!["upstream/u created"], Some(1)),
        ("PUT /v1/routes/{name}", vec!["route/r created"], Some(2)),
        ("PATCH /v1/routes/{name}", vec!["route/r replaced"], Some(3)),
        ("POST /v1/apply", vec!["upstream/v created"], Some(4)),
        ("DELETE /v1/routes/{name}", vec!["route/r deleted"], Some(5)),
        ("POST /v1/revisions/{revision}/restore", vec!["route/r created", "upstream/v deleted"], Some(6)),
        ("POST /v1/tokens", vec!["token/t created"], None),
        ("DELETE /v1/tokens/{name}", vec!["token/t deleted"], None),
    ];
    let expect: Vec<(String, Vec<String>, Option<u64>)> = expect
        .into_iter()
        .map(|(call, done, revision)| (call.to_owned(), done.into_iter().map(str::to_owned).collect(), revision))
        .collect();
    assert_eq!(told, expect);
    let ids: Vec<u64> = found.iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=8).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replayed_request_has_one_line() {
    let api = Api::start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    for _ in 0..2 {
        let body = json!({"name": "u", "endpoints": [{"address": "127.0.0.1:1"}]}).to_string();
        api.call("POST", "/v1/upstreams", &headers, body).await.check(201);
    }
    assert_eq!(lines(&api, "").await.len(), 1);
}

#[tokio::test]
async fn lines_are_filtered_and_paged() {
    let api = Api::start().await;
    let token = api.token("deploy", "editor").await;
    for name in ["a", "b", "c"] {
        api.as_holder(&token, "PUT", &format!("/v1/upstreams/{name}"), upstream().to_string()).await.check(201);
    }
    api.delete("/v1/upstreams/b").await.check(204);
    let ids = async |query: &str| -> Vec<u64> {
        lines(&api, query).await.iter().map(|line| line["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [5, 4, 3, 2, 1]);
    assert_eq!(ids("?actor=deploy").await, [4, 3, 2]);
    assert_eq!(ids("?resource=upstream/b").await, [5, 3]);
    assert_eq!(ids("?resource=upstream/b&actor=bootstrap").await, [5]);
    assert_eq!(ids("?resource=token").await, [1]);
    assert_eq!(ids("?at_revision=2").await, [3]);
    assert_eq!(ids("?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00%2B01:00").await, [0; 0]);
    let at = lines(&api, "?at_revision=2").await[0]["at"].as_str().unwrap().to_owned();
    assert!(ids(&format!("?since={at}")).await.contains(&3) && !ids(&format!("?until={at}")).await.contains(&3));
    assert_eq!(ids("?actor=nobody").await, [0; 0]);

    let first = api.get("/v1/audit?actor=deploy&page_size=2").await.json();
    let next = first["next_page_token"].as_str().unwrap().to_owned();
    assert_eq!(ids(&format!("?actor=deploy&page_size=2&page_token={next}")).await, [2]);
    api.get(&format!("/v1/audit?page_token={next}")).await.check_problem(400, "invalid-request");
    for wrong in ["since=yesterday", "until=1", "at_revision=x", "who=me", "actor=%00"] {
        api.get(&format!("/v1/audit?{wrong}")).await.check_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_line_tells_the_first_of_many_changes_and_how_many_more_there_are() {
    let api = Api::start().await;
    let of = |at: u32| json!({"name": format!("u-{at:03}"), "endpoints": [{"address": "127.0.0.1:1"}]});
    let upstreams: Vec<Value> = (0..130).map(of).collect();
    api.post("/v1/apply", &json!({"upstreams": upstreams})).await.check(200);
    let line = &lines(&api, "?resource=upstream/u-129").await[0];
    assert_eq!((line["changes"].as_array().unwrap().len(), &line["changes_omitted"]), (100, &json!(30)));
    assert_eq!(line["changes"][0]["name"], "u-000");
}

#[tokio::test]
async fn no_secret_is_in_the_audit() {
    let api = Api::start().await;
    let pem = proto::example::example(proto::resource::Kind::Certificate);
    let name = pem["name"].as_str().unwrap().to_owned();
    assert!(pem.to_string().contains("PRIVATE"));
    api.put(&format!("/v1/certificates/{name}"), &pem).await.check(201);
    let token = api.token("t", "admin").await;
    api.as_holder(&token, "DELETE", &format!("/v1/certificates/{name}"), "").await.check(204);
    let answer = api.get("/v1/audit").await.check(200);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("certificate/") && !text.contains("PRIVATE") && !text.contains("portico_"), "{text}");
}
