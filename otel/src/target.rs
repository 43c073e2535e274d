//! Where one signal goes, and all that has to be known to send it there; what is wrong with it is told at the start.

use crate::settings::{Compression, Endpoint, Invalid, Protocol, Settings};
use http::{HeaderName, HeaderValue, Uri};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_rustls::TlsConnector;

/// One signal's way to the collector.
#[derive(Clone)]
pub(crate) struct Target {
    /// The whole URL for HTTP; gRPC has paths of its own.
    pub(crate) url: Uri,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(crate) protocol: Protocol,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    pub(crate) compression: Compression,
}

/// The ways that a signal may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// Where this signal goes in particular.
    pub(crate) endpoint: Option<&'a Endpoint>,
    /// What follows the common URL in HTTP.
    pub(crate) path: &'static str,
}

// === impl Target ===

impl Target {
    /// None: the settings name no collector.
    pub(crate) fn find(settings: &Settings, way: Way<'_>) -> Result<Option<Target>, Invalid> {
        if settings.otel_disabled {
            return Ok(None);
        }
        let url = match way.endpoint.and_then(Endpoint::uri) {
            Some(own) => own.clone(),
            None => match settings.otlp_endpoint.as_ref().and_then(Endpoint::uri) {
                Some(common) => below(common, way.path),
                None => return Ok(None),
            },
        };
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let secure = url.scheme_str() == Some("https");
        let tls = if secure { Some((connector(settings)?, server_name(&host)?)) } else { None };
        let headers = settings.otlp_headers.as_ref().map_or_else(|| Ok(Vec::new()), |headers| headers.read())?;
        Ok(Some(Target {
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            url,
            host,
            tls,
            protocol: settings.otlp_protocol,
            headers,
            timeout: settings.otlp_timeout,
            compression: settings.otlp_compression,
        }))
    }
}

fn below(common: &Uri, path: &str) -> Uri {
    let scheme = common.scheme_str().unwrap_or_default();
    let authority = common.authority().map_or("", |authority| authority.as_str());
    let text = format!("{scheme}://{authority}{}/{path}", common.path().trim_end_matches('/'));
    text.parse().unwrap_or_else(|_| common.clone())
}

fn server_name(host: &str) -> Result<ServerName<'static>, Invalid> {
    let name = ServerName::try_from(host.to_string());
    name.map_err(|_| Invalid(format!("the OTLP endpoint's host {host:?} cannot be in a certificate")))
}

fn connector(settings: &Settings) -> Result<TlsConnector, Invalid> {
    let roots = match settings.otlp_certificate.as_deref() {
        Some(file) => roots_of(file)?,
        None => system_roots(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Invalid(format!("TLS to the OpenTelemetry collector cannot be set up: {error}")))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match settings.otlp_protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::Http => vec![b"http/1.1".to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots_of(file: &Path) -> Result<RootCertStore, Invalid> {
    let unusable = |reason: String| {
        Invalid(format!("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot use the authorities in {}: {reason}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("there is no certificate in it".into())) } else { Ok(roots) }
}

// What cannot be read of it is passed over; a collector that needs it is not trusted, and that is told.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(common: &str, own: &str, expect: Option<(&str, u16)>) {
        let own = Endpoint::parse(own).unwrap();
        let settings = Settings { otlp_endpoint: Endpoint::parse(common).ok(), ..Settings::default() };
        let found = Target::find(&settings, Way { endpoint: Some(&own), path: "v1/traces" }).unwrap();
        let found = found.map(|target| (target.url.to_string(), target.port));
        assert_eq!(found.as_ref().map(|(url, port)| (url.as_str(), *port)), expect);
    }

    #[test]
    fn a_signal_goes_where_the_standard_says() {
        check("", "", None);
        check("http://c:4318", "", Some(("http://c:4318/v1/traces", 4318)));
        check("http://c:4318/otlp/", "", Some(("http://c:4318/otlp/v1/traces", 4318)));
        check("http://c:4318", "http://d/", Some(("http://d/", 80)));
        check("", "https://[::1]/x", Some(("https://[::1]/x", 443)));
    }

    #[test]
    fn nothing_is_found_when_disabled() {
        let endpoint = Endpoint::parse("http://c:4317").ok();
        let settings = Settings { otlp_endpoint: endpoint, otel_disabled: true, ..Settings::default() };
        assert!(Target::find(&settings, Way { endpoint: None, path: "v1/traces" }).unwrap().is_none());
    }

    #[test]
    fn authorities_that_cannot_be_read_are_told() {
        let settings = Settings {
            otlp_endpoint: Endpoint::parse("https://c:4317").ok(),
            otlp_certificate: Some("/nowhere.pem".into()),
            ..Settings::default()
        };
        let error = Target::find(&settings, Way { endpoint: None, path: "v1/traces" }).err().unwrap().to_string();
        assert!(error.contains("OTEL_EXPORTER_OTLP_CERTIFICATE") && error.contains("/nowhere.pem"), "{error}");
    }
}
