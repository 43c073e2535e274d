//! The description of `explain`.

use super::{CONFIGURATION, in_both, reference};
use crate::api::{openapi::operation::Operation, problem::ProblemKind};
use serde_json::{Value, json};

pub(super) fn explain() -> Value {
    let question = json!({
        "request": {"url": "https://api.example.com/orders/7?verbose=1", "headers": [{"name": "x-team", "value": "pay"}]},
    });
    Operation::new(CONFIGURATION, "explain", "Tell what a node would do with a request")
        .about(
            "Which route wins and why the others lose, what each policy decides, and what which upstream would get, by \
             the newest configuration, an older one, or one with a draft laid over it. It is worked out by the node's own \
             code; no upstream is touched, and nothing is stored. What only a running node knows stands in `depends_on`.",
        )
        .body("The request and the configuration.", in_both(&reference("schemas", "ExplainRequest"), &question))
        .answer(200, "What it would do.", "Explanation", &explanation(), &["Portico-Revision"])
        .problems(&[ProblemKind::InvalidFields, ProblemKind::NotFound, ProblemKind::Unavailable])
        .build()
}

fn explanation() -> Value {
    json!({
        "revision": 42,
        "request": {
            "method": "GET", "scheme": "https", "host": "api.example.com", "path": "/orders/7", "query": "verbose=1",
            "listener": "https", "client": "127.0.0.1",
        },
        "route": {"name": "orders"},
        "lost": [{"name": "all", "matches": true, "why": "matches too, but comes later: the other has the longer path"}],
        "forward": {"upstreams": [{
            "upstream": "orders", "percent": 100, "target": "/7?verbose=1", "host": "api.example.com",
            "headers": [{"name": "x-forwarded-proto", "set": "https"}],
            "balance": "least_request: the less busy of two drawn at random",
            "endpoints": [{"address": "orders-1:8080", "weight": 1}],
            "timeouts": {"connect": "1s", "response": "15s", "idle": "1m"},
            "retries": 1,
        }]},
        "depends_on": ["health: which endpoints of orders take traffic, and whether any does"],
    })
}
