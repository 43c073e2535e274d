//! One answer from several services, over the real processes.

mod lists;
mod matrix;
mod promises;
mod requests;

use crate::harness::{
    stack::{ControlPlane, Node},
    upstream::{Seen, Upstream},
};
use serde_json::{Value, json};

/// An answer with that status and those headers, each with its line end.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// A service that answers each target with that JSON, and others with 404.
fn service(bodies: impl Fn(&Seen) -> Option<String> + Send + Sync + 'static) -> Upstream {
    Upstream::answering(move |seen| match bodies(seen) {
        Some(body) => answer("200 OK", "", &body),
        None => answer("404 Not Found", "", "{}"),
    })
}

/// A gateway with the upstream `service`, and routes of these names and compositions, each at `/name`.
fn gateway(service: &Upstream, routes: Value) -> (ControlPlane, Node) {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    configure(&control_plane, service, routes);
    (control_plane, node)
}

fn configure(control_plane: &ControlPlane, service: &Upstream, routes: Value) {
    let route = |(name, compose): (&String, &Value)| json!({"name": name, "match": {"path": {"prefix": format!("/{name}")}}, "compose": compose});
    let body = json!({
        "upstreams": [{
            "name": "service",
            "endpoints": [{"address": service.address.to_string()}],
            "ejection": {"consecutive_failures": 0},
        }],
        "routes": routes.as_object().unwrap().iter().map(route).collect::<Vec<Value>>(),
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
}

/// A part that has to be there, from that path of the service.
fn part(name: &str, path: &str) -> Value {
    json!({"name": name, "call": {"upstream": "service", "path": path}, "required": {}})
}

/// The same with more said of it.
fn part_with(name: &str, path: &str, more: Value) -> Value {
    let mut part = part(name, path);
    for need in ["optional", "fallback"] {
        if more.get(need).is_some() {
            part.as_object_mut().unwrap().remove("required");
        }
    }
    part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    part
}
