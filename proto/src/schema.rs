//! JSON Schemas (2020-12, as OpenAPI 3.1 has them) of the resources, from the message descriptors; the comments of the
//! `.proto` files are their descriptions.

use crate::{
    json::{choices, descriptor, named},
    pb::POOL,
    resource::KINDS,
};
use prost_reflect::{FieldDescriptor, FileDescriptor, Kind as Type, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::LazyLock};

/// What is asked and answered besides resources.
const OTHERS: [&str; 2] = ["ExplainRequest", "Explanation"];

/// The schemas of all messages that resources, questions and answers are made of, by message name (`Route`), with references below
/// `#/components/schemas/`.
pub fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut todo: Vec<MessageDescriptor> = KINDS.into_iter().map(descriptor).chain(OTHERS.map(named)).collect();
    while let Some(message) = todo.pop() {
        if !schemas.contains_key(message.name()) {
            schemas.insert(message.name().into(), message_schema(&message, &mut todo));
        }
    }
    schemas
}

fn message_schema(message: &MessageDescriptor, todo: &mut Vec<MessageDescriptor>) -> Value {
    let mut properties = Map::new();
    for field in message.fields() {
        let mut schema = field_schema(&field, todo);
        schema.insert("description".into(), comment(&field.parent_message().parent_file(), field.path()).into());
        properties.insert(field.name().into(), schema.into());
    }
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("description".into(), comment(&message.parent_file(), message.path()).into());
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("properties".into(), properties.into());
    let mut choices: Vec<Value> = choices(message).iter().map(|choice| one_of(choice)).collect();
    match choices.len() {
        0 => {}
        1 => schema.extend([("oneOf".into(), choices.remove(0))]),
        _ => schema.extend([("allOf".into(), choices.into_iter().map(|choice| json!({"oneOf": choice})).collect())]),
    }
    schema.into()
}

fn one_of(choice: &[FieldDescriptor]) -> Value {
    choice.iter().map(|field| json!({"required": [field.name()]})).collect()
}

fn field_schema(field: &FieldDescriptor, todo: &mut Vec<MessageDescriptor>) -> Map<String, Value> {
    let kind = field.kind();
    let schema = match kind.as_message() {
        Some(entry) if field.is_map() => {
            let value = type_schema(&entry.map_entry_value_field().kind(), todo);
            json!({"type": "object", "additionalProperties": value})
        }
        Some(_) | None if field.is_list() => json!({"type": "array", "items": type_schema(&kind, todo)}),
        Some(_) | None => type_schema(&kind, todo),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn type_schema(kind: &Type, todo: &mut Vec<MessageDescriptor>) -> Value {
    match kind {
        Type::Message(message) => {
            todo.push(message.clone());
            json!({"$ref": format!("#/components/schemas/{}", message.name())})
        }
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => json!({"type": "integer", "format": "int32"}),
        Type::Uint32 | Type::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "pattern": "^([0-9A-Fa-f]{2})*$"}),
        Type::Uint64 => json!({"type": "integer", "minimum": 0}),
        // Nothing has them; see `json`.
        Type::Int64 | Type::Sint64 | Type::Sfixed64 | Type::Fixed64 => json!({}),
        Type::Double | Type::Float | Type::Enum(_) => json!({}),
    }
}

/// The comment before the thing at that path of its file.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    // By file name, then by path.
    static COMMENTS: LazyLock<HashMap<String, HashMap<Vec<i32>, String>>> = LazyLock::new(|| {
        let of_file = |file: FileDescriptor| {
            let locations = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default().location;
            let texts =
                locations.into_iter().filter_map(|l| Some((l.path, unwrap_lines(l.leading_comments.as_deref()?))));
            (file.name().to_string(), texts.collect())
        };
        POOL.files().map(of_file).collect()
    });
    COMMENTS.get(file.name()).and_then(|texts| texts.get(path)).cloned().unwrap_or_default()
}

// A line break in a comment is none in a description, but an empty line is.
fn unwrap_lines(comment: &str) -> String {
    let paragraphs = comment.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_described_and_refers_to_what_is_there() {
        let schemas = schemas();
        for name in ["Route", "Upstream", "Policy", "Match", "PathMatch", "Header"] {
            assert!(schemas.contains_key(name), "{name}");
        }
        for (name, schema) in &schemas {
            assert_ne!(schema["description"], "", "{name}");
            for (field, property) in schema["properties"].as_object().expect("an object") {
                assert_ne!(property["description"], "", "{name}.{field}");
            }
        }
        let text = Value::Object(schemas.clone()).to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_choice_is_one_of() {
        let schemas = schemas();
        assert_eq!(schemas["Rewrite"]["oneOf"], json!([{"required": ["prefix"]}, {"required": ["template"]}]));
        // `optional` is not a choice.
        assert_eq!(schemas["Endpoint"].get("oneOf"), None);
    }
}
