//! Collections of the admin API: their names, and all that is in one.

use crate::{
    client::{Client, query::Query},
    failure::Failure,
};
use serde_json::Value;

/// How many resources are asked for at once.
const PAGE_SIZE: &str = "1000";

/// The collection that a word means.
pub(crate) fn collection(word: &str) -> Result<&'static str, String> {
    match word {
        "route" | "routes" => Ok("routes"),
        "upstream" | "upstreams" => Ok("upstreams"),
        "policy" | "policies" => Ok("policies"),
        "consumer" | "consumers" => Ok("consumers"),
        "keyring" | "keyrings" => Ok("keyrings"),
        "certificate" | "certificates" => Ok("certificates"),
        "test" | "tests" => Ok("tests"),
        _ => Err("there are routes, upstreams, policies, consumers, keyrings, certificates and tests".into()),
    }
}

/// All elements of a collection, page by page.
pub(crate) async fn list(client: &Client, kind: &str, labels: Option<&str>) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut query = Query::default();
        query.add("page_size", PAGE_SIZE);
        if let Some(labels) = labels {
            query.add("labels", labels);
        }
        if let Some(token) = &token {
            query.add("page_token", token);
        }
        let mut page = client.get(&query.path(&format!("/v1/{kind}"))).await?.success()?.json()?;
        match page[kind].take() {
            Value::Array(mut elements) => all.append(&mut elements),
            _ => return Err(Failure::Runtime(format!("the answer has no list {kind:?}; is that the admin API?"))),
        }
        match page["next_page_token"].as_str() {
            // A token that repeats would go on for ever.
            Some(next) if !next.is_empty() && token.as_deref() != Some(next) => token = Some(next.to_string()),
            Some(_) | None => return Ok(all),
        }
    }
}
