//! The fleet's own certificate authority: a key and its certificate in a folder, made at the first start.
//!
//! It issues what the ports of a control plane show, in memory only, and to each node that joins a certificate of its
//! own for a short time. `ca.pem` is for everybody; with `ca.key` anybody can be anyone, so it is for control planes
//! only. Control planes may share the folder. `ca.pem` may have more certificates after the first: those are trusted
//! too, so that an authority can be exchanged while nodes still show certificates of the one before.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use time::OffsetDateTime;
use tracing::info;
use uuid::Uuid;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// How long the authority is good for.
const AUTHORITY_LIFE: Duration = days(3_650);

/// How long the certificate of a port is good for.
const SERVER_LIFE: Duration = days(60);

/// After which time it is issued anew.
pub(super) const SERVER_RENEWAL: Duration = days(20);

/// Clocks differ: what is issued counts as good for some time already.
const BACKDATED: Duration = days(1);

/// Names by which a control plane is reached on its own machine.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    trusted: Vec<CertificateDer<'static>>,
}

/// What the certificate of a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeCertificate {
    /// Which node it is.
    pub(crate) id: String,
    /// Until when.
    pub(crate) ends: OffsetDateTime,
}

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("cannot use {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no key of an authority in PEM form (PKCS #8)", .0.display())]
    NoKey(PathBuf),
    #[error("the key in {} is not that of the first certificate in ca.pem", .0.display())]
    OtherKey(PathBuf),
    #[error("cannot make an authority: {0}")]
    Make(#[from] rcgen::Error),
}

/// Why a certificate is not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("the request for a certificate cannot be used: {0}")]
    Request(rcgen::Error),
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("cannot use an issued certificate: {0}")]
    Unfit(#[from] rustls::Error),
}

// === impl Authority ===

impl Authority {
    /// Reads the authority of a folder; makes one where there is none.
    pub(crate) fn open(folder: &Path) -> Result<Authority, AuthorityError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| AuthorityError::Io { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed(folder))?;
        // Control planes that start together make one authority, not two.
        let path = folder.join("ca.lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(&path))?;
        if !certificate.try_exists().map_err(failed(&certificate))? {
            let (authority, secret) = make()?;
            // The certificate comes last: where it is, its key is.
            write(&key, &secret, 0o600).map_err(failed(&key))?;
            write(&certificate, &authority, 0o644).map_err(failed(&certificate))?;
            info!(file = %certificate.display(), "made a certificate authority; nodes and clients need this file");
        }
        drop(lock);

        let trusted = fs::read(&certificate).map_err(failed(&certificate))?;
        let trusted: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&trusted).collect();
        let trusted = trusted.map_err(|_| AuthorityError::NoCertificate(certificate.clone()))?;
        let own = trusted.first().ok_or_else(|| AuthorityError::NoCertificate(certificate.clone()))?;
        let secret = fs::read_to_string(&key).map_err(failed(&key))?;
        let pair = KeyPair::from_pem(&secret).map_err(|_| AuthorityError::NoKey(key.clone()))?;
        if !is_of(own, &pair) {
            return Err(AuthorityError::OtherKey(key));
        }
        let issuer = Issuer::from_ca_cert_der(own, pair).map_err(|_| AuthorityError::NoCertificate(certificate))?;
        Ok(Authority { issuer, trusted })
    }

    /// Whose certificates are taken.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.trusted.iter().cloned());
        roots
    }

    /// A certificate for a port, and its key.
    pub(super) fn issue_server(&self, hosts: &[String], provider: &CryptoProvider) -> Result<CertifiedKey, IssueError> {
        let own = OWN_HOSTS.iter().map(ToString::to_string);
        let names: BTreeSet<String> = hosts.iter().cloned().chain(own).collect();
        let mut params = CertificateParams::new(Vec::from_iter(names))?;
        params.distinguished_name.push(DnType::CommonName, hosts.first().map_or(OWN_HOSTS[0], String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        last(&mut params, BACKDATED, SERVER_LIFE);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(CertifiedKey::from_der(vec![certificate.der().clone()], secret, provider)?)
    }

    /// A certificate for a node, PEM, which keeps its key to itself. Of the request only the key counts: who the node
    /// is, the caller knows.
    pub(crate) fn issue_node(&self, id: &str, request: &[u8], life: Duration) -> Result<String, IssueError> {
        let request = CertificateSigningRequestParams::from_der(&request.into()).map_err(IssueError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        last(&mut params, life / 4, life);
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }
}

// === impl NodeCertificate ===

impl NodeCertificate {
    /// Reads what a client has shown; the handshake has proven that it may.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<NodeCertificate> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let id = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
        Some(NodeCertificate { id, ends: certificate.validity().not_after.to_datetime() })
    }
}

fn make() -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A part that differs, so that people see which of two authorities they look at.
    let part = Uuid::new_v4().simple().to_string();
    params.distinguished_name.push(DnType::CommonName, format!("Portico CA {}", &part[..8]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    last(&mut params, BACKDATED, AUTHORITY_LIFE);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn last(params: &mut CertificateParams, backdated: Duration, life: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - backdated;
    params.not_after = now + life;
}

fn is_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
}

// Beside it and renamed, so that a crash leaves no half of it.
fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = file.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(&beside, file)
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3_600)
}
