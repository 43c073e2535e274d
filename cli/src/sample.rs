//! `sample`: a small service to put a gateway in front of; the demo of `dev` and the compose stack run two of them.
//!
//! It answers what it holds under its own name, and `/echo` tells how a request arrived: what a gateway did to it on
//! the way is seen there.

use crate::{failure::Failure, output::tell, serve::multi_thread, stop::stop};
use axum::{
    Json, Router,
    body::to_bytes,
    extract::{ConnectInfo, Path, Query, Request},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    routing::{any, get},
};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

/// The longest that an echo is held back.
const MOST_DELAY: Duration = Duration::from_secs(10);
/// The largest body that is taken.
const MOST_BYTES: usize = 64 * 1024 * 1024;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which one.
    #[arg(value_enum)]
    name: Sample,
    /// Where it listens.
    #[arg(long, env = "PORTICO_SAMPLE_LISTEN", default_value = "127.0.0.1:9001", value_name = "ADDR")]
    listen: SocketAddr,
}

/// The sample services.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Sample {
    /// Orders: `/orders`, `/orders/1`.
    Orders,
    /// Who ordered: `/customers`, `/customers/1`.
    Customers,
}

#[derive(Deserialize)]
struct Delay {
    delay: Option<String>,
}

/// Runs `portico sample`.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    multi_thread()?.block_on(async {
        let stop = stop()?;
        let listener = TcpListener::bind(arguments.listen).map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        tell(&format!("{} answers on http://{address}{}", arguments.name.name(), arguments.name.path()));
        arguments.name.serve(listener, stop).await
    })
}

// === impl Sample ===

impl Sample {
    /// Its name, which is that of its upstream and its route too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sample::Orders => "orders",
            Sample::Customers => "customers",
        }
    }

    /// Answers until told to stop, and then what is under way.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        listener.set_nonblocking(true).map_err(|error| failed(&error))?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| failed(&error))?;
        let router = self.router().into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(|error| failed(&error))
    }

    fn path(self) -> &'static str {
        match self {
            Sample::Orders => "/orders",
            Sample::Customers => "/customers",
        }
    }

    fn all(self) -> Vec<Value> {
        match self {
            Sample::Orders => vec![
                json!({ "id": 1, "customer": 1, "item": "lamp", "total": "39.00" }),
                json!({ "id": 2, "customer": 2, "item": "desk", "total": "249.00" }),
            ],
            Sample::Customers => vec![json!({ "id": 1, "name": "Ada" }), json!({ "id": 2, "name": "Grace" })],
        }
    }

    fn router(self) -> Router {
        let one = move |Path(id): Path<u64>| async move {
            let found = self.all().into_iter().find(|element| element["id"] == id);
            found.map(Json).ok_or(StatusCode::NOT_FOUND)
        };
        let echo = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, Query(wanted): Query<Delay>, request: Request| async move {
            let delay = wanted.delay.as_deref().map(proto::quantity::duration).transpose();
            let delay = delay.map_err(|error| (StatusCode::BAD_REQUEST, format!("delay: {error}\n")))?;
            tokio::time::sleep(delay.unwrap_or_default().min(MOST_DELAY)).await;
            // A server that answers without having read the body closes the connection, and who is about to use it
            // again learns that too late.
            let (head, body) = request.into_parts();
            let body = to_bytes(body, MOST_BYTES).await;
            let body = body.map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, format!("body: {error}\n")))?;
            Ok::<_, (StatusCode, String)>(Json(self.echo(peer, &head, body.len())))
        };
        Router::new()
            .route("/readyz", get(|| async { "ready\n" }))
            .route("/echo", any(echo))
            .route(self.path(), get(move || async move { Json(json!({ self.name(): self.all() })) }))
            .route(&format!("{}/{{id}}", self.path()), get(one))
    }

    fn echo(self, peer: SocketAddr, head: &Parts, length: usize) -> Value {
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.as_bytes().escape_ascii());
        json!({ "sample": self.name(), "peer": peer.ip().to_string(), "method": head.method.as_str(),
            "target": head.uri.to_string(), "headers": head.headers.iter().map(line).collect::<Vec<_>>(),
            "length": length })
    }
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("failed to run a sample service: {error}"))
}
