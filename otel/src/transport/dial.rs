//! Connects to a collector, in cleartext or by TLS.

use crate::target::Target;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tonic::codegen::Service;

/// A connection.
pub(super) type Stream = TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

/// Dials one collector, whatever it is asked for.
#[derive(Clone)]
pub(super) struct Dial {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

// === impl Dial ===

impl Dial {
    pub(super) fn new(target: &Target) -> Dial {
        Dial { host: target.host.clone(), port: target.port, tls: target.tls.clone() }
    }

    pub(super) async fn connect(self) -> io::Result<Stream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some((connector, name)) = self.tls else { return Ok(TokioIo::new(Either::Left(stream))) };
        Ok(TokioIo::new(Either::Right(Box::new(connector.connect(name, stream).await?))))
    }
}

impl Service<Uri> for Dial {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
