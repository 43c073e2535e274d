//! Configurations out of bytes.

use crate::router::Router;
use http::{HeaderMap, HeaderValue, Method};
use proto::{
    json,
    matching::{Head, Scheme},
    name::Name,
    resource::{Change, Kind, Resource, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::{Value, json};
use std::cmp::Reverse;

const HOSTS: [&str; 4] = ["a.example", "*.example", "b.a.example", "*.a.example"];
const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/b", "/b/"];
const TEMPLATES: [&str; 5] = ["/{x}", "/a/{x}", "/{x}/b", "/a/{rest*}", "/{x}/{y}"];
const EXPRESSIONS: [&str; 3] = ["/a.*", "/[ab]/b", ".*"];
const ASKED: [&str; 10] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/b", "/b/", "/c", "/a/c/d", "//a"];

fn pick<'a>(all: &[&'a str], byte: u8) -> &'a str {
    all[usize::from(byte) % all.len()]
}

/// The first bytes are the request, and then five make a route.
pub(super) fn find(bytes: &[u8]) {
    let Some(([host, path, more], bytes)) = bytes.split_first_chunk() else { return };
    let routes = bytes.chunks_exact(5).take(24).enumerate().map(|(at, bytes)| route(at, bytes));
    // Those that match the same as one before are left out.
    let snapshot = routes.fold(Snapshot::empty(), |snapshot, route| {
        let Ok(resource) = json::read(Kind::Route, &route) else { return snapshot };
        snapshot.with([Change::Put(resource)]).unwrap_or(snapshot)
    });
    let mut headers = HeaderMap::new();
    if more & 1 > 0 {
        headers.insert("x-a", HeaderValue::from_static("1"));
    }
    let head = Head {
        listener: "http",
        scheme: if more & 2 > 0 { Scheme::Https } else { Scheme::Http },
        client: [127, 0, 0, 1].into(),
        host: pick(&["a.example", "b.a.example", "c.b.a.example", "x.example", "other"], *host),
        method: if more & 4 > 0 { &Method::POST } else { &Method::GET },
        path: pick(&ASKED, *path),
        query: (more & 8 > 0).then_some("q=1"),
        headers: &headers,
    };
    let matching = snapshot.routes().filter_map(|route| {
        let (host, captures) = route.matches.find(&head).ok()?;
        Some((route.matches.rank(route.priority, host), Reverse(route.name.clone()), captures))
    });
    let best = matching.max_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1))).map(|(_, name, captures)| (name.0, captures));
    let router = Router::build(&snapshot, None, None);
    let found = router.find(&head).map(|found| (found.route.name.clone(), found.captures));
    assert_eq!(found, best);
}

fn route(at: usize, bytes: &[u8]) -> Value {
    let [host, kind, path, more, priority] = bytes else { return Value::Null };
    let mut matches = serde_json::Map::new();
    if host & 4 > 0 {
        matches.insert("hosts".into(), json!([pick(&HOSTS, *host)]));
    }
    match kind % 5 {
        0 => None,
        1 => Some(json!({"exact": pick(&PATHS, *path)})),
        2 => Some(json!({"prefix": pick(&PATHS, *path)})),
        3 => Some(json!({"template": pick(&TEMPLATES, *path)})),
        _ => Some(json!({"regex": pick(&EXPRESSIONS, *path)})),
    }
    .map(|path| matches.insert("path".into(), path));
    if more & 1 > 0 {
        matches.insert("methods".into(), json!(["GET"]));
    }
    if more & 2 > 0 {
        matches.insert("headers".into(), json!([{"name": "x-a", "present": true}]));
    }
    if more & 4 > 0 {
        matches.insert("query".into(), json!([{"name": "q", "exact": "1"}]));
    }
    if more & 8 > 0 {
        matches.insert("schemes".into(), json!(["https"]));
    }
    let mut route = json!({"name": format!("r{at}"), "match": matches, "respond": {"body": ""}});
    if priority & 1 > 0 {
        route["priority"] = json!(priority >> 6);
    }
    route
}

/// Resources one after another: kind, name, length and payload.
pub(super) fn build(bytes: &[u8]) {
    let (mut rest, mut resources) = (bytes, Vec::new());
    while let Some(([kind, name, high, low], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (payload, behind) = behind.split_at(len);
        rest = behind;
        let kinds = [Kind::Route, Kind::Upstream, Kind::Policy];
        let Ok(name) = Name::parse(pick(&["a", "b", "c"], *name)) else { continue };
        let key = ResourceKey::new(kinds[usize::from(*kind) % kinds.len()], name);
        resources.push(Resource { key, payload: payload.to_vec().into(), requires: Vec::new() });
    }
    let put = |resource: &Resource| Change::Put(resource.clone());
    let Ok(snapshot) = Snapshot::empty().with(resources.iter().map(put)) else { return };
    // What was checked once can be checked again, and is the same; and a router of it cannot fail.
    let again = Snapshot::empty().with(snapshot.entries().map(|entry| put(&entry.resource)));
    assert_eq!(again.map(|again| again.root()), Ok(snapshot.root()));
    let router = Router::build(&snapshot, None, None);
    assert_eq!(router.pools().count(), snapshot.upstreams().count());
}
