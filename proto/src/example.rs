//! An example of each kind of resource, for descriptions of the API. Together they are a valid configuration.

use crate::resource::Kind;
use serde_json::{Value, json};

/// An example of a kind, in the form that [`crate::json::read`] takes.
pub fn example(kind: Kind) -> Value {
    match kind {
        // The key of nothing: it stands here for everybody to read.
        Kind::Certificate => json!({
            "name": "example",
            "labels": {"team": "edge"},
            "chain": include_str!("example/chain.pem"),
            "private_key": {"value": include_str!("example/key.pem")},
        }),
        Kind::Consumer => json!({
            "name": "acme",
            "labels": {"team": "partners"},
            "groups": ["gold"],
            "ids": ["https://login.example.com#acme"],
            "credentials": [{
                "id": "billing",
                "expires_at": "2027-01-31T12:00:00Z",
                "api_key": {"digest": "8909eb1fdb20f8c1f0a2e27f01aca3c426bbe3064ee1b055ac9adcc78ea00259"},
            }],
        }),
        // The pepper of nothing, as the key above.
        Kind::Keyring => json!({
            "name": "api-keys",
            "pepper": {"value": "an example that everybody can read"},
        }),
        Kind::Policy => json!({
            "name": "hide-server",
            "labels": {"team": "edge"},
            "response_headers": {"remove": ["server"]},
        }),
        Kind::Route => json!({
            "name": "orders",
            "labels": {"team": "pay"},
            "match": {"hosts": ["api.example.com"], "path": {"prefix": "/orders"}, "methods": ["GET", "POST"]},
            "forward": {"upstream": "orders", "rewrite": {"prefix": "/"}},
            "policies": [{"ref": "hide-server"}],
        }),
        Kind::Test => json!({
            "name": "orders-are-for-orders",
            "labels": {"team": "pay"},
            "request": {"method": "GET", "url": "https://api.example.com/orders/7"},
            "expect": {"route": "orders", "upstream": "orders", "target": "/7"},
        }),
        Kind::Upstream => json!({
            "name": "orders",
            "labels": {"team": "pay"},
            "endpoints": [{"address": "orders-1:8080"}, {"address": "orders-2:8080", "weight": 2}],
            "balance": {"least_request": {}},
            "timeouts": {"connect": "1s", "response": "15s"},
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        json,
        resource::{Change, KINDS},
        snapshot::Snapshot,
    };

    #[test]
    fn the_examples_are_a_configuration() {
        let resources = KINDS.map(|kind| Change::Put(json::read(kind, &example(kind)).expect("it is of its kind")));
        assert!(Snapshot::empty().with(resources).is_ok());
    }
}
