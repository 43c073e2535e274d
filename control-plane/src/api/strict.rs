//! A JSON value read strictly: a key that stands twice, too deep a nesting and too many values are refused, in JSON as
//! in YAML.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};
use std::{cell::Cell, fmt};

/// How deep arrays and objects may stand in each other.
pub(crate) const MAX_DEPTH: usize = 64;
/// How many values there may be. In memory a value is many times larger than `0,`; a body that describes resources has
/// fewer.
pub(crate) const MAX_VALUES: usize = 2_000_000;

/// A value in which no key stands twice.
#[derive(Debug)]
pub(crate) struct Strict(pub(crate) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        let values = Cell::new(MAX_VALUES);
        Level { levels: MAX_DEPTH, values: &values }.deserialize(deserializer).map(Strict)
    }
}

// How many levels and values may still follow.
#[derive(Clone, Copy)]
struct Level<'c> {
    levels: usize,
    values: &'c Cell<usize>,
}

impl<'c> Level<'c> {
    fn below<E: Error>(self) -> Result<Level<'c>, E> {
        let levels = self.levels.checked_sub(1);
        let levels = levels.ok_or_else(|| E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")))?;
        Ok(Level { levels, ..self })
    }

    fn count<E: Error>(self) -> Result<(), E> {
        let values = self.values.get().checked_sub(1);
        self.values
            .set(values.ok_or_else(|| E::custom(format_args!("more than {MAX_VALUES} values; send it in parts")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number that JSON has"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(below)? {
            self.count()?;
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            self.count()?;
            match object.entry(key) {
                Entry::Occupied(entry) => {
                    return Err(A::Error::custom(format_args!("key {:?} stands twice in one object", entry.key())));
                }
                Entry::Vacant(entry) => entry.insert(members.next_value_seed(below)?),
            };
        }
        Ok(Value::Object(object))
    }
}
