//! A certificate and its key, as an operator gives them: two PEM files.

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{fs::File, io::AsyncReadExt};

/// The largest file that is read.
const MAX_FILE: u64 = 256 * 1024;

/// The content of both files.
pub(super) struct Pair {
    certificate: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("cannot read {}: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    #[error("{} and {} cannot be used together: {error}", certificate.display(), key.display())]
    Unfit { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

/// Reads both files.
pub(super) async fn read(certificate: &Path, key: &Path) -> Result<Pair, PairError> {
    Ok(Pair {
        certificate: (certificate.into(), read_file(certificate).await?),
        key: (key.into(), read_file(key).await?),
    })
}

async fn read_file(file: &Path) -> Result<Vec<u8>, PairError> {
    let unreadable = |error| PairError::Unreadable { file: file.into(), error };
    let mut bytes = Vec::new();
    let open = File::open(file).await.map_err(unreadable)?;
    open.take(MAX_FILE).read_to_end(&mut bytes).await.map_err(unreadable)?;
    Ok(bytes)
}

// === impl Pair ===

impl Pair {
    /// Tells whether anything has changed.
    pub(super) fn digest(&self) -> [u8; 32] {
        let parts = [Sha256::digest(&self.certificate.1), Sha256::digest(&self.key.1)];
        Sha256::digest(parts.concat()).into()
    }

    /// The chain and its key, proven to belong together.
    pub(super) fn parse(self, provider: &CryptoProvider) -> Result<CertifiedKey, PairError> {
        let Pair { certificate: (certificate, chain), key: (key, secret) } = self;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| PairError::NoCertificate(certificate.clone()))?;
        let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| PairError::NoKey(key.clone()))?;
        CertifiedKey::from_der(chain, secret, provider).map_err(|error| PairError::Unfit { certificate, key, error })
    }
}
