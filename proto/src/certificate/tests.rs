use super::*;
use crate::name::Name;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair as Key,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
};
use std::sync::Arc;

// A leaf for these names, of its own issuer.
fn issue(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = Key::generate().expect("a key");
    let mut parameters = params(names);
    change(&mut parameters);
    (parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    CertificateParams::new(names).expect("names")
}

fn message(chain: &str, key: &str) -> pb::Certificate {
    let private_key = Some(pb::Secret { source: Some(pb::secret::Source::Value(key.into())) });
    pb::Certificate { name: "c".into(), chain: chain.into(), private_key, ..Default::default() }
}

fn authority(name: &str) -> CertifiedIssuer<'static, Key> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, Key::generate().expect("a key")).expect("an authority")
}

#[track_caller]
fn checked(message: &pb::Certificate) -> Certificate {
    let mut faults = Faults::default();
    let certificate = Certificate::check(message, &mut faults);
    assert_eq!(faults.into_found(), []);
    certificate.expect("it has no fault")
}

#[track_caller]
fn refused(message: &pb::Certificate, pointer: &str, part: &str) {
    let mut faults = Faults::default();
    Certificate::check(message, &mut faults);
    let found = faults.into_found();
    let is_it = |fault: &&crate::invalid::Invalid| fault.pointer == pointer && fault.detail.contains(part);
    assert!(found.iter().any(|fault| is_it(&fault)), "{pointer} {part}: {found:?}");
}

#[test]
fn the_names_are_those_of_the_leaf_or_some_of_them() {
    let (chain, key) = issue(&["API.example.com", "*.example.com", "10.0.0.1"], |_| {});
    let mut message = message(&chain, &key);
    let hosts = |certificate: Certificate| certificate.hosts.into_iter().collect::<Vec<_>>();
    assert_eq!(hosts(checked(&message)), ["*.example.com", "api.example.com"]);
    message.hosts = vec!["WWW.example.com".into(), "*.example.com".into()];
    assert_eq!(hosts(checked(&message)), ["*.example.com", "www.example.com"]);

    message.hosts = vec!["www.example.com".into(), "a.b.example.com".into(), "example.com".into(), "*.b.com".into()];
    refused(&message, "/hosts/1", "not for \"a.b.example.com\"; it is for *.example.com, api.example.com");
    refused(&message, "/hosts/2", "not for \"example.com\"");
    refused(&message, "/hosts/3", "not for \"*.b.com\"");
    for bad in ["", "*", "a b", "10.0.0.1", "a..b", "*.*.com", "a.*.com", "-a.com", "a/b"] {
        message.hosts = vec![bad.into()];
        refused(&message, "/hosts/0", "is not a DNS name");
    }
}

#[test]
fn a_certificate_without_a_dns_name_can_only_be_the_default() {
    let (chain, key) = issue(&["10.0.0.1"], |_| {});
    let mut message = message(&chain, &key);
    refused(&message, "/chain", "has no DNS name");
    message.default = true;
    assert!(checked(&message).hosts.is_empty());
}

#[test]
fn kinds_of_keys_are_taken_or_refused() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = Key::generate_for(algorithm).expect("a key");
        let chain = params(&["a.test"]).self_signed(&key).expect("a certificate").pem();
        checked(&message(&chain, &key.serialize_pem()));
    }
    let key = Key::generate_for(&PKCS_ECDSA_P521_SHA512).expect("a key");
    let chain = params(&["a.test"]).self_signed(&key).expect("a certificate").pem();
    refused(&message(&chain, &key.serialize_pem()), "/chain", "ECDSA on another curve");
    // As OpenSSL writes them: RSA in PKCS#1 and PKCS#8, EC in SEC1 with its parameters before it.
    checked(&message(include_str!("tests/rsa2048.pem"), include_str!("tests/rsa2048.pkcs1.key")));
    checked(&message(include_str!("tests/rsa2048.pem"), include_str!("tests/rsa2048.pkcs8.key")));
    checked(&message(include_str!("tests/p256.pem"), include_str!("tests/p256.sec1.key")));
    let rsa1024 = message(include_str!("tests/rsa1024.pem"), include_str!("tests/rsa1024.key"));
    refused(&rsa1024, "/chain", "RSA of 1024 bits");
    let encrypted = message(include_str!("tests/p256.pem"), include_str!("tests/encrypted.key"));
    refused(&encrypted, "/private_key", "has a pass phrase");
}

