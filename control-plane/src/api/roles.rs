//! Which call needs which role: one table, read by the edge and by the description of the API.
//!
//! A viewer reads what the gateway does and did, secrets apart, which nobody reads. An editor writes it. Who may do what,
//! which nodes are let in, and who did what are for admins alone: a token that makes tokens is as good as all of them, and the audit tells where
//! people work from, and is there to watch over editors too. What has no row needs an admin.

use crate::author::Role;
use proto::resource::KINDS;

/// Every call that needs a token, but for those of the kinds of resources.
const CALLS: [(&str, &str, Role); 24] = [
    ("POST", "/v1/apply", Role::Editor),
    ("GET", "/v1/export", Role::Viewer),
    ("POST", "/v1/explain", Role::Viewer),
    ("GET", "/v1/revisions", Role::Viewer),
    ("GET", "/v1/revisions/{revision}", Role::Viewer),
    ("GET", "/v1/revisions/{revision}/diff", Role::Viewer),
    ("POST", "/v1/revisions/{revision}/restore", Role::Editor),
    ("GET", "/v1/nodes", Role::Viewer),
    ("GET", "/v1/nodes/{id}", Role::Viewer),
    ("POST", "/v1/nodes/{id}/revoke", Role::Admin),
    ("POST", "/v1/nodes/{id}/readmit", Role::Admin),
    ("GET", "/v1/revocations", Role::Viewer),
    ("GET", "/v1/tokens", Role::Admin),
    ("POST", "/v1/tokens", Role::Admin),
    ("GET", "/v1/tokens/{name}", Role::Admin),
    ("DELETE", "/v1/tokens/{name}", Role::Admin),
    ("GET", "/v1/consumers/{name}/credentials", Role::Viewer),
    ("POST", "/v1/consumers/{name}/credentials", Role::Editor),
    ("GET", "/v1/consumers/{name}/credentials/{credential}", Role::Viewer),
    ("DELETE", "/v1/consumers/{name}/credentials/{credential}", Role::Editor),
    ("POST", "/v1/consumers/{name}/credentials/{credential}/rotate", Role::Editor),
    ("GET", "/v1/audit", Role::Admin),
    ("GET", "/v1/log-level", Role::Admin),
    ("PUT", "/v1/log-level", Role::Admin),
];

/// The same calls for each kind of resource, after its name.
const CALLS_OF_A_KIND: [(&str, &str, Role); 6] = [
    ("GET", "", Role::Viewer),
    ("POST", "", Role::Editor),
    ("GET", "/{name}", Role::Viewer),
    ("PUT", "/{name}", Role::Editor),
    ("PATCH", "/{name}", Role::Editor),
    ("DELETE", "/{name}", Role::Editor),
];

/// The role that a call needs, if it has a row; `path` is that of the description.
pub(crate) fn of_call(method: &str, path: &str) -> Option<Role> {
    // Whoever may read may ask for the headers of it.
    let method = if method == "HEAD" { "GET" } else { method };
    rows().find(|(its, row, _)| *its == method && row == path).map(|(_, _, role)| role)
}

/// All rows: method, path, role.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, String, Role)> {
    let fixed = CALLS.into_iter().map(|(method, path, role)| (method, path.to_owned(), role));
    let of_kinds = KINDS.into_iter().flat_map(|kind| {
        CALLS_OF_A_KIND.map(|(method, rest, role)| (method, format!("/v1/{}{rest}", kind.plural()), role))
    });
    fixed.chain(of_kinds)
}
