//! The accept loop of the admin port: a bounded number of connections, none that dawdles, and an end in order.

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Connections at once.
const MAX_CONNECTIONS: usize = 1_024;

/// How long the headers of a request may take, and how long a connection may stay unused between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

const MAX_HEADERS: usize = 100;

const MAX_HEADER_BYTES: usize = 64 * 1024;

/// After the system is out of something, like files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is told to stop, and what was under way has been answered. Each request takes the router of its
/// moment.
pub(super) async fn serve(listener: TcpListener, routers: watch::Receiver<Router>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepting = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepting => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, routers.clone(), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, routers: watch::Receiver<Router>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| TowerToHyperService::new(routers.borrow().clone()).call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "an admin connection broke");
    }
}
