//! What the API says of itself is what it does.

use super::Api;
use crate::api::{guarded, open, openapi};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn walk<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target),
                    _ => walk(value, found),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|value| walk(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = openapi::document();
    let mut references = Vec::new();
    walk(&document, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for section in ["schemas", "parameters", "headers", "responses"] {
        for name in document["components"][section].as_object().expect("an object").keys() {
            let reference = format!("#/components/{section}/{name}");
            assert!(references.contains(&reference.as_str()), "{reference} is not used");
        }
    }
}

#[test]
fn the_document_has_the_paths_of_the_router_and_no_others() {
    let document = openapi::document();
    let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let table = || guarded().into_iter().chain(open()).map(|(path, _)| path);
    let routed: BTreeSet<String> = table().collect();
    assert_eq!(described, routed.iter().map(String::as_str).collect());
    assert_eq!(table().count(), routed.len());
}

#[test]
fn every_operation_has_a_name_and_declares_its_path_parameters() {
    let document = openapi::document();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
            let parameters = operation["parameters"].as_array().unwrap();
            let declared = parameters.iter().map(|parameter| {
                document.pointer(parameter["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap()
            });
            let declared: BTreeSet<&str> =
                declared.filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
            let segments = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(declared, segments.collect(), "{id}");
        }
    }
}

#[tokio::test]
async fn every_path_takes_the_methods_of_the_document_and_no_others() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.check(200).json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let target = path.replace("{revision}", "0").replace("{", "").replace("}", "");
        let answer = api.call("TRACE", &target, &[], "").await.check(405);
        let allowed: BTreeSet<String> = answer.header("allow").split(',').map(str::to_lowercase).collect();
        let mut described: BTreeSet<String> = operations.as_object().unwrap().keys().cloned().collect();
        if described.contains("get") {
            described.insert("head".into());
        }
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn what_is_open_needs_no_token_and_everything_else_does() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.check(200).json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let open = operation.get("security") == Some(&json!([]));
            let target = path.replace("{revision}", "0").replace("{", "").replace("}", "");
            let answer = api.call(&method.to_uppercase(), &target, &[("authorization", "")], "").await;
            assert_eq!(answer.status == 401, !open, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let api = Api::start().await;
    let page = api.get("/docs").await.check(200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    let html = std::str::from_utf8(&page.body).unwrap();
    let mut files = 0;
    for attribute in
        html.split(['"']).filter(|text| text.contains('/') && !text.contains('<') && !text.contains("image"))
    {
        assert!(attribute.starts_with("/docs/"), "{attribute}");
        let file = api.get(attribute).await.check(200);
        assert!(!file.body.is_empty());
        files += 1;
    }
    assert_eq!(files, 5);
    let initializer = api.get("/docs/swagger-initializer.js").await.check(200);
    let text = std::str::from_utf8(&initializer.body).unwrap();
    assert!(text.contains("\"/openapi.json\"") && text.contains("\"validatorUrl\": \"none\""), "{text}");
    assert!(!text.contains("://"), "{text}");
}
