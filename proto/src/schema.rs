//! JSON Schemas (2020-12) of the resources, from the message descriptors and their comments.

use serde_json::{Map, Value};

/// The schemas of all messages that resources are made of, by message name (`Route`), with references below
/// `#/components/schemas/`.
pub fn schemas() -> Map<String, Value> {
    Map::new()
}
