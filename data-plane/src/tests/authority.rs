//! A certificate authority, and servers that show what it signed.

use super::harness::DEADLINE;
use proto::resource::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(super) struct Pair {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: (String, String),
}

/// The client's end of a connection by TLS.
pub(super) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// The server's end of a connection by TLS.
pub(super) type TlsConn = StreamOwned<ServerConnection, TcpStream>;

// === impl Authority ===

impl Authority {
    pub(super) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name.
    pub(super) fn sign(&self, name: &str) -> Pair {
        self.sign_until(name, 2100)
    }

    /// One that ends with that year's beginning.
    pub(super) fn sign_until(&self, name: &str, year: i32) -> Pair {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        let pem = (signed.pem(), key.serialize_pem());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Pair { certificate: signed.der().clone(), key, pem }
    }

    /// A client of a server that shows what this authority signed.
    pub(super) fn connect(&self, address: SocketAddr, name: &str) -> TlsClient {
        connect(&self.client(None, DEFAULT_VERSIONS), address, name)
    }

    /// How such a client is set up, that has a certificate itself; its connections resume each other's sessions.
    pub(super) fn client(
        &self,
        shown: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(self.roots());
        Arc::new(match shown {
            Some(pair) => builder.with_client_auth_cert(vec![pair.certificate.clone()], pair.key.clone_key()).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// How a server is set up that demands certificates of this authority.
    pub(super) fn demanding(&self, pair: Pair) -> ServerConfig {
        self.demanding_by(pair, DEFAULT_VERSIONS)
    }

    /// One that speaks only these versions.
    pub(super) fn demanding_by(&self, pair: Pair, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(self.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        builder.with_client_cert_verifier(verifier).with_single_cert(vec![pair.certificate], pair.key).unwrap()
    }
}

// === impl Pair ===

impl Pair {
    /// The resource that upstreams show.
    pub(super) fn resource(&self, name: &str) -> (Kind, Value) {
        let (chain, key) = &self.pem;
        let value = json!({"name": name, "chain": chain, "private_key": {"value": key}, "client_only": true});
        (Kind::Certificate, value)
    }

    /// The resource that listeners show.
    pub(super) fn served(&self, name: &str) -> (Kind, Value) {
        let (chain, key) = &self.pem;
        (Kind::Certificate, json!({"name": name, "chain": chain, "private_key": {"value": key}}))
    }

    /// The certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// How a server is set up that shows it.
    pub(super) fn shown(self) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_no_client_auth().with_single_cert(vec![self.certificate], self.key).unwrap()
    }
}

/// Connects; the handshake is part of the first write.
pub(super) fn connect(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> TlsClient {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream)
}

/// A server: gives each connection, with its number, to the function, in a thread of its own. The handshake is part of the
/// first read.
pub(super) fn serve(config: ServerConfig, serve: impl Fn(usize, TlsConn) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, serve) = (Arc::new(config), Arc::new(serve));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (config, serve, stream) = (config.clone(), serve.clone(), stream.unwrap());
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let conn = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
            std::thread::spawn(move || serve(number, conn));
        }
    });
    address
}

/// Reads the head of a request; `None` at the end, or when there is no agreement on TLS.
pub(super) fn head(conn: &mut TlsConn) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        conn.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers every request with the number of the connection.
pub(super) fn numbered(number: usize, mut conn: TlsConn) {
    while head(&mut conn).is_some() {
        let body = number.to_string();
        write!(conn, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    }
}
