//! The status port: whether the process lives, whether it is ready, and its metrics.
//!
//! It has a listener of its own and runs on the control thread, so that it answers when the workers are busy. It tells
//! nothing that is secret, but it is for operators: by default it listens on loopback only.

mod metrics;

use crate::{router::LiveRouter, telemetry::Telemetry};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Metrics;
use otel::{Figures, Page, Process};
use prometheus_client::registry::Registry;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request, also the next on its connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers on the status port until it is dropped.
pub(crate) async fn serve(listener: TcpListener, telemetry: Telemetry, router: LiveRouter) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Whoever comes when all seats are taken waits in the kernel's queue.
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept on the status port");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (telemetry, router) = (telemetry.clone(), router.clone());
        tokio::spawn(async move {
            converse(stream, telemetry, router).await;
            drop(seat);
        });
    }
}

async fn converse(stream: TcpStream, telemetry: Telemetry, router: LiveRouter) {
    let service = service_fn(|request: Request<Incoming>| {
        let (telemetry, router) = (telemetry.clone(), router.clone());
        async move { Ok::<_, Infallible>(answer(&request, &telemetry, &router).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // A client that leaves early has what it wanted.
    served.await.ok();
}

async fn answer(request: &Request<Incoming>, telemetry: &Telemetry, router: &LiveRouter) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into());
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
        _ => text(StatusCode::NOT_FOUND, "text/plain", "/livez, /readyz, /healthz, /metrics\n".into()),
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
