//! The schemas of what is said about credentials besides the configuration itself.

use super::{object, text, time};
use crate::api::openapi::reference;
use serde_json::{Map, Value, json};

/// All of them, by name; a made credential is one of the configuration, and its key.
pub(super) fn schemas(resources: &Map<String, Value>) -> Map<String, Value> {
    let schemas = [
        ("CredentialList", list()),
        ("MadeCredential", made(&resources["Credential"])),
        ("NewCredential", new("What a credential is to be.", &[])),
        ("Rotation", new("What the new credential is to be, and how long the old one goes on.", &[overlap()])),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn list() -> Value {
    let all = json!({"type": "array", "items": reference("schemas", "Credential")});
    object("The credentials of a consumer, in the order in which they were made.", &["credentials"], {
        json!({ "credentials": all })
    })
}

fn made(credential: &Value) -> Value {
    let mut made = credential.clone();
    made["description"] = "A new credential with its key. Nobody can read that again.".into();
    made["required"] = json!(["id", "key"]);
    made["properties"]["key"] = text("The API key.");
    made
}

fn new(about: &str, more: &[(&str, Value)]) -> Value {
    let mut new = object(
        about,
        &[],
        json!({
            "id": text("Its id; it stands in logs. Left out: one is made up."),
            "labels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "For people. In an exchange left out: those of the old one.",
            },
            "not_before": time("Since when it is good. Left out: at once."),
            "expires_in": text("How long it is good for: days, `90d`, or up to a day, `8h`. Left out: for ever."),
            "expires_at": time("Or until when."),
        }),
    );
    for (name, schema) in more {
        new["properties"][*name] = schema.clone();
    }
    new["additionalProperties"] = false.into();
    new
}

fn overlap() -> (&'static str, Value) {
    ("overlap", text("How long the old one goes on, as in `24h`, the default, or `30d`; `0s`: it is revoked at once."))
}
