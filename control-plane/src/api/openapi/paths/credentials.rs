//! The operations on the credentials of a consumer.

use super::{READ, WRITTEN, written};
use crate::api::{
    openapi::{in_both, operation::Operation, reference},
    problem::ProblemKind,
};
use proto::{consumer::CREDENTIALS, example::example, resource::Kind};
use serde_json::{Value, json};

const TOLD_ONCE: &str = "The key is told in this answer and never again; what is kept is a keyed digest. It is `ptk_` and \
    49 letters and digits, the last six a checksum, so that programs which look for secrets find it: \
    `ptk_[0-9A-Za-z]{49}`. Nodes take it once they run the revision: `wait=all` waits for that, and tells the key in any \
    case. There is no Idempotency-Key, for no answer could tell the key again; with an `id` of one's own a second try is \
    refused.";

pub(super) fn list() -> Value {
    read("listCredentials", "List the credentials of a consumer")
        .answer(200, "All of them.", "CredentialList", &json!({"credentials": [credential()]}), &READ)
        .build()
}

pub(super) fn get() -> Value {
    read("getCredential", "Get a credential")
        .parameter("credential")
        .answer(200, "All but the key.", "Credential", &credential(), &READ)
        .build()
}

pub(super) fn create() -> Value {
    let asked = json!({"id": "billing", "expires_in": "90d"});
    made("createCredential", "Make an API key")
        .about(&format!("{TOLD_ONCE} The first one makes the keyring `api-keys` too, if there is none."))
        .body("What it is to be.", in_both(&reference("schemas", "NewCredential"), &asked))
        .build()
}

pub(super) fn rotate() -> Value {
    let asked = json!({"id": "billing-2", "overlap": "24h"});
    made("rotateCredential", "Exchange an API key")
        .about(&format!(
            "Makes another key, and the one that there is goes on for the overlap, so that no request is refused while \
             clients change over. {TOLD_ONCE}"
        ))
        .parameter("credential")
        .body("What the new one is to be, and how long the old one goes on.", {
            in_both(&reference("schemas", "Rotation"), &asked)
        })
        .build()
}

pub(super) fn revoke() -> Value {
    change("revokeCredential", "Revoke a credential")
        .about("It opens nothing any more on every node that runs the revision; `wait=all` waits for all of them.")
        .parameter("credential")
        .response(204, "It is gone.", None, &WRITTEN)
        .build()
}

fn read(id: &str, summary: &str) -> Operation {
    Operation::new(Kind::Consumer.plural(), id, summary)
        .parameter("name")
        .parameter("If-None-Match-Read")
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::NotFound])
}

fn made(id: &str, summary: &str) -> Operation {
    let mut made = credential();
    // Not one that a program which looks for secrets would find.
    made["key"] = "ptk_…".into();
    let headers = [&WRITTEN[..], &["Location", "Cache-Control"]].concat();
    change(id, summary).answer(201, "It was made.", "MadeCredential", &made, &headers)
}

fn change(id: &str, summary: &str) -> Operation {
    written(Operation::new(Kind::Consumer.plural(), id, summary)).parameter("name").parameter("If-Match").problems(&[
        ProblemKind::NotFound,
        ProblemKind::PreconditionFailed,
        ProblemKind::InvalidConfiguration,
    ])
}

fn credential() -> Value {
    example(Kind::Consumer)[CREDENTIALS][0].clone()
}
