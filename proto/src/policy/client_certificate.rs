//! Whose request it is, by the certificate that the client showed: mutual TLS.
//!
//! What is checked here is who may vouch for clients and which names count; what a client showed is judged by
//! [`ClientCertificate::identify`], which needs nothing but the time.

use crate::{authorities::authorities, certificate::dns_name, invalid::Faults, pb};
use rustls::{
    CertificateError, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, UnixTime,
        pem::{PemObject, SectionKind},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use std::{fmt::Write, sync::Arc};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// The most names that are allowed.
const MAX_ALLOWED: usize = 256;
/// The longest name, in bytes, of those that are looked at.
const MAX_NAME: usize = 512;

/// Whose request it is, by the certificate that the client showed.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Whether clients without one pass, as nobody.
    pub optional: bool,
    /// Whether the name is one of a consumer.
    pub consumers: bool,
    verifier: Arc<dyn ClientCertVerifier>,
    // None: all that the authorities vouch for.
    allow: Vec<Allowed>,
}

/// Why a certificate does not say whose the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// None of the authorities vouches for it, or not for a client.
    Unknown,
    /// Not now: it has expired, or is not valid yet.
    Expired,
    /// No more: it was revoked.
    Revoked,
    /// None of its names is allowed.
    NotAllowed,
}

/// A name that a certificate may have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CertificateName {
    Uri(String),
    // In lower case.
    Dns(String),
    Email(String),
    CommonName(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Exactly(CertificateName),
    // One label, and then this, which begins with a dot.
    Below(String),
}

// === impl ClientCertificate ===

impl ClientCertificate {
    pub(super) fn check(message: &pb::ClientCertificate, faults: &mut Faults) -> Option<ClientCertificate> {
        let pb::ClientCertificate { ca, crl, allow, optional, consumers } = message;
        let authorities = faults.at("ca", |faults| faults.take(authorities(ca)));
        let lists = faults.at("crl", |faults| faults.take(revocation_lists(crl)));
        let allow = faults.at("allow", |faults| {
            if allow.len() > MAX_ALLOWED {
                faults.note(format!("at most {MAX_ALLOWED} names can be given"));
            }
            let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(Allowed::parse(text)));
            allow.iter().enumerate().filter_map(parse).collect()
        });
        let (authorities, lists) = (authorities?, lists?);
        let verifier = faults.at("crl", |faults| faults.take(verifier(authorities, lists)));
        Some(ClientCertificate { optional: *optional, consumers: *consumers, verifier: verifier?, allow })
    }

    /// What the client is called, whose chain this is, its own certificate first: one of its names. Of those that are
    /// allowed the first of its URIs, DNS names, e-mail addresses and common names (`cn:`); a certificate without any name
    /// is called by its SHA-256 (`sha256:`).
    pub fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<String, Distrust> {
        let (own, others) = chain.split_first().ok_or(Distrust::Unknown)?;
        self.verifier.verify_client_cert(own, others, now).map_err(|error| Distrust::of(&error))?;
        let (_, certificate) = X509Certificate::from_der(own).map_err(|_| Distrust::Unknown)?;
        let mut names = CertificateName::all(&certificate).into_iter();
        match self.allow.is_empty() {
            true => Ok(names.next().map_or_else(|| fingerprint(own), CertificateName::into_text)),
            false => names
                .find(|name| self.allow.iter().any(|allowed| allowed.takes(name)))
                .map(CertificateName::into_text)
                .ok_or(Distrust::NotAllowed),
        }
    }
}

fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .with_crls(lists)
        .allow_unknown_revocation_status()
        .build()
        .map_err(|error: VerifierBuilderError| format!("a list cannot be read: {error}"))
}

fn revocation_lists(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let mut lists = Vec::new();
    for (at, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).enumerate() {
        match section {
            Ok((SectionKind::Crl, der)) => lists.push(CertificateRevocationListDer::from(der)),
            // An error of the reader quotes what it read.
            Ok(_) | Err(_) => {
                return Err(format!("block {} is not a list; it begins with -----BEGIN X509 CRL-----", at + 1));
            }
        }
    }
    if lists.is_empty() && !text.is_empty() {
        return Err("there is no list; it begins with -----BEGIN X509 CRL-----".into());
    }
    Ok(lists)
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().fold("sha256:".to_string(), |mut text, byte| {
        // Nothing fails that is written to memory.
        write!(text, "{byte:02x}").ok();
        text
    })
}

// === impl Distrust ===

