//! Certificates of clients. A handshake only has a client prove that it has the key of what it shows; whether anybody
//! vouches for the certificate is for the policies of a route to say, and may change while the connection stands.

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// The largest chain that a client may show: it is kept as long as the connection.
const MAX_CHAIN_BYTES: usize = 16 * 1024;

/// Asks clients for a certificate, and takes any.
#[derive(Debug)]
pub(super) struct AskClients {
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl AskClients ===

impl AskClients {
    pub(super) fn new() -> AskClients {
        AskClients { algorithms: default_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AskClients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    // No authority is named: which count differs from route to route.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
        match bytes <= MAX_CHAIN_BYTES {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(Error::General(format!("a chain of {bytes} bytes is too large"))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
