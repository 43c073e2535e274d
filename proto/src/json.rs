//! The JSON form of a resource, read and written by one walk over the message descriptors.
//!
//! The walk is strict, so that nothing an operator wrote is ignored, and it goes on after a fault, so that all faults
//! of shape are found at once, each with its place and advice. What it yields is encoded once, in the one encoding that
//! a message has, and is kept verbatim from then on.
//!
//! What is secret is read and never written: a digest stands in its place.

pub mod secrets;

use crate::{
    consumer::leaves_credentials,
    identity::{hex, unhex},
    invalid::{Faults, Invalid, did_you_mean},
    name::Name,
    pb,
    resource::{Kind, Resource, ResourceKey},
    secret,
};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor, ReflectMessage, Value as Field,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

/// What could be read of a resource.
#[derive(Debug)]
pub struct Read {
    /// The resource, as far as it could be understood; `None` without a name. Not to be used when there are faults,
    /// but to find the faults of meaning that it has besides.
    pub resource: Option<Resource>,
    /// Whether it is a consumer whose credentials the document leaves to what is stored.
    pub leaves_credentials: bool,
    /// Every fault of shape; the pointers are relative to the resource.
    pub faults: Vec<Invalid>,
}

/// Reads a resource; every fault of shape at once.
pub fn read(kind: Kind, value: &Value) -> Result<Resource, Vec<Invalid>> {
    let Read { resource, faults, .. } = read_partial(kind, value);
    match resource {
        Some(resource) if faults.is_empty() => Ok(resource),
        Some(_) | None => Err(faults),
    }
}

/// Reads what can be read of a resource.
pub fn read_partial(kind: Kind, value: &Value) -> Read {
    let mut faults = Faults::default();
    let message = read_message(&descriptor(kind), value, &mut faults);
    let name = match value.get("name") {
        None if value.is_object() => {
            faults.note_at("name", "a name is missing; give 1 to 63 of a-z, 0-9, - and .");
            None
        }
        Some(Value::String(text)) => faults.at("name", |faults| faults.take(Name::parse(text))),
        // The walk has noted it.
        None | Some(_) => None,
    };
    let resource = name.map(|name| {
        let (key, payload) = (ResourceKey::new(kind, name), encode(kind, &message));
        Resource { key, payload, requires: Vec::new() }
    });
    let mut found = faults.into_found();
    if let Some(resource) = &resource {
        found.iter_mut().for_each(|fault| fault.resource = Some(resource.key.clone()));
    }
    Read { resource, leaves_credentials: leaves_credentials(kind, value), faults: found }
}

/// All faults of shape, and those of meaning that are not just their consequence: at another place, or elsewhere.
pub fn merge_faults(shape: Vec<Invalid>, meaning: Vec<Invalid>) -> Vec<Invalid> {
    let consequence = |fault: &Invalid| {
        shape.iter().any(|other| {
            other.resource == fault.resource
                && (fault.pointer.is_empty()
                    || fault.pointer == other.pointer
                    || is_below(&fault.pointer, &other.pointer))
        })
    };
    let more: Vec<Invalid> = meaning.into_iter().filter(|fault| !consequence(fault)).collect();
    shape.into_iter().chain(more).collect()
}

/// Writes a resource in the form that [`read`] takes.
pub fn write(resource: &Resource) -> Value {
    match DynamicMessage::decode(descriptor(resource.key.kind), resource.payload.clone()) {
        Ok(message) => write_message(&message),
        // A payload is checked before it is kept.
        Err(_) => Value::Null,
    }
}

/// Reads a message that is no resource; every fault of shape is noted. What could be read is there in any case.
pub fn read_as<M: Message + Default>(name: &str, value: &Value, faults: &mut Faults) -> M {
    let message = read_message(&named(name), value, faults);
    message.transcode_to::<M>().expect("it is of that message")
}

/// Writes a message that is no resource.
pub fn write_as<M: Message>(name: &str, message: &M) -> Value {
    match DynamicMessage::decode(named(name), message.encode_to_vec().as_slice()) {
        Ok(message) => write_message(&message),
        // It was encoded right now.
        Err(_) => Value::Null,
    }
}

