//! What the API says of itself is what it does.

use crate::api::{guarded, open, openapi};
use serde_json::Value;
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
