//! `sample`: a small service to put a gateway in front of; the demo of `dev` and the compose stack run four of them.
//!
//! It answers what it holds under its own name, `?delay=200ms` holds that back, and `/echo` tells how a request arrived:
//! what a gateway did to it on the way is seen there. Together they try a page that is composed: orders have numbers that
//! no other program should touch, stock is asked for many things at once, and offers always fail.

use crate::{failure::Failure, output::tell, serve::multi_thread, stop::stop};
use axum::{
    Json, Router,
    body::to_bytes,
    extract::{ConnectInfo, Path, Query, Request},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

/// The longest that an answer is held back.
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
    /// How much there is: `/stock`, `/stock?sku=lamp,desk`.
    Stock,
    /// What else to buy: `/offers`, which always fails.
    Offers,
}

#[derive(Deserialize)]
struct Delay {
    delay: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    sku: Option<String>,
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
            Sample::Stock => "stock",
            Sample::Offers => "offers",
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
            Sample::Stock => "/stock",
            Sample::Offers => "/offers",
        }
    }

    // Each with its id. What is written as text here has numbers that a double cannot hold.
    fn all(self) -> Vec<(&'static str, Box<RawValue>)> {
        let elements: &[(&str, &str)] = match self {
            Sample::Orders => &[
                (
                    "1",
                    concat!(
                        r#"{"id":1,"customer":1,"item":"lamp","total":39.00,"entry":9007199254740993123456789,"#,
                        r#""lines":[{"sku":"lamp","count":1},{"sku":"bulb","count":3},{"sku":"lamp","count":2}]}"#
                    ),
                ),
                (
                    "2",
                    concat!(
                        r#"{"id":2,"customer":2,"item":"desk","total":249.00,"entry":9007199254740993123456790,"#,
                        r#""lines":[{"sku":"desk","count":1}]}"#
                    ),
                ),
            ],
            Sample::Customers => &[("1", r#"{"id":1,"name":"Ada"}"#), ("2", r#"{"id":2,"name":"Grace"}"#)],
            Sample::Stock => &[
                ("lamp", r#"{"sku":"lamp","available":7}"#),
                ("bulb", r#"{"sku":"bulb","available":120}"#),
                ("desk", r#"{"sku":"desk","available":0}"#),
            ],
            Sample::Offers => &[],
        };
        let raw = |text: &str| RawValue::from_string(text.into());
        elements.iter().filter_map(|(id, text)| Some((*id, raw(text).ok()?))).collect()
    }

    // All that it has, or those of `?sku=`.
    fn list(self, wanted: &Wanted) -> Response {
        let is_wanted = |id: &str| wanted.sku.as_ref().is_none_or(|list| list.split(',').any(|sku| sku == id));
        let found = self.all().into_iter().filter(|(id, _)| is_wanted(id)).map(|(_, element)| element);
        match self {
            Sample::Orders | Sample::Customers => {
                Json(BTreeMap::from([(self.name(), found.collect::<Vec<_>>())])).into_response()
            }
            Sample::Stock => Json(found.collect::<Vec<_>>()).into_response(),
            Sample::Offers => (StatusCode::SERVICE_UNAVAILABLE, "there are no offers today\n").into_response(),
        }
    }

    fn router(self) -> Router {
        let one = move |Path(wanted): Path<String>| async move {
            let found = self.all().into_iter().find(|(id, _)| *id == wanted);
            found.map(|(_, element)| Json(element)).ok_or(StatusCode::NOT_FOUND)
        };
        let list = move |Query(wanted): Query<Wanted>| async move { self.list(&wanted) };
        let echo = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| async move {
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
            .route(self.path(), get(list))
            .route(&format!("{}/{{id}}", self.path()), get(one))
            .layer(from_fn(hold))
    }

    fn echo(self, peer: SocketAddr, head: &Parts, length: usize) -> Value {
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.as_bytes().escape_ascii());
        json!({ "sample": self.name(), "peer": peer.ip().to_string(), "method": head.method.as_str(),
            "target": head.uri.to_string(), "headers": head.headers.iter().map(line).collect::<Vec<_>>(),
            "length": length })
    }
}

// Answers no sooner than was asked for by `?delay=`.
async fn hold(Query(wanted): Query<Delay>, request: Request, next: Next) -> Result<Response, (StatusCode, String)> {
    let delay = wanted.delay.as_deref().map(proto::quantity::duration).transpose();
    let delay = delay.map_err(|error| (StatusCode::BAD_REQUEST, format!("delay: {error}\n")))?;
    tokio::time::sleep(delay.unwrap_or_default().min(MOST_DELAY)).await;
    Ok(next.run(request).await)
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("failed to run a sample service: {error}"))
}
