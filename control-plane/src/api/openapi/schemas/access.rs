//! The schemas of admin tokens, of revoked nodes, and of the audit.

use super::{described, list, number, object, text, time};
use crate::{
    api::openapi::reference,
    author::{ROLES, Role},
    store::{CHANGES_TOLD, DONE, Done},
};
use proto::name;
use serde_json::{Map, Value, json};

/// All of them, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let schemas = [
        ("Role", role()),
        ("NewToken", new_token()),
        ("Token", token("An admin token, but for itself.", &[])),
        ("MadeToken", made_token()),
        ("TokenList", list("tokens", "Token", "By name.")),
        ("Revocation", revocation()),
        ("RevocationList", list("revocations", "Revocation", "By id.")),
        ("LogLevel", log_level()),
        ("AuditLine", audit_line()),
        ("AuditList", list("audit", "AuditLine", "Newest first.")),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn role() -> Value {
    json!({
        "type": "string",
        "enum": ROLES.map(Role::as_str),
        "description": "What a token may do. A viewer reads the configuration, its history and the nodes; an editor \
            writes the configuration too; an admin also makes and deletes tokens, revokes nodes and reads the audit.",
    })
}

fn new_token() -> Value {
    let mut token = object(
        "What a token is to be.",
        &["name", "role"],
        json!({
            "name": {
                "type": "string",
                "maxLength": name::MAX_LEN,
                "description": "Its name, as a resource has one; `bootstrap` is taken.",
            },
            "role": reference("schemas", "Role"),
            "expires_in": text("How long it is good for: days, `90d`, or up to a day, `8h`. Left out: for ever."),
            "expires_at": time("Or until when."),
        }),
    );
    token["additionalProperties"] = false.into();
    token
}

fn token(about: &str, more: &[&str]) -> Value {
    let fields = ["name", "role", "created_at", "created_by", "expires_at", "last_used_at"];
    object(
        about,
        &[&fields[..], more].concat(),
        json!({
            "name": text("Its name."),
            "role": reference("schemas", "Role"),
            "created_at": time("When it was made."),
            "created_by": text("With which token."),
            "expires_at": nullable(time("Until when it is good; null: for ever.")),
            "last_used_at": nullable(time("When it was last used, to a few minutes; null: not yet.")),
        }),
    )
}

fn made_token() -> Value {
    let mut made = token("A new token. Nobody can read it again.", &["token"]);
    made["properties"]["token"] = text("The token: send it as `Authorization: Bearer TOKEN`.");
    made
}

fn revocation() -> Value {
    object(
        "A node that is not let in any more.",
        &["id", "revoked_at", "revoked_by"],
        json!({
            "id": text("The node's own id."),
            "revoked_at": time("Since when, by the clock of the database."),
            "revoked_by": text("With which token."),
        }),
    )
}

fn log_level() -> Value {
    let level = text("`off`, `error`, `warn`, `info`, `debug` or `trace`, or `target=level` and commas between.");
    object("What a program's own log tells.", &["log_level"], json!({ "log_level": level }))
}

fn audit_line() -> Value {
    let optional = |about: &str| nullable(text(about));
    let change = object(
        "What was changed.",
        &["resource", "kind", "name", "done"],
        json!({
            "resource": text("Kind and name."),
            "kind": text("Its kind: that of a resource, `token` or `node`."),
            "name": text("Its name; the id of a node."),
            "done": described("What became of it.", json!({"type": "string", "enum": DONE.map(Done::as_str)})),
        }),
    );
    object(
        "Something that was done.",
        &[
            "id",
            "at",
            "actor",
            "role",
            "peer",
            "request_id",
            "method",
            "path",
            "reason",
            "revision",
            "changes",
            "changes_omitted",
        ],
        json!({
            "id": number("Its number; without gaps, in the order in which things were done."),
            "at": time("When, by the clock of the database."),
            "actor": text("The name of the token; `bootstrap`: that of the settings."),
            "role": reference("schemas", "Role"),
            "peer": optional("The address that the request came from: that of a proxy, if there is one before."),
            "request_id": text("The id of the request."),
            "method": text("Its method."),
            "path": text("Its path, as this document has it."),
            "reason": optional("Why, if that was said."),
            "revision": nullable(number("The revision that it made, if it made one; its diff tells all of it.")),
            "changes": described(
                &format!("What was changed, by kind and name, at most {CHANGES_TOLD}."),
                json!({"type": "array", "items": change}),
            ),
            "changes_omitted": number("How many more there are."),
        }),
    )
}

fn nullable(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}
