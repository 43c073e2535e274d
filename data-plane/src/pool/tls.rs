//! TLS towards endpoints: who is believed, what is shown, and what came of a handshake.
//!
//! What could be wrong with the configuration was found when it was checked; what is left to fail is the handshake. A
//! configuration and its tickets are shared by all endpoints and workers of an upstream, and outlive changes of it that
//! leave TLS alone. A ticket stands for the certificate that was shown when it was given, so another certificate is
//! another configuration.

use super::{connection::SendError, local::LocalEndpoint, stream::Stream};
use crate::error::Error;
use proto::{
    certificate::KeyPair,
    upstream::{MinVersion, Protocol, Trust, UpstreamTls},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use std::{
    io,
    sync::{Arc, OnceLock},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

// What is spoken, as it is negotiated.
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

// The kind of an error that means `Error::Refused`, and that no socket has. What else an error carries is lost by HTTP/2.
const REFUSED: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// TLS towards the endpoints of one upstream.
#[derive(Clone, Debug)]
pub(super) struct ClientTls {
    config: Arc<ClientConfig>,
    // Nobody is trusted, because the system of the node names nobody.
    rootless: bool,
}

/// TLS towards one endpoint.
#[derive(Debug)]
pub(super) struct EndpointTls {
    tls: ClientTls,
    server_name: ServerName<'static>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct HandshakeError {
    pub(super) error: Error,
    /// For the operator.
    pub(super) detail: io::Error,
}

// Believes whoever has the key of the certificate that it shows.
#[derive(Debug)]
struct AnybodyVerifier(Arc<CryptoProvider>);

// === impl ClientTls ===

impl ClientTls {
    /// Builds what the workers share.
    pub(super) fn build(spec: &UpstreamTls, shown: Option<&KeyPair>, protocol: Protocol) -> ClientTls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = match spec.min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12],
            MinVersion::Tls13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions");
        let mut rootless = false;
        let builder = match &spec.trust {
            Trust::System => {
                let roots = system_roots();
                rootless = roots.is_empty();
                builder.with_root_certificates(roots)
            }
            Trust::Authorities(authorities) => {
                let mut roots = RootCertStore::empty();
                // Each was tried when the configuration was checked.
                roots.add_parsable_certificates(authorities.iter().cloned());
                builder.with_root_certificates(roots)
            }
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnybodyVerifier(provider))),
        };
        let mut config = match shown {
            Some(key_pair) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key_pair.certified().clone())))
            }
            None => builder.with_no_client_auth(),
        };
        let alpn = match protocol {
            Protocol::Http1 => HTTP1,
            Protocol::Http2 { .. } => HTTP2,
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        ClientTls { config: Arc::new(config), rootless }
    }

    /// TLS towards an endpoint whose certificate has to be for this name.
    pub(super) fn towards(&self, server_name: ServerName<'static>) -> EndpointTls {
        EndpointTls { tls: self.clone(), server_name }
    }
}

/// The certificates that the system trusts. They are read once; that there are none may be mended.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return roots.clone();
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    let roots = Arc::new(roots);
    if roots.is_empty() {
        let errors = loaded.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::error!(
            errors,
            "this system trusts no certificates; install its ca-certificates, or give the upstreams a `tls.ca`"
        );
        return roots;
    }
    ROOTS.get_or_init(|| roots).clone()
}

// === impl EndpointTls ===

impl EndpointTls {
    /// Shakes hands, to speak what the upstream speaks.
    pub(super) async fn handshake(&self, stream: TcpStream) -> Result<Stream, HandshakeError> {
        self.agree(self.tls.config.clone(), stream).await
    }

    /// Shakes hands, to speak HTTP/2 whatever the upstream speaks.
    pub(super) async fn handshake_http2(&self, stream: TcpStream) -> Result<Stream, HandshakeError> {
        let mut config = self.tls.config.clone();
        if config.alpn_protocols[0] != HTTP2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![HTTP2.to_vec()];
        }
        self.agree(config, stream).await
    }

    async fn agree(&self, config: Arc<ClientConfig>, stream: TcpStream) -> Result<Stream, HandshakeError> {
        let wants_http2 = config.alpn_protocols[0] == HTTP2;
        let connector = TlsConnector::from(config);
        match connector.connect(self.server_name.clone(), stream).await {
            // An old server of HTTP/1.1 may know nothing of the question; one of HTTP/2 has to answer it.
            Ok(stream) if wants_http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) => {
                let detail = io::Error::other("the endpoint does not speak HTTP/2");
                Err(HandshakeError { error: Error::Handshake, detail })
            }
            Ok(stream) => Ok(Stream::tls(stream)),
            Err(detail) => Err(HandshakeError { error: self.error(&detail), detail }),
        }
    }

    fn error(&self, detail: &io::Error) -> Error {
        match tls_error(detail) {
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) if self.tls.rootless => {
                Error::NoAuthorities
            }
            Some(rustls::Error::InvalidCertificate(_)) => Error::Untrusted,
            Some(rustls::Error::AlertReceived(alert)) => refusal(*alert),
            Some(_) | None => Error::Handshake,
        }
    }
}

// What TLS says about a failure of the connection, if it has anything to do with it.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What an endpoint says that ends the connection with an alert.
pub(super) fn alert(error: &io::Error, endpoint: &LocalEndpoint) -> Option<SendError> {
    let fault = match (error.kind(), tls_error(error)) {
        (REFUSED, _) => SendError::Unsent(Error::Refused),
        (_, Some(rustls::Error::AlertReceived(_))) => SendError::Final(Error::Handshake),
        (_, Some(_) | None) => return None,
    };
    if endpoint.may_complain() {
        tracing::warn!(endpoint = endpoint.as_str(), %error, "an endpoint ended a connection with an alert of TLS");
    }
    Some(fault)
}

/// Marks the error of a connection whose endpoint does not accept the certificate that is shown, or misses one. With TLS
/// 1.3 it says so when the node thinks that all is well, and has read nothing of a request then.
pub(super) fn marked(error: io::Error) -> io::Error {
    match tls_error(&error) {
        Some(rustls::Error::AlertReceived(alert)) if matches!(refusal(*alert), Error::Refused) => {
            io::Error::new(REFUSED, error)
        }
        Some(_) | None => error,
    }
}

fn refusal(alert: AlertDescription) -> Error {
    match alert {
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        // What some say of a certificate that another authority of the same name has signed.
        | AlertDescription::DecryptError
        | AlertDescription::CertificateRequired => Error::Refused,
        // There are many, and more to come.
        _ => Error::Handshake,
    }
}

// === impl AnybodyVerifier ===

impl ServerCertVerifier for AnybodyVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