/// The message of that name in the contract.
pub(crate) fn named(name: &str) -> MessageDescriptor {
    pb::POOL.get_message_by_name(&format!("portico.v1.{name}")).expect("the contract has the message")
}

/// The message of a kind.
pub(crate) fn descriptor(kind: Kind) -> MessageDescriptor {
    pb::POOL.get_message_by_name(kind.message()).expect("each kind has a message")
}

/// The fields of a choice, and of none if it is only how `optional` is spelled.
pub(crate) fn choices(message: &MessageDescriptor) -> Vec<Vec<FieldDescriptor>> {
    message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.fields().collect()).collect()
}

// A dynamic message has maps without order: the typed one has the one encoding.
fn encode(kind: Kind, message: &DynamicMessage) -> Bytes {
    fn through<M: Message + Default>(message: &DynamicMessage) -> Bytes {
        message.transcode_to::<M>().expect("it is of that message").encode_to_vec().into()
    }
    match kind {
        Kind::Certificate => through::<pb::Certificate>(message),
        Kind::Consumer => through::<pb::Consumer>(message),
        Kind::Keyring => through::<pb::Keyring>(message),
        Kind::Policy => through::<pb::Policy>(message),
        Kind::Route => through::<pb::Route>(message),
        Kind::Test => through::<pb::Test>(message),
        Kind::Upstream => through::<pb::Upstream>(message),
    }
}

fn is_below(pointer: &str, parent: &str) -> bool {
    pointer.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

// === reading ===

fn read_message(descriptor: &MessageDescriptor, value: &Value, faults: &mut Faults) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let Value::Object(object) = value else {
        if secret::field_of(descriptor).is_some() {
            faults.note("a secret is written {value: …}, or {file: …} or {env: …} where `portico apply` reads it");
            return message;
        }
        faults.note(format!("{} is not an object{}", show(value), null_advice(value)));
        return message;
    };
    for (name, value) in object {
        let Some(field) = descriptor.get_field_by_name(name) else {
            let names: Vec<FieldDescriptor> = descriptor.fields().collect();
            let hint = did_you_mean(name, names.iter().map(FieldDescriptor::name));
            faults.note_at(name, format!("{name:?} is not a field here{hint}"));
            continue;
        };
        if let Some(value) = faults.at(name, |faults| read_field(&field, value, faults)) {
            message.set_field(&field, value);
        }
    }
    for choice in choices(descriptor) {
        check_choice(&choice, object, faults);
    }
    message
}

fn check_choice(choice: &[FieldDescriptor], object: &Map<String, Value>, faults: &mut Faults) {
    let given: Vec<&str> = choice.iter().map(FieldDescriptor::name).filter(|name| object.contains_key(*name)).collect();
    let names: Vec<&str> = choice.iter().map(FieldDescriptor::name).collect();
    match given.as_slice() {
        [] => {
            // Where the choice was meant, the unknown field says so already.
            let known =
                |name: &String| choice.iter().any(|field| field.parent_message().get_field_by_name(name).is_some());
            let meant =
                object.keys().any(|name| !known(name) && crate::invalid::meant(name, names.iter().copied()).is_some());
            if !meant {
                faults.note(format!("a choice is missing; give one of {}", names.join(", ")));
            }
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                faults.note_at(
                    other,
                    format!("{other:?} cannot stand beside {first:?}; choose one of {}", names.join(", ")),
                );
            }
        }
    }
}

fn read_field(field: &FieldDescriptor, value: &Value, faults: &mut Faults) -> Option<Field> {
    if value.is_null() {
        faults.note(format!("null is not a value{}", null_advice(value)));
        return None;
    }
    if field.is_map() {
        return read_map(field, value, faults).map(Field::Map);
    }
    if secret::is_marked(field) && !value.is_string() {
        faults.note("what is secret is a text; write it in quotes");
        return None;
    }
    if !field.is_list() {
        return read_single(&field.kind(), value, faults);
    }
    let Value::Array(items) = value else {
        faults.note(format!("{} is not a list; write it in brackets", show(value)));
        return None;
    };
    let read = |(at, item)| faults.at(at, |faults| read_single(&field.kind(), item, faults));
    // A faulty item keeps its place, so that the pointers of later faults are right.
    let items =
        items.iter().enumerate().map(read).map(|item| item.unwrap_or_else(|| Field::default_value(&field.kind())));
    Some(Field::List(items.collect()))
}

