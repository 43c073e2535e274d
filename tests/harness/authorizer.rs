//! Authorization servers that speak gRPC: one as servers are, and one that answers with whatever a test makes up.

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::ext_authz::{
    CheckRequest, CheckResponse,
    authorization_server::{Authorization, AuthorizationServer},
};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Identity, Server, ServerTlsConfig},
};

/// A running authorization server.
pub(crate) struct Authorizer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    asked: Asked,
    _runtime: Runtime,
}

/// What it was asked, and not told of yet.
type Asked = Arc<Mutex<Vec<(MetadataMap, CheckRequest)>>>;

/// What comes of a question.
pub(crate) enum Reply {
    /// An answer.
    Says(CheckResponse),
    /// An error of gRPC.
    Fails(Status),
    /// Nothing, ever.
    Hangs,
}

/// Pieces of a body, and maybe trailers; an error resets the stream.
type Frames = Box<dyn Iterator<Item = io::Result<Frame<Bytes>>> + Send + Sync>;

struct Service<F> {
    answer: F,
    asked: Asked,
}

impl Authorizer {
    /// One that answers as servers of gRPC do.
    pub(crate) fn answering(answer: impl Fn(&CheckRequest) -> Reply + Send + Sync + 'static) -> Authorizer {
        Authorizer::serving(Server::builder(), answer)
    }

    /// One that does so by TLS, with this certificate.
    pub(crate) fn showing(
        identity: Identity,
        answer: impl Fn(&CheckRequest) -> Reply + Send + Sync + 'static,
    ) -> Authorizer {
        let tls = ServerTlsConfig::new().identity(identity);
        Authorizer::serving(Server::builder().tls_config(tls).unwrap(), answer)
    }

    fn serving(mut server: Server, answer: impl Fn(&CheckRequest) -> Reply + Send + Sync + 'static) -> Authorizer {
        let (runtime, listener) = listen();
        let (address, asked) = (listener.local_addr().unwrap(), Asked::default());
        let server = server.add_service(AuthorizationServer::new(Service { answer, asked: asked.clone() }));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Authorizer { address, asked, _runtime: runtime }
    }

    /// One that answers each request with such a head, and such frames.
    pub(crate) fn making_up(
        answer: impl Fn() -> (http::response::Builder, Frames) + Send + Sync + 'static,
    ) -> Authorizer {
        let (runtime, listener) = listen();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |_| {
                    let (head, frames) = answer();
                    let response = head.body(StreamBody::new(tokio_stream::iter(frames))).unwrap();
                    async move { Ok::<_, Infallible>(response) }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Authorizer { address, asked: Asked::default(), _runtime: runtime }
    }

    /// The questions since this was last called.
    pub(crate) fn take_asked(&self) -> Vec<(MetadataMap, CheckRequest)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn listen() -> (Runtime, TcpListener) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    (runtime, listener)
}

#[tonic::async_trait]
impl<F: Fn(&CheckRequest) -> Reply + Send + Sync + 'static> Authorization for Service<F> {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let (metadata, _, question) = request.into_parts();
        let reply = (self.answer)(&question);
        self.asked.lock().unwrap().push((metadata, question));
        match reply {
            Reply::Says(answer) => Ok(Response::new(answer)),
            Reply::Fails(status) => Err(status),
            Reply::Hangs => std::future::pending().await,
        }
    }
}