#[test]
fn what_is_malformed_is_refused_with_its_place() {
    let (chain, key) = issue(&["a.test"], |_| {});
    let cut = |pem: &str| pem.lines().filter(|line| !line.starts_with("-----END")).collect::<Vec<_>>().join("\n");
    let garbled = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let check = |chain: &str, key: &str, pointer: &str, part: &str| refused(&message(chain, key), pointer, part);
    check("", &key, "/chain", "a chain is missing");
    check("hello", &key, "/chain", "holds no certificate");
    check(&cut(&chain), &key, "/chain", "is not PEM");
    check(&garbled("CERTIFICATE"), &key, "/chain", "certificate 1 of the chain is damaged");
    check(&format!("{chain}{}", garbled("CERTIFICATE")), &key, "/chain", "certificate 2 of the chain is damaged");
    check(&format!("{chain}{key}"), &key, "/chain", "a private key stands in the chain");
    check(&chain.repeat(11), &key, "/chain", "at most 10");
    check(&chain, "", "/private_key/value", "empty");
    check(&chain, &chain, "/private_key", "holds no private key");
    check(&chain, &cut(&key), "/private_key", "is not PEM");
    check(&chain, &garbled("PRIVATE KEY"), "/private_key", "damaged");
    check(&chain, &format!("{key}{key}"), "/private_key", "more than one");
    let other = issue(&["a.test"], |_| {}).1;
    check(&chain, &other, "/private_key", "not that of the certificate");
    refused(&pb::Certificate { private_key: None, ..message(&chain, &key) }, "/private_key", "a secret is missing");
    let from =
        |source| pb::Certificate { private_key: Some(pb::Secret { source: Some(source) }), ..message(&chain, "") };
    refused(&from(pb::secret::Source::File("key.pem".into())), "/private_key/file", "never by a control plane");
    refused(&from(pb::secret::Source::Digest("sha256:00".into())), "/private_key/digest", "no secret with this digest");
}

#[test]
fn no_fault_has_a_byte_of_the_key() {
    let (chain, key) = issue(&["a.test"], |_| {});
    let halves = [&key[..key.len() / 2], &key[key.len() / 2..], &key.replace('\n', " "), &key.replace('M', "?")];
    for broken in halves {
        let mut faults = Faults::default();
        Certificate::check(&message(&chain, broken), &mut faults);
        let text = format!("{:?}", faults.into_found());
        let leaked = key.lines().filter(|line| !line.starts_with("---")).any(|line| text.contains(&line[..8]));
        assert!(!leaked && text.contains("private_key"), "{text}");
    }
}

#[test]
fn a_chain_goes_from_the_leaf_to_its_issuers() {
    let root = authority("root");
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "intermediate");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let between = CertifiedIssuer::signed_by(parameters, Key::generate().expect("a key"), &root).expect("an issuer");
    let key = Key::generate().expect("a key");
    let leaf = params(&["a.test"]).signed_by(&key, &between).expect("a leaf").pem();
    let (between, root, key) = (between.pem(), root.pem(), key.serialize_pem());
    for chain in [leaf.clone(), format!("{leaf}{between}"), format!("{leaf}{between}{root}")] {
        checked(&message(&chain, &key));
    }
    refused(&message(&format!("{leaf}{root}"), &key), "/chain", "certificate 2 of the chain is not that of the issuer");
    let reversed = message(&format!("{between}{leaf}"), &key);
    refused(&reversed, "/chain", "the private key is that of certificate 2");
}

