//! TLS to the admin API: whose certificates count, and what to do when a handshake fails.

use super::server::Server;
use crate::failure::Failure;
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a client needs to speak TLS to a server.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

// === impl Tls ===

impl Tls {
    /// Trusts the authorities in the file, or else those that the system trusts.
    pub(super) fn new(server: &Server, authorities: Option<&Path>) -> Result<Tls, Failure> {
        let host = server.address().0;
        let name = ServerName::try_from(host.to_string())
            .map_err(|_| Failure::Usage(format!("{host:?} is neither a host name nor an address")))?;
        let roots = match authorities {
            Some(file) => of_file(file)?,
            None => of_the_system(),
        };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Runtime(format!("failed to set up TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Shakes hands; a failure is told with what to do.
    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| self.advice(&error))
    }

    fn advice(&self, error: &io::Error) -> String {
        let host = self.name.to_str();
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => "no authority that is trusted here has signed its certificate; give the control plane's ca.pem \
                   (--ca, PORTICO_CA)"
                .into(),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => format!(
                "its certificate is not for {host}; use a name that it has, or start the control plane with --tls-host \
                 {host}"
            ),
            Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS; write http:// in the URL".into(),
            Some(_) | None => format!("the TLS handshake failed: {error}"),
        }
    }
}

fn of_file(file: &Path) -> Result<RootCertStore, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("failed to read the authorities in {}: {why}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    match roots.is_empty() {
        true => Err(failed(&"there is no certificate in PEM form in it")),
        false => Ok(roots),
    }
}

// What cannot be read of it is passed over: a server that needs it is not trusted, and that is told.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
