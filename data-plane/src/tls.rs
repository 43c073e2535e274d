//! TLS with clients: one configuration for all listeners and workers, and the certificates of the router that is live.
//!
//! A handshake takes the certificate that the configuration has at that moment, so a change takes effect with the next
//! one, and neither a connection nor a handshake under way sees it. Sessions are resumed by tickets, whose keys rotate
//! and are the node's: any worker resumes what another began. There is no early data, for it can be replayed.
//!
//! Listeners that ask clients for certificates have tickets of their own. A ticket holds what the client showed, and so a
//! resumed session knows it again; one that began where nobody asked begins anew.

mod client_auth;
pub(crate) mod expiry;

use crate::{
    context::ClientAuth,
    router::LiveRouter,
    settings::{Settings, TlsVersion},
};
use client_auth::AskClients;
use proto::certificate::Certificate;
use rustls::{
    AlertDescription, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

/// What clients may choose from to speak within TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Accepts TLS. Cheap to clone; the clones resume each other's sessions.
#[derive(Clone)]
pub(crate) struct ServerTls {
    config: Arc<ServerConfig>,
    // Where clients are asked for certificates.
    asking: Arc<ServerConfig>,
    live: LiveRouter,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// No certificate has the name that the client asks for, and none is the default.
    #[error("no certificate is for {}", .0.as_deref().unwrap_or("clients that ask for no name"))]
    NoCertificate(Option<String>),
    /// The client did not do its part in time.
    #[error("the client did not finish the handshake in time")]
    Timeout,
    /// The client went away, or does not speak TLS as it has to be.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Chooses among the certificates of the live router.
struct Certificates(LiveRouter);

// === impl ServerTls ===

impl ServerTls {
    /// One for a node.
    pub(crate) fn new(settings: &Settings, live: &LiveRouter) -> Result<ServerTls, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match settings.tls_min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let build = |client_auth| -> Result<_, rustls::Error> {
            let builder =
                ServerConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(versions)?;
            let builder = match client_auth {
                ClientAuth::Unasked => builder.with_no_client_auth(),
                ClientAuth::Asked => builder.with_client_cert_verifier(Arc::new(AskClients::new())),
            };
            let mut config = builder.with_cert_resolver(Arc::new(Certificates(live.clone())));
            config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
            config.ticketer = Ticketer::new()?;
            // What tickets carry, no memory has to hold, and no lock has to guard.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            Ok(Arc::new(config))
        };
        let (config, asking) = (build(ClientAuth::Unasked)?, build(ClientAuth::Asked)?);
        Ok(ServerTls { config, asking, live: live.clone() })
    }

    /// Shakes hands with a client, which has so long to do its part.
    pub(crate) async fn accept<IO>(
        &self,
        io: IO,
        client_auth: ClientAuth,
        limit: Duration,
    ) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let config = match client_auth {
            ClientAuth::Unasked => &self.config,
            ClientAuth::Asked => &self.asking,
        };
        timeout(limit, self.shake(io, config)).await.unwrap_or(Err(HandshakeError::Timeout))
    }

    async fn shake<IO>(&self, io: IO, config: &Arc<ServerConfig>) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        // rustls would say "access denied", which sends whoever looks for the reason astray.
        let name = start.client_hello().server_name().map(str::to_string);
        if self.live.certificate(name.as_deref()).is_none() {
            let alert = match name {
                Some(_) => AlertDescription::UnrecognisedName,
                None => AlertDescription::MissingExtension,
            };
            refuse(&mut start.io, alert).await.ok();
            return Err(HandshakeError::NoCertificate(name));
        }
        Ok(start.into_stream(config.clone()).await?)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

// === impl HandshakeError ===

impl HandshakeError {
    /// Its label in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            HandshakeError::NoCertificate(_) => "no_certificate",
            HandshakeError::Timeout => "handshake_timeout",
            HandshakeError::Failed(_) => "handshake",
        }
    }
}

// === impl Certificates ===

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate: Arc<Certificate> = self.0.certificate(hello.server_name())?;
        Some(certificate.key_pair.certified().clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// Ends a handshake whose first message was read: a fatal alert, in the clear as nothing else can be yet.
async fn refuse<IO: AsyncWrite + Unpin>(io: &mut IO, alert: AlertDescription) -> io::Result<()> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    io.write_all(&[ALERT, 3, 3, 0, 2, FATAL, alert.into()]).await?;
    io.shutdown().await
}

#[cfg(test)]
mod tests;
