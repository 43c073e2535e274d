//! The operations, by path. The life cycle is described once for all kinds, as it is written once.

mod access;
mod credentials;
mod explain;

use self::access::{
    create_token, delete_token, get_log_level, get_token, list_audit, list_revocations, list_tokens, put_log_level,
    readmit_node, revoke_node,
};
use super::{components::problem_response, in_both, operation::Operation, reference, schemas::message};
use crate::api::{
    body::{JSON, MERGE_PATCH},
    problem::ProblemKind,
    query::{APPLY, DIFF, EXPORT, LIST, PAGES, WRITE},
    roles,
};
use proto::{
    example::example,
    resource::{KINDS, Kind},
};
use serde_json::{Map, Value, json};

const CONFIGURATION: &str = "configuration";
const HISTORY: &str = "history";
const NODES: &str = "nodes";
const ACCESS: &str = "tokens";
const STATUS: &str = "status";
const DESCRIPTION: &str = "description";

const WRITTEN: [&str; 3] = ["ETag", "Portico-Revision", "Portico-Wait"];
const READ: [&str; 3] = ["ETag", "Portico-Revision", "Portico-Stale"];

/// What groups the operations.
pub(super) fn tags() -> Vec<Value> {
    let kinds = KINDS.map(|kind| (kind.plural(), format!("Every {kind}, one by one.")));
    let others = [
        (CONFIGURATION, "The whole, in one piece."),
        (HISTORY, "What the configuration was, and the way back."),
        (NODES, "What runs where."),
        (ACCESS, "Who may do what, and who did what."),
        (STATUS, "For machines that watch."),
        (DESCRIPTION, "This document, for machines and for people."),
    ];
    let others = others.map(|(name, about)| (name, about.to_owned()));
    kinds.into_iter().chain(others).map(|(name, about)| json!({"name": name, "description": about})).collect()
}

/// Every path with its operations.
pub(super) fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    let mut add = |path: &str, operations: Value| paths.insert(path.to_owned(), operations);
    for kind in KINDS {
        add(&format!("/v1/{}", kind.plural()), json!({"get": list(kind), "post": create(kind)}));
        let one = json!({"get": get(kind), "put": put(kind), "patch": patch(kind), "delete": delete(kind)});
        add(&format!("/v1/{}/{{name}}", kind.plural()), one);
    }
    add("/v1/apply", json!({"post": apply()}));
    add("/v1/export", json!({"get": export()}));
    add("/v1/explain", json!({"post": explain::explain()}));
    add("/v1/revisions", json!({"get": list_revisions()}));
    add("/v1/revisions/{revision}", json!({"get": get_revision()}));
    add("/v1/revisions/{revision}/diff", json!({"get": diff()}));
    add("/v1/revisions/{revision}/restore", json!({"post": restore()}));
    add("/v1/tokens", json!({"get": list_tokens(), "post": create_token()}));
    add("/v1/tokens/{name}", json!({"get": get_token(), "delete": delete_token()}));
    add("/v1/consumers/{name}/credentials", json!({"get": credentials::list(), "post": credentials::create()}));
    let one = json!({"get": credentials::get(), "delete": credentials::revoke()});
    add("/v1/consumers/{name}/credentials/{credential}", one);
    add("/v1/consumers/{name}/credentials/{credential}/rotate", json!({"post": credentials::rotate()}));
    add("/v1/audit", json!({"get": list_audit()}));
    add("/v1/log-level", json!({"get": get_log_level(), "put": put_log_level()}));
    add("/v1/nodes", json!({"get": list_nodes()}));
    add("/v1/nodes/{id}/revoke", json!({"post": revoke_node()}));
    add("/v1/nodes/{id}/readmit", json!({"post": readmit_node()}));
    add("/v1/revocations", json!({"get": list_revocations()}));
    add("/v1/nodes/{id}", json!({"get": get_node()}));
    add(super::PATH, json!({"get": open("getDescription", DESCRIPTION, "This document", JSON)}));
    add("/docs", json!({"get": open("getDocs", DESCRIPTION, "This document, for people", "text/html")}));
    let file = open("getDocsFile", DESCRIPTION, "A file of that page", "*/*");
    add("/docs/{file}", json!({"get": file}));
    add("/livez", json!({"get": open("getLiveness", STATUS, "Whether the process answers", JSON)}));
    add("/readyz", json!({"get": open("getReadiness", STATUS, "Whether changes can be made", JSON)}));
    let metrics = "application/openmetrics-text";
    add("/metrics", json!({"get": open("getMetrics", STATUS, "Counters, for Prometheus", metrics)}));
    tell_roles(&mut paths);
    paths
}

