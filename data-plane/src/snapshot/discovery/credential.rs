//! What a node shows of itself: a certificate for its id, good for a short time, and the key to it.
//!
//! Both are in one file of the data directory, so that they are always of each other. The key is made here and never
//! leaves the node.

use crate::snapshot::disk::replace;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fs, io,
    io::Write,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// Where it is kept.
const FILE: &str = "credential.pem";

/// After a try to renew that came to nothing, the wait before the next; less where the certificate ends sooner.
const RETRY: Duration = Duration::from_secs(60);

/// A certificate and its key.
pub(super) struct Credential {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    renews: SystemTime,
    ends: SystemTime,
}

/// A key that waits for its certificate.
pub(super) struct Request {
    key: KeyPair,
    /// What the control plane is asked to sign.
    pub(super) der: Vec<u8>,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialError {
    #[error("the key cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate cannot be used")]
    Unfit,
    #[error("the certificate cannot be kept: {0}")]
    Keep(#[from] io::Error),
}

// === impl Credential ===

impl Credential {
    /// What the data directory has, if that can still be used.
    pub(super) fn load(folder: &Path) -> Option<Credential> {
        let text = fs::read(folder.join(FILE)).ok()?;
        let credential = Credential::parse(&text);
        if credential.is_none() {
            tracing::warn!(file = FILE, "the kept certificate cannot be used; the node joins again");
        }
        credential.filter(|credential| !credential.has_ended())
    }

    fn parse(text: &[u8]) -> Option<Credential> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(text).ok()?;
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let validity = certificate.validity();
        let seconds = |timestamp: i64| u64::try_from(timestamp).ok().map(Duration::from_secs);
        let (from, to) = (seconds(validity.not_before.timestamp())?, seconds(validity.not_after.timestamp())?);
        let (ends, renews) = (UNIX_EPOCH + to, UNIX_EPOCH + to - to.checked_sub(from)? / 4);
        Some(Credential { chain, key, renews, ends })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ends <= SystemTime::now()
    }

    /// How long until it should be renewed; a quarter of its life is left then.
    pub(super) fn renews_in(&self) -> Duration {
        self.renews.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// It could not be renewed now.
    pub(super) fn postpone(&mut self) {
        let left = self.ends.duration_since(SystemTime::now()).unwrap_or_default();
        self.renews = SystemTime::now() + RETRY.min(left / 4);
    }
}

// === impl Request ===

impl Request {
    /// A new key, and the request for a certificate.
    pub(super) fn new(id: &str) -> Result<Request, CredentialError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        let der = params.serialize_request(&key)?.der().to_vec();
        Ok(Request { key, der })
    }

    /// Puts the certificate to its key, and keeps both.
    pub(super) fn answered(self, certificate: &str, folder: &Path) -> Result<Credential, CredentialError> {
        let text = format!("{}{certificate}", self.key.serialize_pem());
        let credential = Credential::parse(text.as_bytes()).ok_or(CredentialError::Unfit)?;
        replace(folder, FILE, |file| file.write_all(text.as_bytes()))?;
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn answered(ends_in: time::Duration, folder: &Path) -> Credential {
        let request = Request::new("n").unwrap();
        let now = time::OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (now + ends_in - time::Duration::hours(32), now + ends_in);
        let certificate = params.self_signed(&request.key).unwrap().pem();
        request.answered(&certificate, folder).unwrap()
    }

    #[test]
    fn a_credential_is_kept_for_its_owner_only_and_read_again() {
        let folder = TempDir::new().unwrap();
        let made = answered(time::Duration::hours(24), folder.path());
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Credential::load(folder.path()).unwrap();
        assert_eq!((&read.chain, &read.key), (&made.chain, &made.key));
    }

    #[test]
    fn it_is_renewed_when_a_quarter_of_its_life_is_left() {
        let folder = TempDir::new().unwrap();
        let renews_in = answered(time::Duration::hours(24), folder.path()).renews_in();
        let expect = Duration::from_secs(16 * 3_600);
        assert!(renews_in.abs_diff(expect) < Duration::from_secs(60), "{renews_in:?}");
    }

    #[test]
    fn what_is_damaged_or_has_ended_is_not_shown() {
        let folder = TempDir::new().unwrap();
        let ended = answered(time::Duration::seconds(-3), folder.path());
        assert!(ended.has_ended() && Credential::load(folder.path()).is_none());
        fs::write(folder.path().join(FILE), "-----BEGIN CERTIFICATE-----").unwrap();
        assert!(Credential::load(folder.path()).is_none());
    }
}
