//! JSON of strangers: within limits, and no name twice in one object, for two readers could each take another one.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{cell::Cell, fmt};

/// How much one text may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep objects and arrays may stand in each other.
    pub depth: u8,
    /// The most members of objects and elements of arrays, all together.
    pub members: u32,
}

/// The text is no JSON, or not within the limits.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonFault(#[from] serde_json::Error);

/// Parses one object and nothing after it.
pub fn parse_object(text: &[u8], limits: Limits) -> Result<Map<String, Value>, JsonFault> {
    match parse_value(text, limits)? {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object").into()),
    }
}

/// Parses one value, whatever it is, and nothing after it.
pub fn parse_value(text: &[u8], limits: Limits) -> Result<Value, JsonFault> {
    let left = Cell::new(limits.members);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: limits.depth, left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'l> {
    depth: u8,
    left: &'l Cell<u32>,
}

// === impl Strict ===

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Strict { depth, ..self })
    }

    fn count<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("too many members"))?;
        self.left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            self.count()?;
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key_seed(Name)? {
            self.count()?;
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(object.into())
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_object_within_the_limits_is_taken() {
        let check = |text: &str, expect: Result<(), &str>| {
            let parsed = parse_object(text.as_bytes(), Limits { depth: 3, members: 4 });
            match (parsed, expect) {
                (Ok(object), Ok(())) => assert_eq!(Value::Object(object), text.parse::<Value>().unwrap()),
                (Err(fault), Err(expect)) => assert!(fault.to_string().contains(expect), "{text}: {fault}"),
                (found, expect) => panic!("{text}: {found:?} {expect:?}"),
            }
        };
        check(r#" {"a": {"b": [1, "x"]}} "#, Ok(()));
        check(r#"{"a": null, "b": -1, "c": 1.5, "d": true}"#, Ok(()));
        check(r#"{"a": {"b": [[]]}}"#, Err("too deep"));
        check(r#"{"a": [1, 2, 3, 4]}"#, Err("too many"));
        check(r#"{"a": 1, "a": 1}"#, Err("twice"));
        check(r#"{"a": 1, "\u0061": 1}"#, Err("twice"));
        check(r#"{"a": {"b": 1, "b": 2}}"#, Err("twice"));
        check(r#"{} {}"#, Err("trailing"));
        check(r#"{} x"#, Err("trailing"));
        for text in ["", "[]", "\"a\"", "1", "null"] {
            check(text, Err(""));
        }
        for text in
            ["{\"a\": \"\u{1}\"}", "{'a': 1}", "{\"a\": NaN}", "{\"a\": 1e999}", "{\"a\": 1,}", "{\"a\": \"\\ud800\"}"]
        {
            check(text, Err(""));
        }
        assert!(parse_object(b"{\"a\": \"\xff\"}", Limits { depth: 3, members: 4 }).is_err());
    }
}
