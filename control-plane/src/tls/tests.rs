//! Certificates of ports and of nodes, by real handshakes.

use super::{
    AcceptError, PortTls, Source,
    authority::{Authority, AuthorityError, NodeCertificate},
};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A chain and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(ca: &Path, shown: Option<Identity>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    // A session that goes on shows no certificate.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A handshake, both sides of it: what the client saw, and who the server thinks it is.
async fn shake(
    port: &PortTls,
    client: &TlsConnector,
    name: &str,
) -> Result<(CertificateDer<'static>, Option<NodeCertificate>), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = port.accept(stream).await.map_err(|error| error.to_string())?;
        stream.write_all(b"!").await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        Ok(shown.map(|shown| NodeCertificate::read(shown).unwrap()))
    };
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_string()).unwrap();
        let mut stream = client.connect(name, stream).await.map_err(|error| error.to_string())?;
        // The server's word on the client's certificate comes after the client's handshake.
        stream.read_u8().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    };
    let (served, asked) = tokio::join!(serving, asking);
    let served: Result<_, String> = served;
    Ok((asked?, served?))
}

fn write_pair(folder: &Path, name: &str) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_string()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    certificate.der().clone()
}

fn files(folder: &Path) -> Source {
    Source::Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
}

fn joined(authority: &Authority, id: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["someone-else".to_string()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "someone-else");
    let request = params.serialize_request(&key).unwrap();
    let pem = authority.issue_node(id, request.der(), DAY).unwrap();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    (vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

#[tokio::test]
async fn a_port_shows_a_new_certificate_without_a_failed_handshake() {
    let folder = TempDir::new().unwrap();
    let first = write_pair(folder.path(), "a.test");
    let port = PortTls::open(files(folder.path()), b"h2", None).await.unwrap();
    let following = async {
        let old = client(&folder.path().join("cert.pem"), None);
        assert_eq!(shake(&port, &old, "a.test").await.unwrap().0, first);
        // Half of a new pair, and then rubbish: the one before stays.
        for (file, text) in [("key.pem", KeyPair::generate().unwrap().serialize_pem()), ("cert.pem", "rubbish".into())]
        {
            fs::write(folder.path().join(file), text).unwrap();
            let until = Instant::now() + super::LOOK_EVERY * 2;
            while Instant::now() < until {
                assert_eq!(shake(&port, &old, "a.test").await.unwrap().0, first);
            }
        }
        let second = write_pair(folder.path(), "b.test");
        let (new, started) = (client(&folder.path().join("cert.pem"), None), Instant::now());
        while shake(&port, &old, "a.test").await.is_ok() {
            assert!(started.elapsed() < PATIENCE, "it is not shown");
        }
        assert_eq!(shake(&port, &new, "b.test").await.unwrap().0, second);
    };
    tokio::select! {
        () = following => {}
        () = port.run() => unreachable!("it follows until it is dropped"),
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_with_their_names() {
    let folder = TempDir::new().unwrap();
    let open = || async { PortTls::open(files(folder.path()), b"h2", None).await.err().unwrap().to_string() };
    assert!(open().await.contains("cert.pem"));
    write_pair(folder.path(), "a.test");
    fs::write(folder.path().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(open().await.contains("cannot be used together"));
    fs::write(folder.path().join("key.pem"), "").unwrap();
    assert!(open().await.contains("key.pem holds no private key"));
}

#[test]
fn an_authority_is_made_once_and_its_key_is_private() {
    let folder = TempDir::new().unwrap();
    let open = || Authority::open(&folder.path().join("ca")).unwrap();
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(open), scope.spawn(open));
        (one.join().unwrap(), other.join().unwrap())
    });
    let subjects = |authority: &Authority| format!("{:?}", authority.roots().subjects());
    assert_eq!(subjects(&one), subjects(&other));
    assert_eq!(subjects(&one), subjects(&open()));
    let mode = |file: &str| fs::metadata(folder.path().join("ca").join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));

    fs::write(folder.path().join("ca/ca.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(Authority::open(&folder.path().join("ca")), Err(AuthorityError::OtherKey(_))));
    fs::remove_file(folder.path().join("ca/ca.key")).unwrap();
    assert!(matches!(Authority::open(&folder.path().join("ca")), Err(AuthorityError::Io { .. })));
}

#[tokio::test]
async fn an_authority_vouches_for_its_ports_and_its_nodes_and_for_nobody_else() {
    let folder = TempDir::new().unwrap();
    let authority = Arc::new(Authority::open(folder.path()).unwrap());
    let issued = Source::Issued(authority.clone(), vec!["control.test".into(), "10.1.2.3".into()]);
    let port = PortTls::open(issued, b"h2", Some(&authority)).await.unwrap();
    let ca = folder.path().join("ca.pem");

    for name in ["control.test", "10.1.2.3", "localhost", "127.0.0.1", "::1"] {
        assert_eq!(shake(&port, &client(&ca, None), name).await.unwrap().1, None, "{name}");
    }
    let refused = shake(&port, &client(&ca, None), "other.test").await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");

    // What the request says of the node counts for nothing.
    let node = joined(&authority, "node-1");
    let seen = shake(&port, &client(&ca, Some(node)), "localhost").await.unwrap().1.unwrap();
    assert_eq!(seen.id, "node-1");
    let ends = seen.ends - time::OffsetDateTime::now_utc();
    assert!(ends > time::Duration::hours(23) && ends <= time::Duration::hours(24), "{ends}");

    let stranger = Authority::open(&folder.path().join("other")).unwrap();
    assert!(shake(&port, &client(&ca, Some(joined(&stranger, "node-1"))), "localhost").await.is_err());
    assert!(shake(&port, &client(&folder.path().join("other/ca.pem"), None), "localhost").await.is_err());
}

#[tokio::test]
async fn a_second_authority_in_the_file_is_trusted_too() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let before = Authority::open(&old).unwrap();
    drop(Authority::open(&new).unwrap());
    let both = [fs::read(new.join("ca.pem")).unwrap(), fs::read(old.join("ca.pem")).unwrap()].concat();
    fs::write(new.join("ca.pem"), both).unwrap();
    let authority = Arc::new(Authority::open(&new).unwrap());
    let port = PortTls::open(Source::Issued(authority.clone(), Vec::new()), b"h2", Some(&authority)).await.unwrap();
    let seen = shake(&port, &client(&new.join("ca.pem"), Some(joined(&before, "n"))), "localhost").await.unwrap();
    assert_eq!(seen.1.unwrap().id, "n");
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let folder = TempDir::new().unwrap();
    let authority = Arc::new(Authority::open(folder.path()).unwrap());
    let port = PortTls::open(Source::Issued(authority, Vec::new()), b"h2", None).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(matches!(port.accept(stream).await, Err(AcceptError::TimedOut)));
}
