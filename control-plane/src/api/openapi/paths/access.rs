//! The operations on admin tokens, the revocation of nodes, and the audit.

use super::ACCESS;
use crate::api::{
    openapi::{in_both, operation::Operation, reference},
    problem::ProblemKind,
    query::{AUDIT, PAGES},
};
use serde_json::{Value, json};

pub(super) fn list_tokens() -> Value {
    let page = json!({"tokens": [token()], "next_page_token": ""});
    Operation::new(ACCESS, "listTokens", "List admin tokens")
        .about("Not the tokens themselves, which nobody has but who got them; nor that of the settings.")
        .query(&PAGES)
        .parameter("If-None-Match-Read")
        .answer(200, "A page, by name.", "TokenList", &page, &["ETag", "Portico-Stale"])
        .response(304, "The client has it already.", None, &["ETag"])
        .build()
}

pub(super) fn create_token() -> Value {
    let asked = json!({"name": "deploy", "role": "editor", "expires_in": "90d"});
    let mut made = token();
    made["last_used_at"] = Value::Null;
    // Not one that a program which looks for secrets would find.
    made["token"] = "portico_…".into();
    Operation::new(ACCESS, "createToken", "Make an admin token")
        .about(
            "The token is told in this answer and never again; what is kept is a digest. It works at once here, and \
             within about a second on every other control plane of the database. It is `portico_` and 49 letters and \
             digits, the last six a checksum, so that programs which look for secrets find it: \
             `portico_[0-9A-Za-z]{49}`. There are at most 1,000.",
        )
        .body("What it is to be.", in_both(&reference("schemas", "NewToken"), &asked))
        .answer(201, "It was made.", "MadeToken", &made, &["Location", "Cache-Control"])
        .problems(&[ProblemKind::NameTaken, ProblemKind::Unavailable])
        .build()
}

pub(super) fn get_token() -> Value {
    Operation::new(ACCESS, "getToken", "Get what is known of an admin token")
        .parameter("name")
        .parameter("If-None-Match-Read")
        .answer(200, "All but the token itself.", "Token", &token(), &["ETag", "Portico-Stale"])
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::NotFound])
        .build()
}

pub(super) fn delete_token() -> Value {
    Operation::new(ACCESS, "deleteToken", "Take an admin token away")
        .about(
            "It opens nothing any more: here at once, and within about a second on every other control plane of the \
             database. One that cannot reach the database goes on with the tokens that it knows until it does, for \
             reads; nothing is written with a token that is gone, wherever it is shown. A token may delete itself.",
        )
        .parameter("name")
        .response(204, "It is gone.", None, &[])
        .problems(&[ProblemKind::NotFound, ProblemKind::Unavailable])
        .build()
}

pub(super) fn list_audit() -> Value {
    let line = json!({
        "id": 117,
        "at": "2026-11-24T09:30:00Z",
        "actor": "deploy",
        "role": "editor",
        "peer": "10.0.0.9",
        "request_id": "0193b3a2-7c1e-7d44-9c53-6f1f0e3b2a10",
        "method": "PUT",
        "path": "/v1/routes/{name}",
        "reason": "move orders to the new cluster",
        "revision": 42,
        "changes": [{"resource": "route/orders", "kind": "route", "name": "orders", "done": "replaced"}],
        "changes_omitted": 0,
    });
    Operation::new(ACCESS, "listAudit", "List who did what")
        .about(
            "A line for each change, written in the transaction of the change: there is none without the other. What \
             changed nothing, or was refused, has no line; refusals are in the log and counted. The settings of the \
             control plane say how many lines are kept; the oldest go. The token of the settings is `bootstrap` here. \
             An admin reads this, and not an editor, for it is there to watch over editors too.",
        )
        .query(&AUDIT)
        .parameter("If-None-Match-Read")
        .answer(200, "A page, newest first.", "AuditList", &json!({"audit": [line], "next_page_token": ""}), &["ETag"])
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::Unavailable])
        .build()
}

pub(super) fn get_log_level() -> Value {
    Operation::new(ACCESS, "getLogLevel", "Get what this control plane's own log tells")
        .answer(200, "The level.", "LogLevel", &json!({"log_level": "info"}), &[])
        .build()
}

pub(super) fn put_log_level() -> Value {
    let asked = json!({"log_level": "info,control_plane=debug"});
    Operation::new(ACCESS, "putLogLevel", "Say what this control plane's own log tells")
        .about(
            "From now on and until it ends, when `PORTICO_LOG` counts again; other control planes go on as they do. A \
             node's status port has `/log-level` for the same. At `trace` libraries may tell what they read: what is \
             secret too.",
        )
        .body("The level.", in_both(&reference("schemas", "LogLevel"), &asked))
        .answer(200, "It is told from now on.", "LogLevel", &asked, &[])
        .problems(&[ProblemKind::InvalidFields])
        .build()
}

pub(super) fn revoke_node() -> Value {
    Operation::new(ACCESS, "revokeNode", "Let a node in no more")
        .about(
            "Its streams end, and no control plane of the database takes its certificate or lets anybody join under \
             its id: here at once, elsewhere within about a second, and where the database cannot be reached when it \
             can be again. It goes on with the configuration that it has until somebody stops it. Whoever got hold of \
             a node has seen the join token too, and can join under another id: give the control planes another \
             `--join-token`; nodes that have a certificate need none. The node comes back only when it is admitted \
             again. Where nodes have no certificates (no `--tls-ca-dir`) an id is only what a node says of itself. Any \
             id can be revoked, also that of a node that is not known here any more; twice is once.",
        )
        .parameter("id")
        .answer(200, "It is not let in any more.", "Revocation", &revocation(), &[])
        .problems(&[ProblemKind::NotFound, ProblemKind::LimitReached, ProblemKind::Unavailable])
        .build()
}

pub(super) fn readmit_node() -> Value {
    Operation::new(ACCESS, "readmitNode", "Let a revoked node in again")
        .about(
            "With the certificate that it has, if that has not ended, or when it joins again. If somebody may have a \
             copy of its key, do not: a node whose data directory is emptied comes as another one.",
        )
        .parameter("id")
        .response(204, "It is let in again.", None, &[])
        .problems(&[ProblemKind::NotFound, ProblemKind::Unavailable])
        .build()
}

pub(super) fn list_revocations() -> Value {
    let page = json!({"revocations": [revocation()], "next_page_token": ""});
    Operation::new(ACCESS, "listRevocations", "List nodes that are not let in")
        .query(&PAGES)
        .parameter("If-None-Match-Read")
        .answer(200, "A page, by id.", "RevocationList", &page, &["ETag", "Portico-Stale"])
        .response(304, "The client has it already.", None, &["ETag"])
        .build()
}

fn revocation() -> Value {
    json!({
        "id": "0193b3a2-7c1e-7d44-9c53-6f1f0e3b2a10",
        "revoked_at": "2026-11-24T09:30:00Z",
        "revoked_by": "bootstrap",
    })
}

fn token() -> Value {
    json!({
        "name": "deploy",
        "role": "editor",
        "created_at": "2026-11-24T09:00:00Z",
        "created_by": "bootstrap",
        "expires_at": "2027-02-22T09:00:00Z",
        "last_used_at": "2026-11-24T09:30:00Z",
    })
}