// The role that each call needs, which the edge reads of the same table.
fn tell_roles(paths: &mut Map<String, Value>) {
    for (method, path, role) in roles::rows() {
        let Some(operation) = paths.get_mut(&path).and_then(|path| path.get_mut(method.to_lowercase())) else {
            continue;
        };
        operation["security"] = json!([{"adminToken": [role.as_str()]}]);
        let before = operation["description"].as_str().map(|text| format!("{text} ")).unwrap_or_default();
        operation["description"] = format!("{before}Needs the role `{role}`.").into();
        let forbidden = ProblemKind::Forbidden.status();
        operation["responses"][forbidden.as_str()] = reference("responses", &problem_response(forbidden));
    }
}

fn list(kind: Kind) -> Value {
    let page = json!({kind.plural(): [example(kind)], "next_page_token": ""});
    let id = format!("list{}", title(kind.plural()));
    Operation::new(kind.plural(), &id, &format!("List {}", kind.plural()))
        .query(&LIST)
        .parameter("If-None-Match-Read")
        .answer(200, "A page, by name.", &format!("{}List", message(kind)), &page, &READ)
        .response(304, "The client has it already.", None, &["ETag"])
        .build()
}

fn create(kind: Kind) -> Value {
    let created = [&WRITTEN[..], &["Location", "Idempotency-Replayed"]].concat();
    written(Operation::new(kind.plural(), &format!("create{}", message(kind)), &format!("Create {}", one(kind))))
        .about("A name that is left out is made up: a UUIDv7.")
        .parameter("Idempotency-Key")
        .body(&format!("The {kind}."), resource_body(kind))
        .answer(201, "It was created.", &message(kind), &example(kind), &created)
        .problems(&[ProblemKind::NameTaken])
        .build()
}

fn get(kind: Kind) -> Value {
    Operation::new(kind.plural(), &format!("get{}", message(kind)), &format!("Get {}", one(kind)))
        .parameter("name")
        .parameter("If-None-Match-Read")
        .answer(200, "As it was written.", &message(kind), &example(kind), &READ)
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::NotFound])
        .build()
}

fn put(kind: Kind) -> Value {
    written(Operation::new(
        kind.plural(),
        &format!("put{}", message(kind)),
        &format!("Create or replace {}", one(kind)),
    ))
    .about("The same body twice makes one revision. The name may be left out of the body.")
    .parameter("name")
    .parameter("If-Match")
    .parameter("If-None-Match")
    .body(&format!("The {kind}, whole."), resource_body(kind))
    .answer(200, "It was replaced, or was the same.", &message(kind), &example(kind), &WRITTEN)
    .answer(201, "It was created.", &message(kind), &example(kind), &WRITTEN)
    .problems(&[ProblemKind::PreconditionFailed])
    .build()
}