#[test]
fn the_leaf_is_for_servers() {
    let client = [ExtendedKeyUsagePurpose::ClientAuth];
    let (chain, key) = issue(&["a.test"], |parameters| parameters.extended_key_usages = client.to_vec());
    refused(&message(&chain, &key), "/chain", "not for servers");
    let both = [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let (chain, key) = issue(&["a.test"], |parameters| parameters.extended_key_usages = both.to_vec());
    checked(&message(&chain, &key));
    let (chain, key) = issue(&["a.test"], |parameters| parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    refused(&message(&chain, &key), "/chain", "may not sign");
}

#[test]
fn what_is_for_clients_only_needs_no_name_and_is_served_to_nobody() {
    let client = [ExtendedKeyUsagePurpose::ClientAuth];
    let only = |names: &[&str], usages: &[ExtendedKeyUsagePurpose]| {
        let (chain, key) = issue(names, |parameters| parameters.extended_key_usages = usages.to_vec());
        pb::Certificate { client_only: true, ..message(&chain, &key) }
    };
    for message in [only(&[], &client), only(&["a.test"], &[]), only(&["10.0.0.1"], &client)] {
        let certificate = checked(&message);
        assert!(certificate.is_for_clients() && certificate.hosts.is_empty());
        let mut names = ServerNames::default();
        assert_eq!(names.put(&Arc::new(certificate)), []);
        assert!(names.find(Some("a.test")).is_none() && names.find(None).is_none());
    }
    refused(&only(&[], &[ExtendedKeyUsagePurpose::ServerAuth]), "/chain", "not for clients");
    let named = pb::Certificate { hosts: vec!["a.test".into()], ..only(&["a.test"], &client) };
    refused(&named, "/hosts", "is not served");
    refused(&pb::Certificate { default: true, ..only(&[], &client) }, "/default", "is not served");
    // Without the field it would have to be served, and cannot be.
    let served = pb::Certificate { client_only: false, ..only(&["a.test"], &client) };
    refused(&served, "/chain", "or give `client_only: true`");
    // What is served can be shown as well, if it says nothing else.
    let (chain, key) = issue(&["a.test"], |_| {});
    assert!(checked(&message(&chain, &key)).is_for_clients());
    let (chain, key) =
        issue(&["a.test"], |parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert!(!checked(&message(&chain, &key)).is_for_clients());
}

#[test]
fn a_name_finds_its_certificate() {
    let certificate = |name: &str, hosts: &[&str], default| {
        let (chain, key) = issue(hosts, |_| {});
        Arc::new(checked(&pb::Certificate { name: name.into(), default, ..message(&chain, &key) }))
    };
    let mut names = ServerNames::default();
    for certificate in [
        certificate("exact", &["api.example.com"], false),
        certificate("wild", &["*.example.com"], false),
        certificate("deep", &["*.b.example.com"], false),
    ] {
        assert_eq!(names.put(&certificate), []);
    }
    let check = |names: &ServerNames, name: Option<&str>, expect: Option<&str>| {
        assert_eq!(names.find(name).map(|found| found.name.as_str()), expect, "{name:?}");
    };
    check(&names, Some("API.example.com"), Some("exact"));
    check(&names, Some("www.example.com"), Some("wild"));
    check(&names, Some("a.b.example.com"), Some("deep"));
    check(&names, Some("b.example.com"), Some("wild"));
    for other in [None, Some("example.com"), Some("a.b.c.example.com"), Some("com"), Some(""), Some(".example.com")] {
        check(&names, other, None);
    }
    let default = certificate("default", &["d.test"], true);
    assert_eq!(names.put(&default), []);
    for other in [None, Some("example.com"), Some("d.test"), Some("x")] {
        check(&names, other, Some("default"));
    }
    let rival = certificate("rival", &["d.test", "*.example.com", "new.test"], true);
    let (default_name, wild_name) = (default.name.clone(), Name::parse("wild").expect("a name"));
    let claims = [
        Claim::Host("*.example.com".into(), wild_name),
        Claim::Host("d.test".into(), default_name.clone()),
        Claim::Default(default_name),
    ];
    assert_eq!(names.put(&rival), claims);
    names.take(&default);
    check(&names, None, None);
}