impl Distrust {
    fn of(error: &rustls::Error) -> Distrust {
        use CertificateError as E;
        match error {
            rustls::Error::InvalidCertificate(
                E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. },
            ) => Distrust::Expired,
            rustls::Error::InvalidCertificate(E::Revoked) => Distrust::Revoked,
            // Errors grow with their crate.
            _ => Distrust::Unknown,
        }
    }
}

// === impl CertificateName ===

impl CertificateName {
    // In the order in which they are taken. What is not well formed is not there.
    fn all(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let general = alternatives.iter().flat_map(|extension| &extension.value.general_names);
        let (mut uris, mut hosts, mut mails) = (Vec::new(), Vec::new(), Vec::new());
        for name in general {
            match name {
                GeneralName::URI(uri) if is_uri(uri) => uris.push(CertificateName::Uri((*uri).into())),
                GeneralName::DNSName(host) => hosts.extend(dns_name(host).map(CertificateName::Dns)),
                GeneralName::RFC822Name(mail) if is_mail(mail) => mails.push(CertificateName::Email((*mail).into())),
                _ => {}
            }
        }
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let common =
            common.filter(|name| is_short_and_plain(name)).map(|name| CertificateName::CommonName(name.into()));
        uris.into_iter().chain(hosts).chain(mails).chain(common).collect()
    }

    fn into_text(self) -> String {
        match self {
            CertificateName::Uri(text) | CertificateName::Dns(text) | CertificateName::Email(text) => text,
            CertificateName::CommonName(text) => format!("cn:{text}"),
        }
    }
}

// No kind of name can be taken for another: what is written before a colon is the scheme of a URI, `cn` or `sha256`, and
// what has none is a DNS name, or with an @ an address of e-mail.
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"+-.".contains(&c);
        let is_ours = ["cn", "sha256"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(plain)
            && !is_ours
            && !rest.is_empty()
    }) && is_short_and_plain(text)
}

fn is_mail(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !local.contains(':') && !host.is_empty())
        && is_short_and_plain(text)
}