fn patch(kind: Kind) -> Value {
    let content = json!({MERGE_PATCH: {
        "schema": {"type": "object", "description": "What is null is taken away; lists are replaced whole."},
        "example": {"labels": {"team": "pay", "legacy": null}},
    }});
    written(Operation::new(kind.plural(), &format!("patch{}", message(kind)), &format!("Change {}", one(kind))))
        .about("By a JSON merge patch (RFC 7396). The result is checked; pointers of faults are into the result.")
        .parameter("name")
        .parameter("If-Match")
        .parameter("If-None-Match")
        .body("What changes.", content)
        .answer(200, "It was changed, or was the same.", &message(kind), &example(kind), &WRITTEN)
        .problems(&[ProblemKind::NotFound, ProblemKind::PreconditionFailed])
        .build()
}

fn delete(kind: Kind) -> Value {
    written(Operation::new(kind.plural(), &format!("delete{}", message(kind)), &format!("Delete {}", one(kind))))
        .parameter("name")
        .parameter("If-Match")
        .response(204, "It is gone.", None, &["Portico-Revision", "Portico-Wait"])
        .problems(&[ProblemKind::NotFound, ProblemKind::StillReferred, ProblemKind::PreconditionFailed])
        .build()
}

fn apply() -> Value {
    let example = json!({
        "revision": 43, "changed": true, "created": ["route/orders"], "updated": [], "deleted": [], "unchanged": [],
    });
    let headers = [&WRITTEN[..], &["Idempotency-Replayed"]].concat();
    waiting(Operation::new(CONFIGURATION, "apply", "Write many resources in one revision"))
        .about(
            "All or nothing. Nothing is deleted without `prune`. `If-Match` takes the tag of the whole configuration, \
             as `export` without `labels` and every `apply` answer with it.",
        )
        .query(&APPLY)
        .parameter("If-Match")
        .parameter("Idempotency-Key")
        .parameter("Portico-Reason")
        .body("The resources.", in_both(&reference("schemas", "Configuration"), &whole()))
        .answer(200, "What it did, or in a dry run would do.", "Applied", &example, &headers)
        .problems(&[ProblemKind::PreconditionFailed])
        .build()
}

fn export() -> Value {
    Operation::new(CONFIGURATION, "export", "Get the whole configuration")
        .about("In the form that `apply` takes, in the order of kinds and names.")
        .query(&EXPORT)
        .parameter("If-None-Match-Read")
        .answer(200, "The resources.", "Configuration", &whole(), &READ)
        .response(304, "The client has it already.", None, &["ETag"])
        .build()
}

fn list_revisions() -> Value {
    let page = json!({"revisions": [revision()], "next_page_token": ""});
    history("listRevisions", "List revisions")
        .query(&PAGES)
        .answer(200, "A page, newest first.", "RevisionList", &page, &["ETag"])
        .build()
}

fn get_revision() -> Value {
    history("getRevision", "Get a revision")
        .parameter("revision")
        .answer(200, "What is known of it.", "Revision", &revision(), &["ETag"])
        .problems(&[ProblemKind::NotFound])
        .build()
}

fn diff() -> Value {
    let change = json!({
        "resource": "route/orders", "kind": "route", "name": "orders", "before": null, "after": example(Kind::Route),
    });
    history("diffRevisions", "Compare two revisions")
        .about("From the revision to `to`; from the one before to the revision when `to` is left out.")
        .parameter("revision")
        .query(&DIFF)
        .answer(200, "What differs.", "Difference", &json!({"from": 41, "to": 42, "changes": [change]}), &["ETag"])
        .problems(&[ProblemKind::NotFound])
        .build()
}

fn restore() -> Value {
    let example = json!({"revision": 44, "changed": true, "created": [], "updated": ["route/orders"], "deleted": []});
    let headers = [&WRITTEN[..], &["Idempotency-Replayed"]].concat();
    written(Operation::new(HISTORY, "restoreRevision", "Go back to a revision"))
        .about("Makes a new revision that says the same as the old one.")
        .parameter("revision")
        .parameter("If-Match")
        .parameter("Idempotency-Key")
        .answer(200, "What it did.", "Applied", &example, &headers)
        .problems(&[ProblemKind::NotFound, ProblemKind::PreconditionFailed, ProblemKind::InvalidConfiguration])
        .build()
}

