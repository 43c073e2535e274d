//! The schemas: of resources from the contract, and of what the API adds around them.

mod access;
mod credentials;

use super::reference;
use proto::{
    resource::{KINDS, Kind},
    schema,
};
use serde_json::{Map, Value, json};

/// Every schema, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = schema::schemas();
    for kind in KINDS {
        let page = list(kind.plural(), &message(kind), "By name.");
        schemas.insert(format!("{}List", message(kind)), page);
    }
    schemas.extend(own());
    schemas.extend(access::schemas());
    schemas.extend(credentials::schemas(&schemas));
    schemas
}

/// The name of a kind's message, which is that of its schema.
pub(super) fn message(kind: Kind) -> String {
    kind.message().rsplit('.').next().unwrap_or_default().to_owned()
}

fn own() -> Map<String, Value> {
    let schemas = [
        ("Applied", applied()),
        ("Change", change()),
        ("Difference", difference()),
        ("Revision", revision()),
        ("RevisionList", list("revisions", "Revision", "Newest first.")),
        ("Node", node()),
        ("NodeList", list("nodes", "Node", "By id.")),
        ("Running", running()),
        ("Refused", refused()),
        ("UnhealthyUpstream", unhealthy_upstream()),
        ("Waiting", waiting()),
        ("Fault", fault()),
        ("Problem", problem()),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn applied() -> Value {
    let names = |about: &str| described(about, json!({"type": "array", "items": name_of_resource()}));
    object(
        "What a write of many resources did, or would do.",
        &["revision", "changed", "created", "updated", "deleted"],
        json!({
            "revision": number("The revision that has it; in a dry run, the one that it was tried on."),
            "changed": flag("Whether anything changed; if not, there is no new revision."),
            "dry_run": flag("Nothing was done."),
            "created": names("What was not there before."),
            "updated": names("What is different now."),
            "deleted": names("What is gone."),
            "unchanged": names("What the body has and was the same before."),
            "changes": described(
                "In a dry run: each resource that differs, before and after.",
                json!({"type": "array", "items": reference("schemas", "Change")}),
            ),
        }),
    )
}

fn change() -> Value {
    let either = |about: &str| {
        let mut schemas: Vec<Value> = KINDS.iter().map(|kind| reference("schemas", &message(*kind))).collect();
        schemas.push(json!({"type": "null"}));
        described(about, json!({"anyOf": schemas}))
    };
    object(
        "One resource, before and after.",
        &["resource", "kind", "name", "before", "after"],
        json!({
            "resource": described("Kind and name.", name_of_resource()),
            "kind": described("Its kind.", json!({"type": "string", "enum": KINDS.map(Kind::as_str)})),
            "name": text("Its name."),
            "before": either("Null when it was not there."),
            "after": either("Null when it is gone."),
        }),
    )
}

fn difference() -> Value {
    object(
        "What differs between two revisions.",
        &["from", "to", "changes"],
        json!({
            "from": number("The revision before."),
            "to": number("The revision after."),
            "changes": described(
                "Each resource that differs.",
                json!({"type": "array", "items": reference("schemas", "Change")}),
            ),
        }),
    )
}

fn revision() -> Value {
    object(
        "One state of the whole configuration.",
        &["revision", "at", "author", "reason", "root", "resources", "confirmed_shrink"],
        json!({
            "revision": number("Its number; contiguous from 0, the empty configuration."),
            "at": time("When it was made."),
            "author": text("By whom."),
            "reason": described("Why.", json!({"type": ["string", "null"]})),
            "root": digest("The root of the hash tree over all its resources."),
            "resources": number("How many resources it has."),
            "confirmed_shrink": flag("It took away more than half, and that was confirmed."),
        }),
    )
}

fn node() -> Value {
    let nullable =
        |name: &str, about: &str| described(about, json!({"anyOf": [reference("schemas", name), {"type": "null"}]}));
    let optional = |about: &str| described(about, json!({"type": ["string", "null"]}));
    object(
        "One running data plane, as it was last seen.",
        &[
            "id",
            "control_plane",
            "build",
            "labels",
            "connected",
            "connected_since",
            "last_seen",
            "live",
            "draining",
            "running",
            "refused",
            "unhealthy",
            "unhealthy_omitted",
        ],
        json!({
            "id": text("The node's own id."),
            "control_plane": text("The control plane that its last stream is or was at: its machine and port."),
            "build": text("The version of its program."),
            "labels": described("From its settings.", json!({
                "type": "object", "additionalProperties": {"type": "string"},
            })),
            "peer": optional("Where its stream comes from."),
            "status_address": optional("Where its status can be asked."),
            "connected": flag("Whether its stream stands."),
            "connected_since": time("Since when its last stream stands or stood."),
            "last_seen": time("When it last said anything."),
            "live": flag("It said something within 15 s, did not leave in order, and is not revoked."),
            "revoked": flag("It is not let in any more; told in lists and of one."),
            "draining": flag("It takes no new connections and ends soon."),
            "running": nullable("Running", "What it runs."),
            "refused": nullable("Refused", "What it refused last, unless it runs that or something newer."),
            "unhealthy": described("The upstreams of which an endpoint takes no traffic there, at most 100.", json!({
                "type": "array", "items": reference("schemas", "UnhealthyUpstream"),
            })),
            "unhealthy_omitted": number("How many more there are."),
        }),
    )
}

fn unhealthy_upstream() -> Value {
    let down = object(
        "An endpoint that takes no traffic.",
        &["endpoint", "reason", "since"],
        json!({
            "endpoint": text("Its address."),
            "reason": text(
                "`check`: it fails its checks; else what ejected it: `connect`, `timeout`, `broken` or `status`.",
            ),
            "since": time("Since when."),
        }),
    );
    object(
        "An upstream of which an endpoint takes no traffic at a node.",
        &["upstream", "endpoints", "healthy", "down"],
        json!({
            "upstream": text("Its name."),
            "endpoints": number("How many endpoints it has."),
            "healthy": number("How many of them are healthy."),
            "down": described("Those that are not, at most 16.", json!({"type": "array", "items": down})),
        }),
    )
}

fn running() -> Value {
    object(
        "A configuration that a node runs.",
        &["revision", "history", "root", "since", "persisted"],
        json!({
            "revision": number("Its number."),
            "history": digest("The history that the number counts in."),
            "root": digest("The root of its hash tree."),
            "since": time("Since when."),
            "persisted": flag("It is also on the node's disk."),
        }),
    )
}

fn refused() -> Value {
    object(
        "A configuration that a node did not accept; the one before goes on.",
        &["revision", "history", "root", "at", "errors"],
        json!({
            "revision": number("Its number."),
            "history": digest("The history that the number counts in."),
            "root": digest("The root of its hash tree."),
            "at": time("When."),
            "errors": described("Why.", json!({"type": "array", "items": reference("schemas", "Fault")})),
        }),
    )
}

fn waiting() -> Value {
    let wait = object(
        "How far it got.",
        &["running", "live", "stale", "lagging"],
        json!({
            "running": number("How many live nodes run it."),
            "live": number("How many live nodes there are, at all control planes."),
            "stale": flag("The database did not answer, so nodes at other control planes may be missing here."),
            "lagging": described(
                "The live nodes that do not run it.",
                json!({"type": "array", "items": reference("schemas", "Node")}),
            ),
        }),
    );
    object(
        "The change stands, but fewer nodes than waited for run it yet.",
        &["revision", "wait"],
        json!({"revision": number("The revision that has the change."), "wait": wait}),
    )
}

fn fault() -> Value {
    object(
        "One fault of a configuration.",
        &["pointer", "detail"],
        json!({
            "resource": described(
                "The resource that has it, when it is not in the body.",
                json!({"type": ["string", "null"], "examples": ["route/orders"]}),
            ),
            "pointer": text("A JSON Pointer (RFC 6901) into the body; into `resource` when that is given."),
            "detail": text("What is wrong and what to do."),
        }),
    )
}

fn problem() -> Value {
    let mut problem = object(
        "What is wrong, as RFC 9457 has it.",
        &["type", "title", "status", "detail", "instance", "request_id"],
        json!({
            "type": described(
                "The kind of problem; it never changes.",
                json!({"type": "string", "enum": crate::api::problem::KINDS.map(|kind| kind.uri())}),
            ),
            "title": text("The kind of problem, for people."),
            "status": number("The status of the answer."),
            "detail": text("What is wrong and what to do."),
            "instance": text("The path that was asked for."),
            "request_id": text("The id of the request; the log has it too."),
            "errors": described(
                "All faults of a configuration.",
                json!({"type": "array", "items": reference("schemas", "Fault")}),
            ),
            "omitted": number("How many more faults there are than are listed."),
            "line": number("Where the body cannot be read."),
            "column": number("Where in the line."),
            "parameter": text("The query parameter or header that is wrong."),
            "resource": described("The resource whose name is taken.", name_of_resource()),
            "referrers": described(
                "The resources that still refer to it.",
                json!({"type": "array", "items": name_of_resource()}),
            ),
            "from": number("How many resources there are."),
            "to": number("How many would be left."),
        }),
    );
    problem["required"] = json!(["type", "title", "status", "instance", "request_id"]);
    problem
}

fn list(field: &str, item: &str, order: &str) -> Value {
    object(
        "A page of a list.",
        &[field, "next_page_token"],
        json!({
            field: described(order, json!({"type": "array", "items": reference("schemas", item)})),
            "next_page_token": text("Where the next page begins; empty at the end."),
        }),
    )
}

fn object(about: &str, required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "description": about, "required": required, "properties": properties})
}

fn described(about: &str, mut schema: Value) -> Value {
    schema["description"] = about.into();
    schema
}

fn text(about: &str) -> Value {
    described(about, json!({"type": "string"}))
}

fn number(about: &str) -> Value {
    described(about, json!({"type": "integer", "minimum": 0}))
}

fn flag(about: &str) -> Value {
    described(about, json!({"type": "boolean"}))
}

fn time(about: &str) -> Value {
    described(about, json!({"type": "string", "format": "date-time"}))
}

fn digest(about: &str) -> Value {
    described(about, json!({"type": "string", "pattern": "^[0-9a-f]+$"}))
}

fn name_of_resource() -> Value {
    let kinds = KINDS.map(Kind::as_str).join("|");
    json!({"type": "string", "pattern": format!("^({kinds})/"), "examples": ["route/orders"]})
}
