//! What is shown to nobody: it goes in by a configuration, and only its digest comes out.
//!
//! A field of the type `Secret` is secret, whichever message it stands in; the option `secret` marks where in it the
//! value is. Whatever writes a message for people goes by that, and so cannot forget a field.

use crate::{invalid::Faults, pb};
use pb::secret::Source;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt, sync::LazyLock};

/// The longest secret, in bytes.
pub const MAX_SECRET: usize = 64 * 1024;

/// The messages that hold a secret, each with the field that does.
static MARKED: LazyLock<HashMap<String, FieldDescriptor>> = LazyLock::new(|| {
    let option = pb::POOL.get_extension_by_name("portico.v1.secret").expect("secret.proto defines it");
    let marked = |field: &FieldDescriptor| field.options().get_extension(&option).as_bool() == Some(true);
    let fields = pb::POOL.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(marked).map(|field| (field.parent_message().full_name().to_string(), field)).collect()
});

/// How a secret is shown.
pub fn digest(value: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(value.as_bytes()).into();
    format!("sha256:{}", crate::identity::hex(&hash))
}

/// What a checked configuration says of a secret: its value. Where it comes from is settled before.
pub(crate) fn check<'a>(message: Option<&'a pb::Secret>, faults: &mut Faults) -> Option<&'a str> {
    match message.and_then(|message| message.source.as_ref()) {
        Some(Source::Value(value)) if value.is_empty() => faults.note_at("value", "the secret is empty"),
        Some(Source::Value(value)) if value.len() > MAX_SECRET => {
            faults.note_at("value", format!("a secret has at most {} KiB", MAX_SECRET >> 10));
        }
        Some(Source::Value(value)) => return Some(value),
        Some(Source::Digest(_)) => faults
            .note_at("digest", "this resource holds no secret with this digest; give the secret itself, as {value: …}"),
        Some(Source::File(_)) => faults.note_at("file", NOT_HERE),
        Some(Source::Env(_)) => faults.note_at("env", NOT_HERE),
        None => faults.note("a secret is missing; give {value: …}"),
    }
    None
}

const NOT_HERE: &str = "is read where the document is, by `portico apply` or `portico-node --config`, and never by a \
                        control plane; use one of these, or give {value: …}";

/// The field of the message that holds a secret, if it is such a message.
pub(crate) fn field_of(message: &MessageDescriptor) -> Option<&'static FieldDescriptor> {
    MARKED.get(message.full_name())
}

/// Whether the field holds a secret.
pub(crate) fn is_marked(field: &FieldDescriptor) -> bool {
    field_of(field.parent_message()).is_some_and(|marked| marked == field)
}

/// The secret of the message, if it has one.
pub(crate) fn value_of(message: &DynamicMessage) -> Option<String> {
    let field = field_of(&message.descriptor())?;
    message.has_field(field).then(|| message.get_field(field).as_str().map(str::to_string)).flatten()
}

// === impl pb::Secret ===

impl fmt::Debug for pb::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_on_the_value_of_a_secret_and_nowhere_else() {
        let marked: Vec<String> = MARKED.values().map(|field| field.full_name().to_string()).collect();
        assert_eq!(marked, ["portico.v1.Secret.value"]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = pb::Secret { source: Some(Source::Value("hush".into())) };
        assert!(!format!("{secret:?} {:?}", secret.source).contains("hush"));
    }
}