fn list_nodes() -> Value {
    Operation::new(NODES, "listNodes", "List nodes")
        .query(&LIST)
        .parameter("If-None-Match-Read")
        .answer(
            200,
            "A page, by id.",
            "NodeList",
            &json!({"nodes": [node()], "next_page_token": ""}),
            &["ETag", "Portico-Stale"],
        )
        .response(304, "The client has it already.", None, &["ETag"])
        .build()
}

fn get_node() -> Value {
    Operation::new(NODES, "getNode", "Get a node")
        .parameter("id")
        .parameter("If-None-Match-Read")
        .answer(200, "As it was last seen.", "Node", &node(), &["ETag"])
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::NotFound, ProblemKind::Unavailable])
        .build()
}

// Reads of the history need the database.
fn history(id: &str, summary: &str) -> Operation {
    Operation::new(HISTORY, id, summary)
        .parameter("If-None-Match-Read")
        .response(304, "The client has it already.", None, &["ETag"])
        .problems(&[ProblemKind::Unavailable])
}

// What every write takes and how it may end.
fn written(operation: Operation) -> Operation {
    waiting(operation).query(&WRITE).parameter("Portico-Reason")
}

fn waiting(operation: Operation) -> Operation {
    let example = json!({"revision": 43, "wait": {"running": 2, "live": 3, "stale": false, "lagging": [node()]}});
    operation
        .answer(202, "It stands, but fewer nodes than waited for run it yet.", "Waiting", &example, &WRITTEN)
        .problems(&[ProblemKind::Shrinks, ProblemKind::Unavailable])
}

fn open(id: &str, tag: &str, summary: &str, media_type: &str) -> Value {
    let schema = match media_type {
        JSON => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    };
    let operation = Operation::open(tag, id, summary).without_token();
    let operation = operation.response(200, summary, Some(json!({media_type: {"schema": schema}})), &[]);
    match id {
        "getDocsFile" => operation.parameter("file").problems(&[ProblemKind::NotFound]).build(),
        "getReadiness" => operation.problems(&[ProblemKind::Unavailable]).build(),
        _ => operation.build(),
    }
}

fn resource_body(kind: Kind) -> Value {
    in_both(&reference("schemas", &message(kind)), &example(kind))
}

fn whole() -> Value {
    KINDS.into_iter().map(|kind| (kind.plural().to_owned(), json!([example(kind)]))).collect::<Map<_, _>>().into()
}

fn revision() -> Value {
    json!({
        "revision": 42,
        "at": "2026-11-24T09:30:00Z",
        "author": "deploy",
        "reason": "move orders to the new cluster",
        "root": "9c53",
        "resources": 3,
        "confirmed_shrink": false,
    })
}

fn node() -> Value {
    json!({
        "id": "0193b3a2-7c1e-7d44-9c53-6f1f0e3b2a10",
        "control_plane": "control-plane-1:7081",
        "build": env!("CARGO_PKG_VERSION"),
        "labels": {"zone": "a"},
        "peer": "10.0.0.7:41022",
        "status_address": "10.0.0.7:7090",
        "connected": true,
        "connected_since": "2026-11-24T09:00:00Z",
        "last_seen": "2026-11-24T09:30:00Z",
        "live": true,
        "draining": false,
        "revoked": false,
        "running": {
            "revision": 42, "history": "5f2b", "root": "9c53", "since": "2026-11-24T09:30:00Z", "persisted": true,
        },
        "refused": null,
        "unhealthy": [{
            "upstream": "orders", "endpoints": 3, "healthy": 2,
            "down": [{"endpoint": "10.0.1.9:8080", "reason": "connect", "since": "2026-11-24T09:29:58Z"}],
        }],
        "unhealthy_omitted": 0,
    })
}

fn one(kind: Kind) -> String {
    let article = if kind.as_str().starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
