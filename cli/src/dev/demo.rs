//! The demo of `dev`: two small sample services on loopback, and routes to them through the admin API.

use super::ports::free;
use crate::{
    client::{Client, query::Query},
    failure::Failure,
    output::tell,
    sample::Sample,
};
use hyper::{Method, StatusCode};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;

/// Where the services are looked for first: the same ports at each start leave the configuration as it is.
const ORDERS_PORT: u16 = 7191;
const CUSTOMERS_PORT: u16 = 7192;

/// How long the node may take to run the routes.
const WAIT: Duration = Duration::from_secs(10);

/// The running services; they end when it is dropped.
pub(super) struct Demo {
    services: [JoinHandle<()>; 2],
}

// === impl Demo ===

impl Demo {
    /// Starts the services and makes the routes.
    pub(super) async fn start(client: &Client) -> Result<Demo, Failure> {
        let (orders_at, orders) = serve(Sample::Orders, ORDERS_PORT)?;
        let (customers_at, customers) = serve(Sample::Customers, CUSTOMERS_PORT)?;
        let demo = Demo { services: [orders, customers] };

        let labels = json!({ "demo": "true" });
        let upstream = |name: &str, address: SocketAddr| json!({ "name": name, "labels": labels, "endpoints": [{ "address": address.to_string() }] });
        let route = |name: &str| {
            json!({ "name": name, "labels": labels, "match": { "path": { "prefix": format!("/{name}") } },
                "forward": { "upstream": name } })
        };
        let body = json!({
            "upstreams": [upstream("orders", orders_at), upstream("customers", customers_at)],
            "routes": [route("orders"), route("customers")],
        });
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
        format!("  curl http://{traffic}/orders/1\n  curl http://{traffic}/customers\n")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.services.iter().for_each(JoinHandle::abort);
    }
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
