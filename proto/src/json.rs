//! The JSON form of a resource, read and written by one walk over the message descriptors.

use crate::{
    invalid::Invalid,
    resource::{Kind, Resource},
};
use serde_json::Value;

/// Reads a resource; every fault of shape at once.
pub fn read(_kind: Kind, _value: &Value) -> Result<Resource, Vec<Invalid>> {
    Err(Vec::new())
}

/// Writes a resource in the form that [`read`] takes.
pub fn write(_resource: &Resource) -> Value {
    Value::Null
}
