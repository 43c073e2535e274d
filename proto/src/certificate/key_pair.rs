//! A chain of certificates and the key of its leaf, which belong together. No message of a fault has a byte of the key.

use crate::{invalid::Faults, pb, secret};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
        pem::{PemObject, SectionKind},
    },
    sign::{CertifiedKey, SigningKey},
};
use std::{collections::BTreeSet, fmt, sync::Arc};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
    x509::X509Version,
};

/// The most certificates of one chain.
const MAX_CHAIN: usize = 10;

/// A chain and the key of its leaf.
#[derive(Clone)]
pub struct KeyPair {
    certified: Arc<CertifiedKey>,
    dns_names: BTreeSet<String>,
    validity: Validity,
    for_clients: bool,
}

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To prove who a server is.
    Server,
    /// To prove who a client is.
    Client,
}

// === impl KeyPair ===

impl KeyPair {
    /// Checks the fields `chain` and `private_key`; the faults are noted.
    pub fn check(chain: &str, private_key: Option<&pb::Secret>, usage: Usage, faults: &mut Faults) -> Option<KeyPair> {
        let chain = faults.at("chain", |faults| read_chain(chain, faults));
        let key = faults.at("private_key", |faults| read_key(private_key, faults));
        let chain = chain?;
        let before = faults.count();
        let certificates = faults.at("chain", |faults| parse(&chain, faults))?;
        faults.at("chain", |faults| {
            check_order(&certificates, faults);
            check_leaf(&certificates[0], usage, faults);
        });
        let key = key?;
        check_match(&certificates, &*key, faults);
        let (dns_names, validity) = (dns_names(&certificates[0]), Validity::of(&certificates[0]));
        let for_clients = Usage::Client.is_of(&certificates[0]);
        drop(certificates);
        let certified = Arc::new(CertifiedKey::new(chain, key));
        (faults.count() == before).then_some(KeyPair { certified, dns_names, validity, for_clients })
    }

    /// The two as rustls takes them.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The DNS names of the leaf, in lower case.
    pub fn dns_names(&self) -> &BTreeSet<String> {
        &self.dns_names
    }

    /// From when until when the leaf is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether the leaf can prove who a client is.
    pub fn is_for_clients(&self) -> bool {
        self.for_clients
    }
}

impl PartialEq for KeyPair {
    // A chain has one key.
    fn eq(&self, other: &KeyPair) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, validity) = (&self.dns_names, &self.validity);
        f.debug_struct("KeyPair").field("dns_names", names).field("validity", validity).finish_non_exhaustive()
    }
}

// === impl Validity ===

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Validity {
        let validity = certificate.validity();
        Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
    }
}

// === impl Usage ===

impl Usage {
    fn as_str(self) -> &'static str {
        match self {
            Usage::Server => "servers (extended key usage serverAuth)",
            Usage::Client => "clients (extended key usage clientAuth)",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Usage::Server => "have it issued for them, or give `client_only: true` if only upstreams are to see it",
            Usage::Client => "have it issued for them",
        }
    }

    // A certificate that says nothing of its use may be used for anything.
    fn is_of(self, leaf: &X509Certificate<'_>) -> bool {
        let Ok(extended) = leaf.extended_key_usage() else { return false };
        extended.is_none_or(|extension| match self {
            Usage::Server => extension.value.any || extension.value.server_auth,
            Usage::Client => extension.value.any || extension.value.client_auth,
        })
    }
}

/// A DNS name in lower case, if it is one; the first label may be a star.
pub(crate) fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What ends with a number is an address.
    let is_address = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
    (name.len() <= 253 && name.split('.').all(is_label) && !is_address).then(|| text.to_ascii_lowercase())
}

fn read_chain(pem: &str, faults: &mut Faults) -> Option<Vec<CertificateDer<'static>>> {
    if pem.is_empty() {
        faults.note("a chain is missing; give PEM, the certificate of the server first");
        return None;
    }
    let mut chain = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        match section {
            Ok((SectionKind::Certificate, der)) => chain.push(CertificateDer::from(der)),
            Ok((SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _)) => {
                faults.note("a private key stands in the chain, which everybody may read; put it under `private_key`");
                return None;
            }
            // SectionKind grows with its crate.
            Ok(_) => {
                faults.note("something else than a certificate stands in the chain; leave it out");
                return None;
            }
            // An error of the reader quotes what it read.
            Err(_) => {
                faults.note("is not PEM; it begins with -----BEGIN CERTIFICATE----- and has line breaks");
                return None;
            }
        }
    }
    match chain.len() {
        0 => faults.note("holds no certificate; it is PEM and begins with -----BEGIN CERTIFICATE-----"),
        n if n > MAX_CHAIN => faults.note(format!("a chain has at most {MAX_CHAIN} certificates")),
        _ => return Some(chain),
    }
    None
}

