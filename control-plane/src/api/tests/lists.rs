//! Lists: pages, selectors, order.

use super::{Api, upstream};
use serde_json::{Value, json};

async fn fill(api: &Api, count: usize) {
    let upstreams: Vec<Value> = (0..count)
        .map(|at| {
            let mut body = upstream();
            body["name"] = format!("u-{at:03}").into();
            body["labels"] = json!({"team": if at % 2 == 0 { "pay" } else { "ship" }});
            if at % 10 == 0 {
                body["labels"]["legacy"] = "yes".into();
            }
            body
        })
        .collect();
    api.post("/v1/apply", &json!({"upstreams": upstreams})).await.check(200);
}

/// The names of each page.
async fn pages(api: &Api, target: &str) -> Vec<Vec<String>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{target}&page_token={token}")).await.check(200).json();
        let names = page["upstreams"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
        pages.push(names.collect());
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_go_through_all_by_name_and_once() {
    let api = Api::start().await;
    fill(&api, 120).await;
    let all: Vec<String> = (0..120).map(|at| format!("u-{at:03}")).collect();
    for (size, count) in [("7", 18), ("50", 3), ("60", 2), ("120", 1), ("0", 3), ("5000", 1)] {
        let pages = pages(&api, &format!("/v1/upstreams?page_size={size}")).await;
        assert_eq!((pages.len(), pages.concat()), (count, all.clone()), "{size}");
    }
    let page = api.get("/v1/upstreams").await.json();
    assert_eq!(page["upstreams"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_page_goes_on_where_it_was_when_things_come_and_go() {
    let api = Api::start().await;
    fill(&api, 20).await;
    let page = api.get("/v1/upstreams?page_size=10").await.json();
    let token = page["next_page_token"].as_str().unwrap();
    for gone in ["u-000", "u-009", "u-010"] {
        api.delete(&format!("/v1/upstreams/{gone}")).await.check(204);
    }
    let page = api.get(&format!("/v1/upstreams?page_size=10&page_token={token}")).await.json();
    assert_eq!(page["upstreams"][0]["name"], "u-011");
    assert_eq!(page["upstreams"].as_array().unwrap().len(), 9);
}

#[tokio::test]
async fn selectors_choose_by_labels() {
    let api = Api::start().await;
    fill(&api, 40).await;
    for (selector, count) in [
        ("team=pay", 20),
        ("team!=pay", 20),
        ("legacy", 4),
        ("!legacy", 36),
        ("team=pay,!legacy", 16),
        ("team=ship,legacy", 0),
        ("zone!=a", 40),
    ] {
        let pages = pages(&api, &format!("/v1/upstreams?page_size=6&labels={selector}")).await;
        assert_eq!(pages.concat().len(), count, "{selector}");
    }
}

#[tokio::test]
async fn a_token_holds_only_for_its_list_and_filter() {
    let api = Api::start().await;
    fill(&api, 10).await;
    let page = api.get("/v1/upstreams?page_size=2&labels=team=pay").await.json();
    let token = page["next_page_token"].as_str().unwrap();
    api.get(&format!("/v1/upstreams?page_size=3&labels=team=pay&page_token={token}")).await.check(200);
    for other in ["/v1/upstreams?", "/v1/upstreams?labels=team=ship&", "/v1/routes?labels=team=pay&", "/v1/revisions?"]
    {
        api.get(&format!("{other}page_token={token}")).await.check_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn revisions_are_paged_newest_first() {
    let api = Api::start().await;
    for at in 0..7 {
        api.put(&format!("/v1/upstreams/u-{at}"), &upstream()).await.check(201);
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/revisions?page_size=3&page_token={token}")).await.check(200).json();
        found.extend(page["revisions"].as_array().unwrap().iter().map(|item| item["revision"].as_u64().unwrap()));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, [7, 6, 5, 4, 3, 2, 1, 0]);
}
