//! The accept loop of the admin port: a bounded number of connections, none that dawdles, and an end in order.

use crate::tls::{AcceptError, PortTls};
use axum::{Router, extract::ConnectInfo};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
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

/// What is said to who speaks HTTP where HTTPS is spoken.
const SPEAK_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: application/problem+json\r\n\r\n\
    {\"type\":\"urn:portico:problem:invalid-request\",\"title\":\"the request is not valid\",\"status\":400,\
    \"detail\":\"this port speaks HTTPS; write https:// in the URL\"}\n";

/// How much of such a request is read, and for how long, so that the answer is not lost.
const CLEARTEXT_READ: u64 = 64 * 1024;
const CLEARTEXT_TIMEOUT: Duration = Duration::from_secs(1);

/// After the system is out of something, like files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection is served with.
struct Serving {
    routers: watch::Receiver<Router>,
    peer: SocketAddr,
    stop: CancellationToken,
}

/// Serves until it is told to stop, and what was under way has been answered. Each request takes the router of its
/// moment.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<PortTls>>,
    routers: watch::Receiver<Router>,
    stop: CancellationToken,
) {
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
            Ok((stream, peer)) => {
                let serving = Serving { routers: routers.clone(), peer, stop: stop.clone() };
                let connection = accept(stream, tls.clone(), serving);
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

async fn accept(stream: TcpStream, tls: Option<Arc<PortTls>>, serving: Serving) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve_connection(stream, serving).await };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = serving.stop.cancelled() => return,
    };
    match accepted {
        Ok(stream) => serve_connection(stream, serving).await,
        Err(AcceptError::Cleartext(stream)) => {
            let _ = tokio::time::timeout(CLEARTEXT_TIMEOUT, tell_to_speak_https(stream)).await;
        }
        Err(error @ (AcceptError::Handshake(_) | AcceptError::TimedOut)) => debug!(%error, "no admin connection"),
    }
}

async fn tell_to_speak_https(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(SPEAK_HTTPS).await?;
    stream.shutdown().await?;
    // A connection that is closed with something unread is reset, and the answer with it.
    tokio::io::copy(&mut stream.take(CLEARTEXT_READ), &mut tokio::io::sink()).await?;
    Ok(())
}

async fn serve_connection<S>(stream: S, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Serving { routers, peer, stop } = serving;
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        TowerToHyperService::new(routers.borrow().clone()).call(request)
    });
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
