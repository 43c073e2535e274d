//! `explain` takes the configuration that is asked about, and tells every fault of the question.

use super::Api;
use serde_json::{Value, json};

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_node_is_asked_about_the_configuration_that_is_meant() {
    let api = Api::start().await;
    api.put("/v1/routes/a", &json!({"respond": {}})).await.check(201);
    let answer = api.post("/v1/explain", &json!({"request": {"url": "http://a/x"}})).await.check(200);
    assert_eq!(answer.revision(), 1);
    assert_eq!(answer.json(), json!({"revision": 1, "request": {"path": "/x"}}));
    let before = api.post("/v1/explain", &json!({"request": {"url": "/y"}, "revision": 0})).await.check(200);
    assert_eq!(before.json(), json!({"revision": 0, "request": {"path": "/y"}}));
    let none = api.post("/v1/explain", &json!({"request": {"url": "/y"}, "revision": 7})).await;
    none.check_problem(404, "not-found");
}

#[tokio::test]
async fn every_fault_of_a_question_is_told_with_its_place() {
    let api = Api::start().await;
    let asked = json!({"request": {"url": "/a b", "metod": "GET", "scheme": "ftp"}, "revision": -1});
    let problem = api.post("/v1/explain", &asked).await.check_problem(422, "invalid-fields");
    assert_eq!(pointers(&problem), ["/request/metod", "/revision", "/request/url", "/request/scheme"]);
    let problem = api.post("/v1/explain", &json!({"draft": []})).await.check_problem(422, "invalid-fields");
    assert_eq!(pointers(&problem), ["/draft", "/request"]);
}

#[tokio::test]
async fn a_draft_is_checked_as_a_whole_and_not_stored() {
    let api = Api::start().await;
    let ask = |draft: Value| json!({"request": {"url": "/"}, "draft": draft});
    let right = ask(json!({"routes": [{"name": "a", "respond": {}}]}));
    assert_eq!(api.post("/v1/explain", &right).await.check(200).revision(), 0);
    api.get("/v1/routes/a").await.check(404);
    let route = json!({"name": "a", "forward": {"upstream": "none"}, "labels": {"a": 1}});
    let wrong = ask(json!({"routes": [route, {"respond": {}}], "roads": []}));
    let problem = api.post("/v1/explain", &wrong).await.check_problem(422, "invalid-configuration");
    let expect =
        ["/draft/routes/1/name", "/draft/roads", "/draft/routes/0/labels/a", "/draft/routes/0/forward/upstream"];
    assert_eq!(pointers(&problem), expect);
}

#[tokio::test]
async fn a_broken_test_refuses_every_kind_of_write() {
    let api = Api::start().await;
    let request = json!({"url": "http://a/"});
    let test = |name: &str| json!({"name": name, "request": request, "expect": {"route": "r"}});
    api.put("/v1/tests/right", &test("right")).await.check(201);
    let refused = |answer: super::Answer, pointer: &str, resource: Value| {
        let problem = answer.check_problem(422, "invalid-configuration");
        assert_eq!((pointers(&problem), &problem["errors"][0]["resource"]), (vec![pointer], &resource));
    };
    refused(api.put("/v1/tests/broken", &test("broken")).await, "/expect", Value::Null);
    refused(api.post("/v1/tests", &test("broken")).await, "/expect", Value::Null);
    for dry_run in ["", "?dry_run=true"] {
        let body = json!({"tests": [test("right"), test("broken")]});
        refused(api.post(&format!("/v1/apply{dry_run}"), &body).await, "/tests/1/expect", Value::Null);
    }
    let listed = api.get("/v1/tests").await.check(200).json();
    assert_eq!(listed["tests"], json!([test("right")]));
    // What cannot be is told where it is written.
    let wrong = json!({"request": {"url": ""}, "expect": {"statsu": 1}});
    let problem = api.put("/v1/tests/wrong", &wrong).await.check_problem(422, "invalid-configuration");
    assert_eq!(pointers(&problem), ["/expect/statsu", "/request/url", "/expect"]);
}
