//! The demo of `dev`: small sample services on loopback, routes to them through the admin API, and a page that is composed
//! of all of them.

use super::ports::free;
use crate::{
    client::{Client, query::Query},
    failure::Failure,
    output::tell,
    sample::Sample,
};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;

/// Where the services are looked for first: the same ports at each start leave the configuration as it is.
const SERVICES: [(Sample, u16); 4] =
    [(Sample::Orders, 7191), (Sample::Customers, 7192), (Sample::Stock, 7193), (Sample::Offers, 7194)];

/// How long the node may take to run the routes.
const WAIT: Duration = Duration::from_secs(10);

/// The running services; they end when it is dropped.
pub(super) struct Demo {
    services: Vec<JoinHandle<()>>,
}

// === impl Demo ===

impl Demo {
    /// Starts the services and makes the routes.
    pub(super) async fn start(client: &Client) -> Result<Demo, Failure> {
        let mut demo = Demo { services: Vec::new() };
        let labels = json!({ "demo": "true" });
        let (mut upstreams, mut routes) = (Vec::new(), vec![page(&labels)]);
        for (sample, port) in SERVICES {
            let (address, service) = serve(sample, port)?;
            demo.services.push(service);
            let name = sample.name();
            upstreams
                .push(json!({ "name": name, "labels": labels, "endpoints": [{ "address": address.to_string() }] }));
            routes.push(json!({ "name": name, "labels": labels, "match": { "path": { "prefix": format!("/{name}") } },
                "forward": { "upstream": name } }));
        }
        let body = json!({ "upstreams": upstreams, "routes": routes });
        let mut query = Query::default();
        query.add("reason", "portico dev --demo");
        query.add("wait", "all");
        query.add("timeout", &format!("{}s", WAIT.as_secs()));
        let answer = client.send(Method::POST, &query.path("/v1/apply"), Some(&body), WAIT).await?.success()?;
        if answer.status == StatusCode::ACCEPTED {
            tell("the node does not run the demo's routes yet; `portico nodes` says why");
        }
        Ok(demo)
    }

    /// What to try.
    pub(super) fn commands(&self, traffic: SocketAddr) -> String {
        format!(
            "  curl http://{traffic}/orders/1\n  curl http://{traffic}/customers\n  \
             curl -i http://{traffic}/pages/orders/1\n  curl -H 'X-Client: mobile' http://{traffic}/pages/orders/1\n"
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.services.iter().for_each(JoinHandle::abort);
    }
}

// One answer of all four: the customer comes late, the stock of each line is joined to it, and there are no offers.
fn page(labels: &Value) -> Value {
    json!({
        "name": "order-page",
        "labels": labels,
        "match": { "path": { "template": "/pages/orders/{id}" }, "methods": ["GET"] },
        "compose": {
            "deadline": "1s",
            "parts": [
                { "name": "order", "call": { "upstream": "orders", "path": "/orders/{path.id}" },
                    "required": { "status": [{ "when": [404], "answer": 404 }] } },
                { "name": "customer",
                    "call": { "upstream": "customers", "path": "/customers/{parts.order.customer}?delay=150ms" },
                    "optional": {}, "timeout": "500ms" },
                { "name": "stock",
                    "for_each": { "items": "order.lines",
                        "batch": { "call": { "upstream": "stock", "path": "/stock?sku={items.sku}" }, "key": "sku" } },
                    "optional": {} },
                { "name": "offers", "call": { "upstream": "offers", "path": "/offers" }, "fallback": { "value": "[]" },
                    "retries": 0 },
            ],
            "merge": [
                { "at": "order", "from": "order" },
                { "at": "customer", "from": "customer" },
                { "at": "order.lines[].stock", "from": "stock", "on": "sku" },
                { "at": "offers", "from": "offers" },
            ],
            "incomplete": { "at": "incomplete" },
            "variants": [
                { "name": "mobile", "when": { "header": { "name": "X-Client", "equals": "mobile" } },
                    "skip": ["stock", "offers"],
                    "shape": { "pick": ["order.id", "order.total", "order.entry", "customer.name"] } },
            ],
        },
    })
}

fn serve(sample: Sample, port: u16) -> Result<(SocketAddr, JoinHandle<()>), Failure> {
    let failed = |error: std::io::Error| Failure::Runtime(format!("failed to start a sample service: {error}"));
    let listener = free(port).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let task = tokio::spawn(async move {
        if let Err(error) = sample.serve(listener, std::future::pending()).await {
            tracing::warn!(%error, "a sample service ended");
        }
    });
    Ok((address, task))
}