fn read_map(field: &FieldDescriptor, value: &Value, faults: &mut Faults) -> Option<HashMap<MapKey, Field>> {
    let kind = field.kind();
    let entry = kind.as_message()?;
    let Value::Object(object) = value else {
        faults.note(format!("{} is not an object of keys and values", show(value)));
        return None;
    };
    let value_kind = entry.map_entry_value_field().kind();
    let read = |(key, value): (&String, &Value)| {
        let value = faults.at(key, |faults| read_single(&value_kind, value, faults))?;
        Some((MapKey::String(key.clone()), value))
    };
    Some(object.iter().filter_map(read).collect())
}

fn read_single(kind: &Type, value: &Value, faults: &mut Faults) -> Option<Field> {
    if let Type::Message(descriptor) = kind {
        return Some(Field::Message(read_message(descriptor, value, faults)));
    }
    let whole = |low: i64, high: i64| value.as_i64().filter(|number| (low..=high).contains(number));
    let (read, expected) = match kind {
        Type::String => (value.as_str().map(|text| Field::String(text.into())), "a text; write it in quotes"),
        Type::Bool => (value.as_bool().map(Field::Bool), "true or false"),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => {
            let number = whole(i32::MIN.into(), i32::MAX.into()).and_then(|number| i32::try_from(number).ok());
            (number.map(Field::I32), "a whole number of 32 bits")
        }
        Type::Uint32 | Type::Fixed32 => {
            let number = whole(0, u32::MAX.into()).and_then(|number| u32::try_from(number).ok());
            (number.map(Field::U32), "a whole number from 0 to 4294967295")
        }
        Type::Uint64 => (value.as_u64().map(Field::U64), "a whole number that is not negative"),
        Type::Bytes => {
            let bytes = value.as_str().and_then(unhex);
            (bytes.map(|bytes| Field::Bytes(bytes.into())), "a text of pairs of hexadecimal digits")
        }
        // Nothing has them: other readers print 64-bit numbers as texts, doubles do not round-trip.
        Type::Int64 | Type::Sint64 | Type::Sfixed64 | Type::Fixed64 => (None, "known here"),
        Type::Double | Type::Float | Type::Enum(_) | Type::Message(_) => (None, "known here"),
    };
    if read.is_none() {
        faults.note(format!("{} is not {expected}", show(value)));
    }
    read
}

/// A value as it is shown in a fault: short.
fn show(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) if text.chars().count() > 40 => format!("{:?}…", text.chars().take(40).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn null_advice(value: &Value) -> &'static str {
    if value.is_null() { "; leave the field out, or write {} where only its presence counts" } else { "" }
}

// === writing ===

fn write_message(message: &DynamicMessage) -> Value {
    if let Some(value) = secret::value_of(message) {
        return json!({"digest": secret::digest(&value)});
    }
    let mut object = Map::new();
    for field in message.descriptor().fields() {
        // Without presence a default is the same as nothing; a member of a choice has presence.
        if message.has_field(&field) {
            object.insert(field.name().into(), write_field(&message.get_field(&field)));
        }
    }
    Value::Object(object)
}

