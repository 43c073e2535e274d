//! Authorities whose word is taken for who somebody is, as PEM.

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{PemObject, SectionKind},
    },
};

/// All certificates of the text. What else it holds is somebody's mistake, and if it is a key a grave one.
pub(crate) fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut authorities = Vec::new();
    let mut roots = RootCertStore::empty();
    for (at, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).enumerate() {
        let number = at + 1;
        let (kind, der) = section
            // An error of the reader quotes what it read.
            .map_err(|_| format!("block {number} is not PEM; it begins with -----BEGIN CERTIFICATE-----"))?;
        if kind != SectionKind::Certificate {
            return Err(format!("block {number} is not a CERTIFICATE; nothing else belongs here"));
        }
        let certificate = CertificateDer::from(der);
        roots.add(certificate.clone()).map_err(|error| format!("certificate {number} cannot be read: {error}"))?;
        authorities.push(certificate);
    }
    match authorities.is_empty() {
        true => Err("there is no certificate; it begins with -----BEGIN CERTIFICATE-----".into()),
        false => Ok(authorities),
    }
}
