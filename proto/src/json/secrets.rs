//! Secrets on their way in: filled in where a document is read, kept where a digest stands for what is stored.

use super::{descriptor, encode};
use crate::{
    invalid::Faults,
    resource::{Kind, Resource},
    secret,
};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value as Field};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What begins a digest.
const PREFIX: &[u8] = b"sha256:";

/// What is done to the object of each secret.
pub type Visit<'v> = dyn FnMut(&mut Map<String, Value>, &mut Faults) + 'v;

/// Walks to each secret of a resource in its JSON form, as far as that is right.
pub fn walk(kind: Kind, value: &mut Value, faults: &mut Faults, visit: &mut Visit<'_>) {
    walk_message(&descriptor(kind), value, faults, visit);
}

/// Where a document says that a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a file, relative to the document.
    File(&'a str),
    /// In a variable of the environment.
    Env(&'a str),
}

/// Puts each secret itself where a document says where it is; `read` gets it, or says why it cannot.
pub fn fill(kind: Kind, value: &mut Value, faults: &mut Faults, read: &dyn Fn(Place<'_>) -> Result<String, String>) {
    walk(kind, value, faults, &mut |secret, faults| {
        let (member, place) = match (secret.get("file"), secret.get("env")) {
            (Some(Value::String(file)), None) => ("file", Place::File(file)),
            (None, Some(Value::String(name))) => ("env", Place::Env(name)),
            // Nothing to read, or something that is refused for its shape.
            (Some(_), _) | (_, Some(_)) | (None, None) => return,
        };
        if let Some(text) = faults.at(member, |faults| faults.take(read(place))) {
            secret.remove(member);
            secret.insert("value".into(), text.into());
        }
    });
}

/// Whether the resource holds a secret.
pub fn has(resource: &Resource) -> bool {
    let decoded = DynamicMessage::decode(descriptor(resource.key.kind), resource.payload.clone());
    let mut known = HashMap::new();
    // What cannot be read may be anything.
    let Ok(message) = decoded else { return true };
    collect(&message, &mut known);
    !known.is_empty()
}

/// The resource with the stored secret in the place of each digest that is of one. A digest of nothing stays, and is a
/// fault when the resource is checked.
pub fn keep(resource: Resource, stored: Option<&Resource>) -> Resource {
    let Some(stored) = stored else { return resource };
    // Few resources have one, and to look is cheaper than to decode.
    if !resource.payload.windows(PREFIX.len()).any(|bytes| bytes == PREFIX) {
        return resource;
    }
    let decode =
        |resource: &Resource| DynamicMessage::decode(descriptor(resource.key.kind), resource.payload.clone()).ok();
    let (Some(mut message), Some(stored)) = (decode(&resource), decode(stored)) else { return resource };
    let mut known = HashMap::new();
    collect(&stored, &mut known);
    replace(&mut message, &known);
    Resource { payload: encode(resource.key.kind, &message), ..resource }
}

fn walk_message(descriptor: &MessageDescriptor, value: &mut Value, faults: &mut Faults, visit: &mut Visit<'_>) {
    let Value::Object(object) = value else { return };
    if secret::field_of(descriptor).is_some() {
        return visit(object, faults);
    }
    for (name, value) in object {
        let Some(field) = descriptor.get_field_by_name(name) else { continue };
        let kind = field.kind();
        let Some(message) = kind.as_message() else { continue };
        faults.at(name, |faults| match value {
            Value::Array(items) if field.is_list() => {
                for (at, item) in items.iter_mut().enumerate() {
                    faults.at(at, |faults| walk_message(message, item, faults, visit));
                }
            }
            Value::Object(entries) if field.is_map() => {
                let kind = message.map_entry_value_field().kind();
                let Some(message) = kind.as_message() else { return };
                for (key, entry) in entries {
                    faults.at(key, |faults| walk_message(message, entry, faults, visit));
                }
            }
            value => walk_message(message, value, faults, visit),
        });
    }
}

/// All secrets of a message, by digest.
fn collect(message: &DynamicMessage, known: &mut HashMap<String, String>) {
    if let Some(value) = secret::value_of(message) {
        known.insert(secret::digest(&value), value);
        return;
    }
    for (_, field) in message.fields() {
        match field {
            Field::Message(message) => collect(message, known),
            Field::List(items) => items.iter().filter_map(Field::as_message).for_each(|item| collect(item, known)),
            Field::Map(entries) => {
                entries.values().filter_map(Field::as_message).for_each(|entry| collect(entry, known));
            }
            Field::Bool(_) | Field::I32(_) | Field::I64(_) | Field::U32(_) | Field::U64(_) | Field::F32(_) => {}
            Field::F64(_) | Field::String(_) | Field::Bytes(_) | Field::EnumNumber(_) => {}
        }
    }
}

fn replace(message: &mut DynamicMessage, known: &HashMap<String, String>) {
    if let Some(field) = secret::field_of(&message.descriptor()) {
        let digest = message.get_field_by_name("digest").and_then(|digest| known.get(digest.as_str()?));
        if let Some(value) = digest {
            message.set_field(field, Field::String(value.clone()));
        }
        return;
    }
    for (_, field) in message.fields_mut() {
        match field {
            Field::Message(message) => replace(message, known),
            Field::List(items) => {
                items.iter_mut().filter_map(Field::as_message_mut).for_each(|item| replace(item, known));
            }
            Field::Map(entries) => {
                entries.values_mut().filter_map(Field::as_message_mut).for_each(|entry| replace(entry, known));
            }
            Field::Bool(_) | Field::I32(_) | Field::I64(_) | Field::U32(_) | Field::U64(_) | Field::F32(_) => {}
            Field::F64(_) | Field::String(_) | Field::Bytes(_) | Field::EnumNumber(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{read, write};
    use serde_json::json;

    fn certificate(secret: Value) -> Resource {
        read(Kind::Certificate, &json!({"name": "c", "chain": "x", "private_key": secret})).expect("a certificate")
    }

    #[test]
    fn a_secret_is_written_as_its_digest_and_the_digest_keeps_it() {
        let stored = certificate(json!({"value": "hush"}));
        let shown = write(&stored);
        let digest = json!({"digest": secret::digest("hush")});
        assert_eq!(shown["private_key"], digest);
        assert!(!shown.to_string().contains("hush"));
        let again = read(Kind::Certificate, &shown).expect("a certificate");
        assert_ne!(again.payload, stored.payload);
        assert_eq!(keep(again.clone(), Some(&stored)).payload, stored.payload);
        // There is nothing to keep, or something else.
        assert_eq!(keep(again.clone(), None).payload, again.payload);
        assert_eq!(keep(again.clone(), Some(&certificate(json!({"value": "other"})))).payload, again.payload);
    }

    #[test]
    fn no_fault_shows_a_secret() {
        for wrong in [json!("hush"), json!({"value": 815_815}), json!({"value": ["hush"]}), json!(["hush"])] {
            let value = json!({"name": "c", "chain": "x", "private_key": wrong});
            let faults = read(Kind::Certificate, &value).expect_err("it is faulty");
            let text = format!("{faults:?}");
            assert!(!text.contains("hush") && !text.contains("815") && text.contains("/private_key"), "{text}");
        }
    }

    #[test]
    fn the_walk_finds_each_secret_with_its_place() {
        let mut value = json!({"name": "c", "private_key": {"file": "key.pem"}, "labels": {"a": "b"}, "x": 1});
        let mut faults = Faults::default();
        fill(Kind::Certificate, &mut value, &mut faults, &|place| {
            if place == Place::File("key.pem") { Ok("hush".into()) } else { Err("is not there".into()) }
        });
        assert_eq!(value["private_key"], json!({"value": "hush"}));
        value["private_key"] = json!({"env": "KEY"});
        fill(Kind::Certificate, &mut value, &mut faults, &|_| Err("is not there".into()));
        assert_eq!(faults.into_found()[0].to_string(), "/private_key/env: is not there");
    }
}
