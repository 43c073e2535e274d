//! Documents of others, such as the keys of an issuer, fetched on the control thread: never by a worker.
//!
//! Everything is bounded: the time, the head, the body. A redirect is an error, for it would choose another place than the
//! configuration did. What a name stands for is judged after it is resolved, and the connection goes to the address that
//! was judged, so that a second answer of the name server changes nothing.

mod permit;

use permit::Permit;

use crate::{
    pool::{Resolver, system_roots},
    settings::Settings,
};
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use proto::url::Url;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

/// How long one fetch may take, all together.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;
/// How fetches call themselves.
const USER_AGENT: HeaderValue = HeaderValue::from_static("portico");

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    permit: Permit,
    resolver: Resolver,
    // In place of the authorities that the system trusts.
    roots: Option<Arc<RootCertStore>>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0} cannot be resolved: {1}")]
    Name(String, String),
    #[error("{0} is not public; a node asks it only with --fetch-allow")]
    Forbidden(IpAddr),
    #[error("it is asked in cleartext only at addresses of --fetch-allow, and {0} is none; give an https:// URL")]
    Cleartext(IpAddr),
    #[error("it does not accept a connection: {0}")]
    Connect(io::Error),
    #[error("it does not agree on TLS: {0}")]
    Tls(io::Error),
    #[error("its name is none that a certificate could be for")]
    ServerName(#[from] InvalidDnsNameError),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("it answered {0}, and redirects are not followed: give the place itself")]
    Redirect(StatusCode),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its document has more than {0} bytes")]
    TooLarge(usize),
    #[error("it did not answer within {} s", WITHIN.as_secs())]
    Elapsed,
}

// === impl Fetcher ===

impl Fetcher {
    /// Asks whom the settings let.
    pub(crate) fn new(settings: &Settings, resolver: Resolver) -> anyhow::Result<Fetcher> {
        let roots = settings.fetch_ca.as_deref().map(read_roots).transpose()?.map(Arc::new);
        Ok(Fetcher { permit: Permit::of(&settings.fetch_allow), resolver, roots })
    }

    /// The document that is there, of at most so many bytes.
    pub(crate) async fn get(&self, url: &Url, max: usize) -> Result<Bytes, FetchError> {
        tokio::time::timeout(WITHIN, self.ask(url, max)).await.unwrap_or(Err(FetchError::Elapsed))
    }

    async fn ask(&self, url: &Url, max: usize) -> Result<Bytes, FetchError> {
        let stream = self.connect(url).await?;
        if !url.is_https {
            return exchange(stream, url, max).await;
        }
        let roots = self.roots.clone().unwrap_or_else(system_roots);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has suites for them");
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let server_name = ServerName::try_from(url.host.clone())?;
        let stream = TlsConnector::from(config).connect(server_name, stream).await.map_err(FetchError::Tls)?;
        exchange(stream, url, max).await
    }

    // To an address that was judged, and to no other.
    async fn connect(&self, url: &Url) -> Result<TcpStream, FetchError> {
        let ips = match url.host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => self.resolver.ips(&url.host).await.map_err(|error| FetchError::Name(url.host.clone(), error))?,
        };
        let mut failure = FetchError::Name(url.host.clone(), "it has no addresses".into());
        for ip in ips {
            if !self.permit.lets(ip) {
                failure = FetchError::Forbidden(ip);
            } else if !url.is_https && !self.permit.names(ip) {
                failure = FetchError::Cleartext(ip);
            } else {
                match TcpStream::connect(SocketAddr::new(ip, url.port)).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failure = FetchError::Connect(error),
                }
            }
        }
        Err(failure)
    }
}

fn read_roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).with_context(|| format!("failed to read {}", path.display()))?
    {
        let certificate = certificate.with_context(|| format!("{} is not PEM", path.display()))?;
        roots.add(certificate).with_context(|| format!("{} holds what is no authority", path.display()))?;
    }
    anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", path.display());
    Ok(roots)
}

async fn exchange<S>(stream: S, url: &Url, max: usize) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    // It ends with this.
    let mut driver = JoinSet::new();
    driver.spawn(async { connection.await.ok() });
    let host = HeaderValue::from_str(&url.authority()).map_err(http::Error::from)?;
    let request = Request::get(url.target.as_str())
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "application/json, */*;q=0.1")
        .header(header::CONNECTION, "close")
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => read(response.into_body(), max).await,
        status if status.is_redirection() => Err(FetchError::Redirect(status)),
        status => Err(FetchError::Status(status)),
    }
}

async fn read(mut body: Incoming, max: usize) -> Result<Bytes, FetchError> {
    let mut document = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            if document.len() + piece.len() > max {
                return Err(FetchError::TooLarge(max));
            }
            document.extend_from_slice(&piece);
        }
    }
    Ok(document.freeze())
}

#[cfg(test)]
mod tests;