fn is_short_and_plain(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

// === impl Allowed ===

impl Allowed {
    fn parse(text: &str) -> Result<Allowed, String> {
        let advice = || {
            format!(
                "{text:?} is not a name of a certificate: `uri:spiffe://prod/billing`, `dns:billing.internal`, \
                 `dns:*.internal`, `email:ada@example.com` or `cn:billing`"
            )
        };
        let (kind, name) = text.split_once(':').ok_or_else(advice)?;
        match kind {
            "uri" if is_uri(name) => Ok(Allowed::Exactly(CertificateName::Uri(name.into()))),
            "email" if is_mail(name) => Ok(Allowed::Exactly(CertificateName::Email(name.into()))),
            "cn" if is_short_and_plain(name) => Ok(Allowed::Exactly(CertificateName::CommonName(name.into()))),
            "dns" => {
                let name = dns_name(name).ok_or_else(advice)?;
                Ok(match name.strip_prefix('*') {
                    Some(below) => Allowed::Below(below.into()),
                    None => Allowed::Exactly(CertificateName::Dns(name)),
                })
            }
            _ => Err(advice()),
        }
    }

    fn takes(&self, name: &CertificateName) -> bool {
        match (self, name) {
            (Allowed::Exactly(allowed), name) => allowed == name,
            // A star that the certificate has itself is a label as any other.
            (Allowed::Below(below), CertificateName::Dns(name)) => {
                name.strip_suffix(below.as_str()).is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
            (Allowed::Below(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
        date_time_ymd,
    };
    use std::time::Duration;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issue(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn named(names: &[SanType], common: Option<&str>) -> impl Fn(&mut CertificateParams) {
        move |params| {
            params.subject_alt_names = names.to_vec();
            common.into_iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, name));
        }
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn mail(text: &str) -> SanType {
        SanType::Rfc822Name(text.try_into().unwrap())
    }

    fn check(ca: String, crl: &str, allow: &[&str]) -> Result<ClientCertificate, Vec<String>> {
        let allow = allow.iter().map(|name| name.to_string()).collect();
        let message = pb::ClientCertificate { ca, crl: crl.into(), allow, optional: false, consumers: false };
        let mut faults = Faults::default();
        let policy = ClientCertificate::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(policy.unwrap()) } else { Err(found) }
    }

    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 86_400))
    }

    fn identify(policy: &ClientCertificate, certificate: CertificateDer<'static>) -> Result<String, Distrust> {
        policy.identify(&[certificate], year(2026))
    }

    #[test]
    fn a_client_is_called_by_its_first_name_that_is_allowed() {
        let issuer = authority("one");
        let all = [dns("API.example.com"), mail("ada@example.com"), uri("spiffe://prod/api")];
        for (allow, names, common, expect) in [
            (&[][..], &all[..], Some("api"), Ok("spiffe://prod/api")),
            (&[], &all[..2], Some("api"), Ok("api.example.com")),
            (&[], &all[1..2], Some("api"), Ok("ada@example.com")),
            (&[], &[], Some("api"), Ok("cn:api")),
            (&["dns:api.example.com"], &all, None, Ok("api.example.com")),
            (&["dns:*.example.com"], &all, None, Ok("api.example.com")),
            (&["cn:api", "email:ada@example.com"], &all, Some("api"), Ok("ada@example.com")),
            (&["cn:api"], &all, Some("api"), Ok("cn:api")),
            (&["dns:*.com"], &all, None, Err(Distrust::NotAllowed)),
            (&["dns:*.api.example.com", "uri:spiffe://prod/ap"], &all, None, Err(Distrust::NotAllowed)),
            // A name of one kind is none of another, whatever it is like.
            (&["uri:spiffe://prod/api"], &[], Some("spiffe://prod/api"), Err(Distrust::NotAllowed)),
            (&["cn:api.example.com"], &all, None, Err(Distrust::NotAllowed)),
            (&[], &[dns("spiffe://prod/api"), uri("cn:root"), uri("no scheme:x")], Some("api"), Ok("cn:api")),
        ] {
            let policy = check(issuer.pem(), "", allow).unwrap();
            let called = identify(&policy, issue(&issuer, named(names, common)));
            assert_eq!(called.as_deref().map_err(|distrust| *distrust), expect, "{allow:?}");
        }
        let nameless = issue(&issuer, |_| {});
        let called = identify(&check(issuer.pem(), "", &[]).unwrap(), nameless.clone()).unwrap();
        assert_eq!(called, fingerprint(&nameless));
        assert_eq!(called.len(), "sha256:".len() + 64);
    }

    #[test]
    fn only_those_count_for_whom_an_authority_vouches_now() {
        let (issuer, other) = (authority("one"), authority("one"));
        let policy = check(format!("{}{}", issuer.pem(), authority("two").pem()), "", &[]).unwrap();
        let good = issue(&issuer, named(&[dns("a.test")], None));
        assert_eq!(policy.identify(std::slice::from_ref(&good), year(2026)), Ok("a.test".into()));
        for (now, certificate, expect) in [
            (2031, good.clone(), Distrust::Expired),
            (2019, good, Distrust::Expired),
            (2026, issue(&other, named(&[dns("a.test")], None)), Distrust::Unknown),
            (2026, CertificateDer::from(vec![1, 2, 3]), Distrust::Unknown),
            (
                2026,
                issue(&issuer, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
                Distrust::Unknown,
            ),
        ] {
            assert_eq!(policy.identify(&[certificate], year(now)), Err(expect));
        }
        assert_eq!(policy.identify(&[], year(2026)), Err(Distrust::Unknown));
    }

    #[test]
    fn what_was_revoked_counts_no_more() {
        let issuer = authority("one");
        let serial =
            |number: u64| move |params: &mut CertificateParams| params.serial_number = Some(SerialNumber::from(number));
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2025, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(7),
                revocation_time: date_time_ymd(2025, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap().pem().unwrap();
        let other = authority("other");
        let policy = check(format!("{}{}", issuer.pem(), other.pem()), &list, &[]).unwrap();
        assert_eq!(identify(&policy, issue(&issuer, serial(7))), Err(Distrust::Revoked));
        // A list that is out of date still says what it says, and nothing of those of others.
        assert!(identify(&policy, issue(&issuer, serial(8))).is_ok());
        assert!(identify(&policy, issue(&other, serial(7))).is_ok());
    }

    #[test]
    fn faults_say_where_and_what_to_do() {
        let issuer = authority("one");
        for (ca, crl, allow, expect) in [
            (String::new(), "", &[][..], "/ca: there is no certificate"),
            (KeyPair::generate().unwrap().serialize_pem(), "", &[], "/ca: block 1 is not a CERTIFICATE"),
            (issuer.pem(), "x", &[], "/crl: there is no list"),
            (issuer.pem(), &issuer.pem(), &[], "/crl: block 1 is not a list"),
            (issuer.pem(), "", &["api"], "/allow/0: \"api\" is not a name of a certificate"),
            (issuer.pem(), "", &["cn:a", "dns:-"], "/allow/1: \"dns:-\" is not"),
            (issuer.pem(), "", &["uri:cn:root"], "/allow/0: "),
            (issuer.pem(), "", &["email:a"], "/allow/0: "),
        ] {
            let found = check(ca, crl, allow).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(expect), "{found:?}");
        }
        assert_eq!(check(String::new(), "x", &["y"]).unwrap_err().len(), 3);
    }
}
