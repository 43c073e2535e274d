//! Every node, and what it runs.

use super::{
    call::Call,
    edge::marked_stale,
    form::time_text,
    page::{self, Page},
    problem::Problem,
    query::{LIST, NONE},
    selector::Selector,
};
use crate::nodes::{EndpointDown, NodeStatus, UpstreamHealth};
use axum::response::Response;
use proto::{
    identity::{Identity, hex},
    invalid::Invalid,
};
use serde_json::{Map, Value, json};

/// `GET /v1/nodes`: by id.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let parameters = call.parameters(&LIST)?;
    let selector = Selector::read(&parameters)?;
    let filter = format!("nodes {selector}");
    let page = Page::read(&parameters, &filter)?;
    let follows = |id: &str| page.after.as_ref().is_none_or(|after| id > after.as_str());
    let wanted = |node: &NodeStatus| selector.matches(&node.labels);
    let found = call.state.fleet.page(page.size, follows, wanted).await;
    let next = found.nodes.last().filter(|_| found.more).map(|last| page::token(&last.id, &filter)).unwrap_or_default();
    let body = json!({"nodes": found.nodes.iter().map(|node| whole(node, &call)).collect::<Vec<_>>(), "next_page_token": next});
    let response = call.form().write_tagged(None, &call.head.headers, &body);
    Ok(if found.stale { marked_stale(response) } else { response })
}

/// `GET /v1/nodes/{id}`.
pub(crate) async fn get(id: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let found = call.state.fleet.page(1, |other| other == id, |_| true).await;
    let Some(node) = found.nodes.first() else {
        return Err(match found.stale {
            true => Problem::unavailable("nodes at other control planes cannot be read of; try again"),
            false => Problem::not_found(format_args!("node with the id {id:?}")),
        });
    };
    let response = call.form().write_tagged(None, &call.head.headers, &whole(node, &call));
    Ok(if found.stale { marked_stale(response) } else { response })
}

// With what only those need who ask for nodes.
fn whole(node: &NodeStatus, call: &Call) -> Value {
    let mut whole = json(node);
    whole["revoked"] = call.state.access.is_revoked(&node.id).into();
    whole
}

/// A node as the API tells of it.
pub(crate) fn json(node: &NodeStatus) -> Value {
    let running = node.running.as_ref().map(|running| {
        let mut object = identity_json(&running.identity);
        object.insert("since".into(), time_text(running.since).into());
        object.insert("persisted".into(), running.persisted.into());
        Value::from(object)
    });
    let refused = node.refused.as_ref().map(|refused| {
        let mut object = identity_json(&refused.identity);
        object.insert("at".into(), time_text(refused.at).into());
        object.insert("errors".into(), refused.faults.iter().map(fault_json).collect());
        Value::from(object)
    });
    json!({
        "id": node.id,
        "control_plane": node.control_plane,
        "build": node.build,
        "labels": node.labels,
        "peer": node.peer,
        "status_address": node.status_address,
        "connected": node.connected,
        "connected_since": time_text(node.connected_since),
        "last_seen": time_text(node.last_seen),
        "live": node.live,
        "draining": node.draining,
        "running": running,
        "refused": refused,
        "unhealthy": node.health.upstreams.iter().map(upstream_json).collect::<Vec<_>>(),
        "unhealthy_omitted": node.health.omitted,
    })
}

fn upstream_json(upstream: &UpstreamHealth) -> Value {
    let down =
        |down: &EndpointDown| json!({"endpoint": down.address, "reason": down.reason, "since": time_text(down.since)});
    json!({
        "upstream": upstream.name,
        "endpoints": upstream.endpoints,
        "healthy": upstream.healthy,
        "down": upstream.down.iter().map(down).collect::<Vec<_>>(),
    })
}

fn identity_json(identity: &Identity) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("revision".into(), identity.revision.into());
    object.insert("history".into(), hex(&identity.history).into());
    object.insert("root".into(), hex(&identity.root).into());
    object
}

fn fault_json(fault: &Invalid) -> Value {
    let resource = fault.resource.as_ref().map(|key| key.to_string());
    json!({"resource": resource, "pointer": fault.pointer, "detail": fault.detail})
}
