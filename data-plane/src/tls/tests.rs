use super::*;
use crate::router::Router;
use proto::{
    json,
    resource::{Change, Kind},
    snapshot::Snapshot,
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::json;
use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

const LIMIT: Duration = Duration::from_secs(10);

// === what a node has ===

struct Issued {
    name: &'static str,
    chain: String,
    key: String,
    der: CertificateDer<'static>,
    default: bool,
}

fn issue(name: &'static str, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
    let (mut parameters, key) = (CertificateParams::new(hosts).unwrap(), KeyPair::generate().unwrap());
    change(&mut parameters);
    let certificate = parameters.self_signed(&key).unwrap();
    let (chain, der) = (certificate.pem(), certificate.der().clone());
    Issued { name, chain, key: key.serialize_pem(), der, default: false }
}

fn router(certificates: &[&Issued], previous: Option<&Router>) -> Router {
    let put = |issued: &&Issued| {
        let value = json!({"name": issued.name, "chain": issued.chain, "private_key": {"value": issued.key},
            "default": issued.default});
        Change::Put(json::read(Kind::Certificate, &value).unwrap())
    };
    Router::build(&Snapshot::empty().with(certificates.iter().map(put)).unwrap(), None, previous)
}

fn server(settings: &Settings, certificates: &[&Issued]) -> (ServerTls, LiveRouter) {
    let live = LiveRouter::new(router(certificates, None));
    (ServerTls::new(settings, &live).unwrap(), live)
}

// === a client that notes what it is shown ===

#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client(versions: &[&'static SupportedProtocolVersion], protocols: &[&str]) -> ClientConfig {
    let verifier = AnyCertificate(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

fn modern() -> Arc<ClientConfig> {
    Arc::new(client(&[&TLS13, &TLS12], &["h2", "http/1.1"]))
}

type Both = (io::Result<client::TlsStream<DuplexStream>>, Result<TlsStream<DuplexStream>, HandshakeError>);

// Shakes hands, and has a byte of the server's read, so that the tickets before it are.
async fn shake(server: &ServerTls, config: &Arc<ClientConfig>, name: &str) -> Both {
    shake_where(ClientAuth::Unasked, server, config, name).await
}

async fn shake_where(client_auth: ClientAuth, server: &ServerTls, config: &Arc<ClientConfig>, name: &str) -> Both {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(name.to_string()).unwrap();
    let connecting = async {
        let mut stream = TlsConnector::from(config.clone()).connect(name, near).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    let accepting = async {
        let mut stream = server.accept(far, client_auth, LIMIT).await?;
        stream.write_u8(0).await?;
        stream.flush().await?;
        Ok(stream)
    };
    tokio::join!(connecting, accepting)
}

async fn shown(server: &ServerTls, name: &str) -> CertificateDer<'static> {
    let (stream, _) = shake(server, &modern(), name).await;
    stream.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone()
}

async fn alert(server: &ServerTls, config: &Arc<ClientConfig>, name: &str) -> (AlertDescription, HandshakeError) {
    let (client, server) = shake(server, config, name).await;
    let error = client.expect_err("it is refused");
    let told = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match told {
        Some(rustls::Error::AlertReceived(alert)) => (*alert, server.expect_err("it is refused")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_certificate_is_the_one_of_the_name() {
    let exact = issue("exact", &["api.example.com"], |_| {});
    let wild = issue("wild", &["*.example.com"], |_| {});
    let default = Issued { default: true, ..issue("default", &["d.test"], |_| {}) };
    let (server, _) = server(&Settings::default(), &[&exact, &wild, &default]);
    for (name, expect) in [
        ("api.example.com", &exact),
        ("API.Example.com", &exact),
        ("www.example.com", &wild),
        ("a.b.example.com", &default),
        ("example.com", &default),
        ("d.test", &default),
        // An address is no name, and so is not asked for.
        ("10.0.0.1", &default),
    ] {
        assert_eq!(shown(&server, name).await, expect.der, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_no_certificate_has_is_refused_by_name() {
    let exact = issue("exact", &["api.example.com"], |_| {});
    let (server, _) = server(&Settings::default(), &[&exact]);
    let (told, error) = alert(&server, &modern(), "other.example.com").await;
    assert_eq!((told, error.reason()), (AlertDescription::UnrecognisedName, "no_certificate"));
    assert_eq!(error.to_string(), "no certificate is for other.example.com");
    let (told, error) = alert(&server, &modern(), "10.0.0.1").await;
    assert_eq!((told, error.reason()), (AlertDescription::MissingExtension, "no_certificate"));
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_handshake_and_fails_none() {
    let old = issue("site", &["a.test"], |_| {});
    let new = issue("site", &["a.test"], |_| {});
    let (server, live) = server(&Settings::default(), &[&old]);
    let (mut open, mut accepted) = match shake(&server, &modern(), "a.test").await {
        (Ok(open), Ok(accepted)) => (open, accepted),
        other => panic!("{other:?}"),
    };
    let done = Arc::new(AtomicBool::new(false));
    let (swapped, swapping) = (done.clone(), live.clone());
    let (older, newer) = (old.der.clone(), new.der.clone());
    let swaps = std::thread::spawn(move || {
        for turn in 0.. {
            if swapped.load(Relaxed) {
                break;
            }
            let next = if turn % 2 == 0 { &new } else { &old };
            let next = router(&[next], Some(&swapping.load_full()));
            swapping.store(Arc::new(next));
        }
        swapping.store(Arc::new(router(&[&new], None)));
    });
    for _ in 0..200 {
        let shown = shown(&server, "a.test").await;
        assert!(shown == older || shown == newer);
    }
    done.store(true, Relaxed);
    swaps.join().unwrap();
    assert_eq!(shown(&server, "a.test").await, newer);
    // Who was there before goes on.
    open.write_all(b"x").await.unwrap();
    open.flush().await.unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn versions_below_the_least_are_refused() {
    let certificate = issue("site", &["a.test"], |_| {});
    let old = Arc::new(client(&[&TLS12], &[]));
    let version = |(stream, _): Both| stream.unwrap().get_ref().1.protocol_version();
    let (lenient, _) = server(&Settings::default(), &[&certificate]);
    assert_eq!(version(shake(&lenient, &old, "a.test").await), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(version(shake(&lenient, &modern(), "a.test").await), Some(ProtocolVersion::TLSv1_3));
    let strict = Settings { tls_min_version: TlsVersion::V1_3, ..Settings::default() };
    let (strict, _) = server(&strict, &[&certificate]);
    let (told, error) = alert(&strict, &old, "a.test").await;
    assert_eq!((told, error.reason()), (AlertDescription::ProtocolVersion, "handshake"));
    assert_eq!(version(shake(&strict, &modern(), "a.test").await), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions_and_after_a_change() {
    let old = issue("site", &["a.test"], |_| {});
    let new = issue("site", &["a.test"], |_| {});
    for versions in [[&TLS13], [&TLS12]] {
        let (server, live) = server(&Settings::default(), &[&old]);
        let mut config = client(&versions, &["http/1.1"]);
        config.resumption = Resumption::in_memory_sessions(16);
        let config = Arc::new(config);
        let kind = async |server: &ServerTls| {
            let (client, accepted) = shake(server, &config, "a.test").await;
            assert_eq!(accepted.unwrap().get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
            client.unwrap().get_ref().1.handshake_kind().unwrap()
        };
        assert_eq!(kind(&server).await, HandshakeKind::Full);
        // As another worker has it.
        assert_eq!(kind(&server.clone()).await, HandshakeKind::Resumed);
        live.store(Arc::new(router(&[&new], None)));
        assert_eq!(kind(&server).await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn where_clients_are_asked_no_session_is_resumed_that_began_elsewhere() {
    let site = issue("site", &["a.test"], |_| {});
    let (server, _) = server(&Settings::default(), &[&site]);
    let config = modern();
    for (client_auth, expect) in [
        (ClientAuth::Unasked, HandshakeKind::Full),
        (ClientAuth::Unasked, HandshakeKind::Resumed),
        (ClientAuth::Asked, HandshakeKind::Full),
        (ClientAuth::Asked, HandshakeKind::Resumed),
        (ClientAuth::Unasked, HandshakeKind::Full),
    ] {
        let (client, _) = shake_where(client_auth, &server, &config, "a.test").await;
        assert_eq!(client.unwrap().get_ref().1.handshake_kind(), Some(expect), "{client_auth:?}");
    }
}

#[tokio::test]
async fn the_protocol_is_the_best_that_both_speak() {
    let certificate = issue("site", &["a.test"], |_| {});
    let (server, _) = server(&Settings::default(), &[&certificate]);
    for (offered, expect) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["h2"], Some(b"h2")),
        (&[], None),
    ] {
        let (stream, _) = shake(&server, &Arc::new(client(&[&TLS13], offered)), "a.test").await;
        assert_eq!(stream.unwrap().get_ref().1.alpn_protocol(), expect, "{offered:?}");
    }
    let odd = Arc::new(client(&[&TLS13], &["spdy/1"]));
    assert_eq!(alert(&server, &odd, "a.test").await.0, AlertDescription::NoApplicationProtocol);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_still_served() {
    let expired = issue("site", &["a.test"], |parameters| parameters.not_after = date_time_ymd(2020, 1, 1));
    let (server, _) = server(&Settings::default(), &[&expired]);
    assert_eq!(shown(&server, "a.test").await, expired.der);
}

#[tokio::test]
async fn a_client_that_is_slow_or_does_not_speak_tls_is_let_go() {
    let certificate = issue("site", &["a.test"], |_| {});
    let (server, _) = server(&Settings::default(), &[&certificate]);
    let check = async |bytes: &[u8], expect: &str| {
        let (mut near, far) = duplex(64 * 1024);
        near.write_all(bytes).await.unwrap();
        let held = async {
            pending::<()>().await;
            drop(near);
        };
        let error = tokio::select! {
            accepted = server.accept(far, ClientAuth::Unasked, Duration::from_millis(50)) => accepted.expect_err("it is refused"),
            () = held => unreachable!(),
        };
        assert_eq!(error.reason(), expect, "{error}");
    };
    check(b"", "handshake_timeout").await;
    check(&[22, 3, 1, 0, 200, 1, 0], "handshake_timeout").await;
    check(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", "handshake").await;
}
