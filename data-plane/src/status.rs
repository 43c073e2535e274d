//! The status port: whether the process lives, whether it is ready, its metrics, and what its own log tells.
//!
//! It has a listener of its own and runs on the control thread, so that it answers when the workers are busy. It tells
//! nothing that is secret, but it is for operators: by default it listens on loopback only. The one thing that can be
//! changed here, the level of the log, is changed from this machine only, whatever the port listens on: there is no token.

mod metrics;

use crate::{router::LiveRouter, telemetry::Telemetry};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Metrics;
use otel::{Figures, Page, Process};
use prometheus_client::registry::Registry;
use proto::log_level::LogLevel;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request, also the next on its connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest text that says a level.
const MAX_LEVEL: usize = 1024;

/// What the status port tells of, and what it changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StatusPort {
    /// Counts.
    pub(crate) telemetry: Telemetry,
    /// What runs.
    pub(crate) router: LiveRouter,
    /// What the program's own log tells.
    pub(crate) log_level: Arc<dyn LogLevel>,
}

/// Answers on the status port until it is dropped.
pub(crate) async fn serve(listener: TcpListener, port: StatusPort) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Whoever comes when all seats are taken waits in the kernel's queue.
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept on the status port");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let port = port.clone();
        tokio::spawn(async move {
            converse(stream, peer, port).await;
            drop(seat);
        });
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, port: StatusPort) {
    let service = service_fn(|request: Request<Incoming>| {
        let port = port.clone();
        async move {
            Ok::<_, Infallible>(match (request.method(), request.uri().path()) {
                (&Method::PUT, "/log-level") => set_log_level(request, peer, &port).await,
                (_, _) => answer(&request, &port).await,
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // A client that leaves early has what it wanted.
    served.await.ok();
}

async fn answer(request: &Request<Incoming>, port: &StatusPort) -> Response<Full<Bytes>> {
    let StatusPort { telemetry, router, log_level } = port;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET, and PUT of /log-level\n".into());
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "text/plain", "alive\n".into()),
        "/readyz" | "/healthz" => match telemetry.is_ready() {
            true => text(StatusCode::OK, "text/plain", "ready\n".into()),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", telemetry.unready_because().into()),
        },
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let page = Page::write(&registry(telemetry, router).await, accept.unwrap_or_default());
            text(StatusCode::OK, page.content_type, page.text)
        }
        "/log-level" => text(StatusCode::OK, "text/plain", log_level.get() + "\n"),
        _ => text(StatusCode::NOT_FOUND, "text/plain", "/livez, /readyz, /healthz, /metrics, /log-level\n".into()),
    }
}

async fn set_log_level(request: Request<Incoming>, peer: SocketAddr, port: &StatusPort) -> Response<Full<Bytes>> {
    // A page in a browser of this machine is not this machine's operator.
    if !peer.ip().to_canonical().is_loopback() || request.headers().contains_key(header::ORIGIN) {
        return text(StatusCode::FORBIDDEN, "text/plain", "the level is changed from this machine only\n".into());
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MAX_LEVEL).collect()).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "text/plain", "send the level and nothing else, as in `debug`\n".into());
    };
    match port.log_level.set(String::from_utf8_lossy(&body.to_bytes()).trim()) {
        Ok(()) => {
            let level = port.log_level.get();
            tracing::info!(level, "the level of the log was changed");
            text(StatusCode::OK, "text/plain", level + "\n")
        }
        Err(fault) => text(StatusCode::BAD_REQUEST, "text/plain", fault + "\n"),
    }
}

/// The same figures for an OpenTelemetry collector.
pub(crate) async fn figures(telemetry: &Telemetry, router: &LiveRouter) -> Figures {
    Figures::read(&registry(telemetry, router).await)
}

async fn registry(telemetry: &Telemetry, router: &LiveRouter) -> Registry {
    let process = Process::new(env!("CARGO_PKG_VERSION"), telemetry.spans().clone());
    Metrics::new(telemetry.scrape().await, telemetry, &router.load_full()).registry(process)
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