fn write_field(field: &Field) -> Value {
    match field {
        Field::Bool(value) => Value::Bool(*value),
        Field::I32(value) => Value::from(*value),
        Field::U32(value) => Value::from(*value),
        Field::U64(value) => Value::from(*value),
        Field::String(value) => Value::String(value.clone()),
        Field::Bytes(value) => Value::String(hex(value)),
        Field::Message(message) => write_message(message),
        Field::List(items) => Value::Array(items.iter().map(write_field).collect()),
        Field::Map(entries) => {
            let entry = |(key, value): (&MapKey, &Field)| Some((key.as_str()?.to_string(), write_field(value)));
            // A map has no order of its own.
            let sorted: BTreeMap<String, Value> = entries.iter().filter_map(entry).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Field::I64(_) | Field::F32(_) | Field::F64(_) | Field::EnumNumber(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(kind: Kind, value: &Value) -> Vec<(String, String)> {
        let faults = read(kind, value).expect_err("it is faulty");
        faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_contract_and_maps_sorted() {
        let text = r#"{"name":"u","labels":{"a":"1","b":"2","c":"3"},"endpoints":[{"address":"a:1"}],"balance":{"random":{}}}"#;
        let read = read(Kind::Upstream, &serde_json::from_str(text).expect("JSON")).expect("an upstream");
        assert_eq!(write(&read).to_string(), text);
    }

    #[test]
    fn what_is_read_is_written() {
        let route = json!({
            "name": "orders",
            "labels": {"team": "pay", "env": "dev"},
            "priority": -1,
            "match": {
                "hosts": ["api.example.com"],
                "path": {"prefix": "/orders"},
                "methods": ["GET"],
                "headers": [{"name": "x-a", "present": false}, {"name": "x-b", "exact": ""}],
            },
            "forward": {"upstream": "orders", "rewrite": {"prefix": "/"}},
            "policies": [{"ref": "common"}, {"response_headers": {"remove": ["server"]}}],
        });
        let read_once = read(Kind::Route, &route).expect("a route");
        assert_eq!(write(&read_once), route);
        assert_eq!(read(Kind::Route, &write(&read_once)).expect("a route").payload, read_once.payload);
        let upstream =
            json!({"name": "u", "endpoints": [{"address": "a:1", "weight": 0}], "balance": {"least_request": {}}});
        assert_eq!(write(&read(Kind::Upstream, &upstream).expect("an upstream")), upstream);
        let policy = json!({"name": "p", "global": {}, "response_headers": {"set": [{"name": "a", "value": "b"}]}});
        assert_eq!(write(&read(Kind::Policy, &policy).expect("a policy")), policy);
    }

    #[test]
    fn a_message_has_one_encoding() {
        let labels: Map<String, Value> = (0..30).map(|n| (format!("k{n}"), json!("v"))).collect();
        let value = json!({"name": "u", "labels": labels, "endpoints": [{"address": "a:1"}]});
        let payload = read(Kind::Upstream, &value).expect("an upstream").payload;
        for _ in 0..20 {
            assert_eq!(read(Kind::Upstream, &value).expect("an upstream").payload, payload);
        }
    }

    #[test]
    fn all_faults_of_shape_come_at_once() {
        let route = json!({
            "name": "UP",
            "prioritty": 1,
            "labels": {"a": 1},
            "match": {"path": {}, "hosts": "a", "headers": [{"name": "x", "exact": "1", "prefix": "2"}], "methods": [true]},
            "forward": null,
            "respond": {"status": 99_999_999_999_u64},
            "policies": [7],
        });
        let found = faults(Kind::Route, &route);
        let mut pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        pointers.sort_unstable();
        let expect = [
            "/forward",
            "/labels/a",
            "/match/headers/0/prefix",
            "/match/hosts",
            "/match/methods/0",
            "/match/path",
            "/name",
            "/policies/0",
            "/prioritty",
            "/respond",
            "/respond/status",
        ];
        assert_eq!(pointers, expect);
        assert!(found.iter().any(|(_, detail)| detail.contains("did you mean \"priority\"?")));
    }

    #[test]
    fn a_missing_choice_says_what_there_is() {
        assert_eq!(
            faults(Kind::Route, &json!({"name": "a"})),
            [(String::new(), "a choice is missing; give one of forward, redirect, respond, compose".into())]
        );
        // The typo is the fault, not the choice.
        assert_eq!(faults(Kind::Route, &json!({"name": "a", "forwrd": {}})).len(), 1);
        assert_eq!(faults(Kind::Route, &json!([])).len(), 1);
    }

    #[test]
    fn a_fault_of_meaning_is_told_beside_those_of_shape() {
        let value = json!({"name": "a", "match": {"hosts": ["a b"], "methods": [1]}, "respond": {}, "x": 1});
        let Read { resource, faults, .. } = read_partial(Kind::Route, &value);
        let change = crate::resource::Change::Put(resource.expect("it has a name"));
        let meaning = crate::snapshot::Snapshot::empty().with([change]).expect_err("a bad host");
        let pointers: Vec<String> = merge_faults(faults, meaning).into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/match/methods/0", "/x", "/match/hosts/0"]);
    }
}
