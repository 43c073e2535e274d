//! Every route of the admin API.
//!
//! A handler takes a [`call::Call`] and yields an answer or a [`problem::Problem`]; [`edge`] is around all of them.
//! What the API says of itself ([`openapi`]) is held to this table by a test.

mod apply;
mod audit;
mod body;
mod bundle;
mod call;
mod conditions;
mod credentials;
mod difference;
mod docs;
mod edge;
mod explain;
mod form;
mod life;
mod log_level;
mod nodes;
mod openapi;
mod page;
mod problem;
mod query;
pub mod refusals;
mod resources;
mod revisions;
mod revocations;
mod roles;
mod selector;
pub mod state;
mod status;
mod strict;
mod tokens;
mod trace;
mod wait;
mod write;

#[cfg(test)]
mod tests;

use axum::{
    Router,
    body::Body,
    extract::Path,
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, get, post},
};
use call::Call;
use problem::Problem;
use proto::resource::{KINDS, Kind};
use state::ApiState;

/// The router of the admin port.
pub fn router(state: ApiState) -> Router {
    let into_router = |table: Vec<(String, MethodRouter<ApiState>)>| {
        table.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods))
    };
    into_router(guarded())
        .route_layer(from_fn_with_state(state.clone(), edge::guard))
        .merge(into_router(open()))
        .fallback(edge::unknown_path)
        .layer(from_fn(edge::surround))
        .layer(from_fn_with_state(state.clone(), edge::measure))
        .with_state(state)
}

/// The router of the admin port until the configuration is there.
pub fn starting() -> Router {
    let router = Router::new().route("/livez", get(status::livez));
    router.fallback(|| async { Problem::starting() }).layer(from_fn(edge::surround))
}

/// What needs the token: everything that tells or changes anything.
fn guarded() -> Vec<(String, MethodRouter<ApiState>)> {
    let mut table = vec![
        ("/v1/apply".into(), post(apply::apply)),
        ("/v1/export".into(), get(apply::export)),
        ("/v1/explain".into(), post(explain::explain)),
        ("/v1/revisions".into(), get(revisions::list)),
        ("/v1/revisions/{revision}".into(), get(|Path(n), call: Call| revisions::get(n, call))),
        ("/v1/revisions/{revision}/diff".into(), get(|Path(n), call: Call| revisions::diff(n, call))),
        (
            "/v1/revisions/{revision}/restore".into(),
            post(|Path(n), call: Call, body: Body| revisions::restore(n, call, body)),
        ),
        ("/v1/audit".into(), get(audit::list)),
        ("/v1/log-level".into(), get(log_level::get).put(log_level::put)),
        ("/v1/tokens".into(), get(tokens::list).post(tokens::create)),
        (
            "/v1/tokens/{name}".into(),
            get(|Path(name), call: Call| tokens::get(name, call))
                .delete(|Path(name), call: Call| tokens::delete(name, call)),
        ),
        (
            "/v1/consumers/{name}/credentials".into(),
            get(|Path(name), call: Call| credentials::list(name, call))
                .post(|Path(name), call: Call, body: Body| credentials::create(name, call, body)),
        ),
        (
            "/v1/consumers/{name}/credentials/{credential}".into(),
            get(|Path(place), call: Call| credentials::get(place, call))
                .delete(|Path(place), call: Call| credentials::revoke(place, call)),
        ),
        (
            "/v1/consumers/{name}/credentials/{credential}/rotate".into(),
            post(|Path(place), call: Call, body: Body| credentials::rotate(place, call, body)),
        ),
        ("/v1/nodes".into(), get(nodes::list)),
        ("/v1/revocations".into(), get(revocations::list)),
        ("/v1/nodes/{id}/revoke".into(), post(|Path(id), call: Call, body: Body| revocations::revoke(id, call, body))),
        (
            "/v1/nodes/{id}/readmit".into(),
            post(|Path(id), call: Call, body: Body| revocations::readmit(id, call, body)),
        ),
        ("/v1/nodes/{id}".into(), get(|Path(id), call: Call| nodes::get(id, call))),
    ];
    for kind in KINDS {
        table.push((format!("/v1/{}", kind.plural()), collection(kind)));
        table.push((format!("/v1/{}/{{name}}", kind.plural()), resource(kind)));
    }
    table
}

/// What is open to whoever reaches the port.
fn open() -> Vec<(String, MethodRouter<ApiState>)> {
    vec![
        (openapi::PATH.into(), get(docs::description)),
        ("/docs".into(), get(docs::page)),
        ("/docs/{file}".into(), get(|Path(file), call: Call| docs::file(file, call))),
        ("/livez".into(), get(status::livez)),
        ("/readyz".into(), get(status::readyz)),
        ("/metrics".into(), get(status::metrics)),
    ]
}

fn collection(kind: Kind) -> MethodRouter<ApiState> {
    get(move |call: Call| resources::list(kind, call))
        .post(move |call: Call, body: Body| resources::create(kind, call, body))
}

fn resource(kind: Kind) -> MethodRouter<ApiState> {
    get(move |Path(name), call: Call| resources::get(kind, name, call))
        .put(move |Path(name), call: Call, body: Body| resources::put(kind, name, call, body))
        .patch(move |Path(name), call: Call, body: Body| resources::patch(kind, name, call, body))
        .delete(move |Path(name), call: Call| resources::delete(kind, name, call))
}
