//! What the API says of itself.
use serde_json::{Value, json};
pub(crate) fn document() -> Value {
    json!({})
}