fn read_key(secret: Option<&pb::Secret>, faults: &mut Faults) -> Option<Arc<dyn SigningKey>> {
    let pem = secret::check(secret, faults)?;
    let key = faults.take(parse_key(pem))?;
    let supported = any_supported_type(&key);
    faults.take(supported.map_err(|_| {
        "the key is damaged, or of a kind that is not taken; give RSA of 2048 bits or more, ECDSA on P-256 or P-384, \
         or Ed25519"
            .into()
    }))
}

fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    if pem.contains("ENCRYPTED") {
        return Err("the key has a pass phrase; give it without one, as `openssl pkey -in KEY` prints it (it is kept \
                    sealed)"
            .into());
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        match section {
            Ok((SectionKind::PrivateKey, der)) => keys.push(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))),
            Ok((SectionKind::RsaPrivateKey, der)) => keys.push(PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der))),
            Ok((SectionKind::EcPrivateKey, der)) => keys.push(PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der))),
            // A file may have the certificate beside its key.
            Ok(_) => {}
            Err(_) => return Err("is not PEM; it begins with -----BEGIN PRIVATE KEY----- and has line breaks".into()),
        }
    }
    let key = keys.pop().ok_or("holds no private key; it is PEM and begins with -----BEGIN PRIVATE KEY-----")?;
    if keys.is_empty() { Ok(key) } else { Err("holds more than one private key; give that of the leaf".into()) }
}

// None is empty.
fn parse<'a>(chain: &'a [CertificateDer<'static>], faults: &mut Faults) -> Option<Vec<X509Certificate<'a>>> {
    let parse = |(at, der): (usize, &'a CertificateDer<'static>)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(format!("certificate {} of the chain is damaged: it is not X.509", at + 1)),
    };
    faults.take(chain.iter().enumerate().map(parse).collect())
}

fn check_order(certificates: &[X509Certificate<'_>], faults: &mut Faults) {
    for (at, pair) in certificates.windows(2).enumerate() {
        if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
            faults.note(format!(
                "certificate {} of the chain is not that of the issuer of certificate {}: {:?} is followed by {:?}; \
                 put each before its issuer's, the server's first",
                at + 2,
                at + 1,
                pair[0].issuer().to_string(),
                pair[1].subject().to_string(),
            ));
            return;
        }
    }
}

fn check_leaf(leaf: &X509Certificate<'_>, usage: Usage, faults: &mut Faults) {
    if leaf.version() != X509Version::V3 {
        faults.note("the certificate is not of X.509 version 3; no client takes it");
    }
    let validity = Validity::of(leaf);
    if validity.not_before > validity.not_after {
        faults.note("the certificate expires before it begins; no client takes it");
    }
    match (leaf.extended_key_usage(), leaf.key_usage()) {
        (Ok(_), Ok(key_usage)) => {
            if !usage.is_of(leaf) {
                faults.note(format!("the certificate is not for {}; {}", usage.as_str(), usage.advice()));
            }
            if key_usage.is_some_and(|extension| !extension.value.digital_signature()) {
                faults.note("the certificate's key may not sign (key usage digitalSignature), as TLS needs it to");
            }
        }
        (Err(_), _) | (_, Err(_)) => faults.note("the certificate is damaged: an extension stands twice"),
    }
    check_public_key(leaf, faults);
}

fn check_public_key(leaf: &X509Certificate<'_>, faults: &mut Faults) {
    let key = leaf.public_key();
    let kind = &key.algorithm.algorithm;
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let refused = if *kind == OID_PKCS1_RSAENCRYPTION {
        match key.parsed() {
            Ok(PublicKey::RSA(key)) if key.key_size() >= 2048 => return,
            Ok(PublicKey::RSA(key)) => format!("RSA of {} bits", key.key_size()),
            Ok(_) | Err(_) => "damaged".into(),
        }
    } else if *kind == OID_SIG_ED25519 {
        return;
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        match curve {
            Some(curve) if curve == OID_EC_P256 || curve == OID_NIST_EC_P384 => return,
            Some(_) | None => "ECDSA on another curve".into(),
        }
    } else {
        format!("of the kind {kind}")
    };
    faults.note(format!(
        "the certificate's key is {refused}; take RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519"
    ));
}

fn check_match(certificates: &[X509Certificate<'_>], key: &dyn SigningKey, faults: &mut Faults) {
    let Some(public) = key.public_key() else {
        faults.note_at("private_key", "the key does not tell its public half; give another form of it");
        return;
    };
    let is_of = |certificate: &X509Certificate<'_>| certificate.public_key().raw == public.as_ref();
    match certificates.iter().position(is_of) {
        Some(0) => {}
        Some(at) => faults.note_at(
            "chain",
            format!("the private key is that of certificate {}; the server's certificate stands first", at + 1),
        ),
        None => {
            faults.note_at("private_key", "the key is not that of the certificate; give the two that belong together")
        }
    }
}

fn dns_names(leaf: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return BTreeSet::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => dns_name(name),
        // Clients ask for DNS names only; GeneralName has many other kinds.
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}
