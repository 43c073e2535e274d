//! TLS towards the endpoints of an upstream, checked: what a node makes of it cannot fail.

use super::{Address, Endpoint};
use crate::{authorities::authorities, invalid::Faults, name::Name, pb};
use rustls::pki_types::{CertificateDer, ServerName};

/// TLS towards endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Whose word is taken for who an endpoint is.
    pub trust: Trust,
    /// The name that the certificates have to be for; `None`: the host of each endpoint.
    pub server_name: Option<ServerName<'static>>,
    /// The certificate that is shown to endpoints that ask who calls.
    pub client_certificate: Option<Name>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
}

/// Whose word is taken for who an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That of the authorities that the system trusts.
    System,
    /// That of these; each can be one.
    Authorities(Vec<CertificateDer<'static>>),
    /// The endpoint's own.
    Anybody,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

// === impl UpstreamTls ===

impl UpstreamTls {
    /// Checks the field `tls`, of an upstream with these endpoints.
    pub(super) fn check(message: &pb::UpstreamTls, endpoints: &[Endpoint], faults: &mut Faults) -> UpstreamTls {
        let server_name = match message.server_name.as_str() {
            "" => {
                let nameless = |address: &&Address| server_name(address).is_none();
                if let Some(address) = endpoints.iter().filter_map(|endpoint| endpoint.place.address()).find(nameless) {
                    let detail =
                        format!("no certificate can be for {:?}; say in `server_name` what it is for", address.host);
                    faults.note_at("tls", detail);
                }
                None
            }
            text => faults.at("tls", |faults| {
                let name = ServerName::try_from(text.to_string());
                let advice = |_| format!("{text:?} is not a host name or an IP address; it has no port");
                faults.at("server_name", |faults| faults.take(name.map_err(advice)))
            }),
        };
        faults.at("tls", |faults| UpstreamTls {
            trust: Trust::check(message, faults),
            server_name,
            client_certificate: match message.client_certificate.as_str() {
                "" => None,
                text => faults.at("client_certificate", |faults| faults.take(Name::parse(text))),
            },
            min_version: match message.min_version.as_str() {
                "" | "1.2" => MinVersion::Tls12,
                "1.3" => MinVersion::Tls13,
                other => {
                    faults.note_at(
                        "min_version",
                        format!("{other:?} is not a version of TLS that is spoken: \"1.2\" or \"1.3\""),
                    );
                    MinVersion::Tls12
                }
            },
        })
    }

    /// Whether the same is asked of endpoints.
    pub fn asks_the_same(&self, other: &UpstreamTls) -> bool {
        let UpstreamTls { trust, server_name, client_certificate: _, min_version } = self;
        (trust, server_name, min_version) == (&other.trust, &other.server_name, &other.min_version)
    }

    /// The name that the certificate of an endpoint has to be for; `None` only where that was noted as a fault, or where
    /// the host is not of the configuration but from DNS.
    pub fn server_name(&self, address: &Address) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| server_name(address))
    }
}

fn server_name(address: &Address) -> Option<ServerName<'static>> {
    ServerName::try_from(address.host.clone()).ok()
}

// === impl Trust ===

impl Trust {
    fn check(message: &pb::UpstreamTls, faults: &mut Faults) -> Trust {
        match (message.ca.as_str(), message.insecure_skip_verify) {
            ("", true) => Trust::Anybody,
            ("", false) => Trust::System,
            (_, true) => {
                faults
                    .note_at("insecure_skip_verify", "with a `ca` certificates are verified; leave out one of the two");
                Trust::Anybody
            }
            (text, false) => {
                let authorities = faults.at("ca", |faults| faults.take(authorities(text)));
                Trust::Authorities(authorities.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Place;

    fn check(message: &pb::UpstreamTls, host: &str) -> Result<UpstreamTls, Vec<String>> {
        let mut faults = Faults::default();
        let address = Address { host: host.into(), port: 443 };
        let endpoint = Endpoint { place: Place::Address(address), weight: 1, priority: 0 };
        let tls = UpstreamTls::check(message, &[endpoint], &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(tls) } else { Err(found) }
    }

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn what_is_left_out_is_strict() {
        let tls = check(&pb::UpstreamTls::default(), "a").unwrap();
        let (trust, min_version) = (Trust::System, MinVersion::Tls12);
        assert_eq!(tls, UpstreamTls { trust, server_name: None, client_certificate: None, min_version });
        assert_eq!(tls.server_name(&Address { host: "a".into(), port: 1 }), ServerName::try_from("a").ok());
        assert_eq!(tls.server_name(&Address { host: "::1".into(), port: 1 }), ServerName::try_from("::1").ok());
    }

    #[test]
    fn all_certificates_are_taken() {
        let message = pb::UpstreamTls { ca: format!("# ours\n{}\n{}", pem(), pem()), ..Default::default() };
        let Trust::Authorities(authorities) = check(&message, "a").unwrap().trust else { panic!("they are given") };
        assert_eq!(authorities.len(), 2);
    }

    #[test]
    fn faults_say_where_and_what_to_do() {
        let says = |message: pb::UpstreamTls, host: &str, expect: &str| {
            let faults = check(&message, host).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(expect), "{faults:?}");
        };
        let default = pb::UpstreamTls::default;
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        says(pb::UpstreamTls { ca: "x".into(), ..default() }, "a", "/tls/ca: there is no certificate");
        says(pb::UpstreamTls { ca: pem() + &key, ..default() }, "a", "/tls/ca: block 2 is not a CERTIFICATE");
        says(pb::UpstreamTls { ca: pem() + rubbish, ..default() }, "a", "/tls/ca: certificate 2 cannot be read");
        says(pb::UpstreamTls { ca: rubbish[..40].into(), ..default() }, "a", "/tls/ca: block 1 is not PEM");
        says(
            pb::UpstreamTls { server_name: "a:1".into(), ..default() },
            "a",
            "/tls/server_name: \"a:1\" is not a host name",
        );
        says(
            pb::UpstreamTls { min_version: "1.1".into(), ..default() },
            "a",
            "/tls/min_version: \"1.1\" is not a version",
        );
        says(pb::UpstreamTls { ca: pem(), insecure_skip_verify: true, ..default() }, "a", "/tls/insecure_skip_verify");
        says(default(), "1.2.3", "/tls: no certificate can be for \"1.2.3\"");
    }
}
