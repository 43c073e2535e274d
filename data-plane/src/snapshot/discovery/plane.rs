//! One control plane: its URL, and how it is dialled, in cleartext or by TLS.

use super::credential::Credential;
use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    future::Future,
    io,
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint},
};

/// How long a connection may take, the handshake included.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a connection without traffic is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A control plane.
#[derive(Debug)]
pub(super) struct Plane {
    url: Uri,
    endpoint: Endpoint,
    host: String,
    port: u16,
    /// Whom its certificate has to name, if it speaks TLS.
    name: Option<ServerName<'static>>,
}

/// Whose certificates a control plane may show.
pub(super) enum Trust {
    /// Those of the authorities in this file, which is read each time.
    File(PathBuf),
    /// Those that the system trusts.
    System(Arc<RootCertStore>),
}

/// Why a control plane is not dialled.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot read the authorities in {}: {reason}", file.display())]
    Authorities { file: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Why a handshake failed, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Advice(String);

/// Dials one control plane, whatever it is asked for.
struct Dial {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

type Transport = TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

// === impl Plane ===

impl Plane {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    pub(super) fn parse(text: &str) -> Option<Plane> {
        let url: Uri = text.parse().ok().filter(|url: &Uri| url.path() == "/" && url.query().is_none())?;
        let host = url.host()?.trim_matches(['[', ']']).to_string();
        let (name, usual_port) = match url.scheme()? {
            scheme if *scheme == Scheme::HTTP => (None, 80),
            scheme if *scheme == Scheme::HTTPS => (Some(ServerName::try_from(host.clone()).ok()?), 443),
            _ => return None,
        };
        if name.is_none() && !is_loopback(&host) {
            tracing::warn!(control_plane = %url, "the join token and the configuration cross the network in cleartext");
        }
        // The connector below speaks TLS; an endpoint that is told of https would want to do it itself.
        let endpoint = Endpoint::from_shared(format!("http://{}", url.authority()?)).ok()?.origin(url.clone());
        let endpoint = endpoint.connect_timeout(CONNECT).http2_keep_alive_interval(KEEP_ALIVE);
        let endpoint = endpoint.keep_alive_timeout(KEEP_ALIVE).keep_alive_while_idle(true);
        let port = url.port_u16().unwrap_or(usual_port);
        Some(Plane { url, endpoint, host, port, name })
    }

    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    pub(super) fn speaks_tls(&self) -> bool {
        self.name.is_some()
    }

    /// Connects, and shows the credential, if there is one.
    pub(super) async fn dial(&self, trust: &Trust, credential: Option<&Credential>) -> Result<Channel, DialError> {
        let tls = match &self.name {
            None => None,
            Some(name) => Some((TlsConnector::from(trust.config(credential)?), name.clone())),
        };
        let dial = Dial { host: self.host.clone(), port: self.port, tls };
        Ok(self.endpoint.connect_with_connector(dial).await?)
    }
}

// === impl Trust ===

impl Trust {
    pub(super) fn new(file: Option<PathBuf>, planes: &[Plane]) -> Trust {
        match file {
            Some(file) => Trust::File(file),
            None if planes.iter().any(Plane::speaks_tls) => Trust::System(Arc::new(system_roots())),
            None => Trust::System(Arc::new(RootCertStore::empty())),
        }
    }

    fn config(&self, credential: Option<&Credential>) -> Result<Arc<ClientConfig>, DialError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match credential {
            Some(credential) => config.with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, DialError> {
        let file = match self {
            Trust::File(file) => file,
            Trust::System(roots) => return Ok(roots.clone()),
        };
        let unusable = |reason: String| DialError::Authorities { file: file.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        match roots.is_empty() {
            true => Err(unusable("there is no certificate in it".into())),
            false => Ok(Arc::new(roots)),
        }
    }
}

// === impl Dial ===

impl Dial {
    async fn connect(
        host: String,
        port: u16,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    ) -> io::Result<Transport> {
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        // Reports and heartbeats are small and wait for nothing.
        stream.set_nodelay(true)?;
        let Some((connector, name)) = tls else { return Ok(TokioIo::new(Either::Left(stream))) };
        let stream = connector.connect(name, stream).await.map_err(|error| advise(&host, error))?;
        Ok(TokioIo::new(Either::Right(Box::new(stream))))
    }
}

impl Service<Uri> for Dial {
    type Response = Transport;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(Dial::connect(self.host.clone(), self.port, self.tls.clone()))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

// What cannot be read of it is passed over; a control plane that needs it is not trusted, and that is told.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("the system trusts no authority; give --control-plane-ca");
    }
    roots
}

// The texts of the library say what is the matter, not what to do.
fn advise(host: &str, error: io::Error) -> io::Error {
    let text = match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "no authority that is trusted here has signed its certificate; give its ca.pem as --control-plane-ca".into()
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!(
            "its certificate is not for {host}; give that control plane --tls-host {host}, or use a name that it has"
        ),
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS there; is it http://?".into(),
        Some(_) | None => return error,
    };
    io::Error::new(error.kind(), Advice(text))
}
