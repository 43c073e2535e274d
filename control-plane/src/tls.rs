//! TLS of the ports of a control plane: which certificate a port shows, and whose certificates it takes.
//!
//! A certificate comes from files of the operator, or is issued here by the fleet's own [`authority`]. It is exchanged
//! while the port is open: who connects takes the newest, and what stands is left alone. A pair that cannot be used
//! never takes the place of one that can.

pub(crate) mod authority;
mod pair;

use authority::{Authority, IssueError};
use pair::PairError;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::watch, time::MissedTickBehavior};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{error, info};

/// How often it is looked whether files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first byte of a TLS connection: that of a handshake record.
const HANDSHAKE_RECORD: u8 = 22;

/// Where the certificate of a port comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// From files of the operator, looked at again and again.
    Files {
        /// The chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// From the fleet's own authority, for these names.
    Issued(Arc<Authority>, Vec<String>),
}

/// TLS of one port.
pub(crate) struct PortTls {
    source: Source,
    // Of the files as they were read first.
    opened: Option<[u8; 32]>,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

/// Why a port cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    #[error("cannot use the certificates of the authority")]
    Trust(#[from] rustls::server::VerifierBuilderError),
}

/// What a port says to who does not begin with a handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error("does not begin with a TLS handshake")]
    Cleartext(TcpStream),
    #[error("the handshake failed: {0}")]
    Handshake(std::io::Error),
    #[error("the handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
}

/// The certificate that is shown now.
struct Shown(watch::Sender<Arc<CertifiedKey>>);

// === impl PortTls ===

impl PortTls {
    /// Reads or issues the certificate. Clients may show one of `clients`.
    pub(crate) async fn open(
        source: Source,
        protocol: &[u8],
        clients: Option<&Authority>,
    ) -> Result<PortTls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (key, opened) = match &source {
            Source::Files { certificate, key } => {
                let pair = pair::read(certificate, key).await?;
                let digest = pair.digest();
                (pair.parse(&provider)?, Some(digest))
            }
            Source::Issued(authority, hosts) => (authority.issue_server(hosts, &provider)?, None),
        };
        let shown = Arc::new(Shown(watch::Sender::new(Arc::new(key))));
        let verifier: Arc<dyn ClientCertVerifier> = match clients {
            None => Arc::new(NoClientAuth),
            // Who has no certificate yet comes to ask for one.
            Some(authority) => WebPkiClientVerifier::builder_with_provider(authority.roots().into(), provider.clone())
                .allow_unauthenticated()
                .build()?,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(PortTls { source, opened, shown, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Takes a connection, within the time that a handshake may take.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, AcceptError> {
        let accepting = async {
            let mut first = [0];
            // Somebody who speaks HTTP to this port is told so in HTTP, by whoever has asked.
            if stream.peek(&mut first).await.map_err(AcceptError::Handshake)? == 1 && first[0] != HANDSHAKE_RECORD {
                return Err(AcceptError::Cleartext(stream));
            }
            self.acceptor.accept(stream).await.map_err(AcceptError::Handshake)
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting).await.unwrap_or(Err(AcceptError::TimedOut))
    }

    /// Keeps the certificate up to date until it is dropped.
    pub(crate) async fn run(&self) {
        match &self.source {
            Source::Files { certificate, key } => self.follow(certificate.clone(), key.clone()).await,
            Source::Issued(authority, hosts) => self.renew(authority, hosts).await,
        }
    }

    async fn follow(&self, certificate: PathBuf, key: PathBuf) {
        let provider = aws_lc_rs::default_provider();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was looked at last, good or not, so that a fault is told once.
        let mut seen = self.opened;
        loop {
            look.tick().await;
            let read = pair::read(&certificate, &key).await;
            let digest: [u8; 32] = match &read {
                Ok(pair) => pair.digest(),
                Err(error) => Sha256::digest(error.to_string()).into(),
            };
            if seen.replace(digest) == Some(digest) {
                continue;
            }
            match read.and_then(|pair| pair.parse(&provider)) {
                Ok(key) => {
                    self.shown.0.send_replace(Arc::new(key));
                    info!(file = %certificate.display(), "the certificate has changed and is shown from now on");
                }
                Err(error) => {
                    let file = certificate.display();
                    error!(%error, %file, "the certificate has changed but cannot be used; the one before stays");
                }
            }
        }
    }

    async fn renew(&self, authority: &Authority, hosts: &[String]) {
        let provider = aws_lc_rs::default_provider();
        let mut issued = Instant::now();
        loop {
            tokio::time::sleep(authority::SERVER_RENEWAL.saturating_sub(issued.elapsed())).await;
            match authority.issue_server(hosts, &provider) {
                Ok(key) => {
                    self.shown.0.send_replace(Arc::new(key));
                    issued = Instant::now();
                }
                Err(error) => {
                    error!(%error, "cannot renew the certificate; the one before stays");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }
}

// === impl Shown ===

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(…)")
    }
}

#[cfg(test)]
mod tests;
