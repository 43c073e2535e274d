//! A client of the admin API.

use super::http::{Request, Response, send};
use serde_json::{Value, json};
use std::{io, net::SocketAddr};

/// The token that all control planes of the tests take.
pub(crate) const TOKEN: &str = "a-token-for-tests";

/// Where an admin API is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
}

impl Admin {
    /// One request, on a connection of its own.
    pub(crate) fn try_send(&self, method: &str, target: &str, body: Option<&Value>) -> io::Result<Response> {
        let authorization = format!("Bearer {TOKEN}");
        let body = body.map(Value::to_string).unwrap_or_default();
        let json = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let headers = if body.is_empty() { &json[..1] } else { &json[..] };
        send(self.address, &Request { method, target, host: "admin.test", headers, body: body.as_bytes() })
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, target: &str, body: Option<&Value>) -> Response {
        self.try_send(method, target, body).unwrap_or_else(|error| panic!("failed to {method} {target}: {error}"))
    }

    /// A request that has to succeed.
    #[track_caller]
    pub(crate) fn ok(&self, method: &str, target: &str, body: Option<&Value>) -> Response {
        let response = self.send(method, target, body);
        assert!((200..300).contains(&response.status), "{method} {target}: {} {}", response.status, response.text());
        response
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Value {
        self.ok("GET", target, None).json()
    }

    #[track_caller]
    pub(crate) fn put(&self, target: &str, body: &Value) -> Response {
        self.ok("PUT", target, Some(body))
    }

    /// Makes an upstream with one endpoint and a route by prefix to it, and waits until all nodes run it.
    #[track_caller]
    pub(crate) fn route(&self, name: &str, prefix: &str, endpoint: SocketAddr) {
        self.put(&format!("/v1/upstreams/{name}"), &upstream(&[endpoint]));
        let response = self.put(&format!("/v1/routes/{name}?wait=all"), &route(prefix, name));
        assert_ne!(response.status, 202, "not all nodes run it: {}", response.text());
    }
}

/// The body of an upstream.
pub(crate) fn upstream(endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({ "address": address.to_string() })).collect();
    json!({ "endpoints": endpoints })
}

/// The body of a route by prefix.
pub(crate) fn route(prefix: &str, upstream: &str) -> Value {
    json!({ "match": { "path": { "prefix": prefix } }, "forward": { "upstream": upstream } })
}

/// The revision that an answer is of.
#[track_caller]
pub(crate) fn revision(response: &Response) -> u64 {
    let revision = response.header("portico-revision").unwrap_or_else(|| panic!("no revision in {response:?}"));
    revision.parse().unwrap()
}
