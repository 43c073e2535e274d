//! How clients come to the node: which listener, on whose behalf, in which protocol.

use super::harness::{Backend, DEADLINE, Node, forward, respond, settings};
use crate::settings::{Listen, Settings};
use proto::resource::Kind;
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn proxied(more: Settings) -> Settings {
    Settings { listen: vec!["edge=proxy+127.0.0.1:0".parse().unwrap()], ..more }
}

#[test]
fn a_balancer_says_who_the_client_is() {
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let settings = proxied(Settings { trusted_proxy: trusted, ..settings() });
    let node = Node::with(settings, &forward(&[Backend::echo().address]));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x02\x03\x04\x05\x06\x07\x08\x30\x39\0\x50".as_slice();
    for (header, client) in [
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 12345 80\r\n".as_slice(), "1.2.3.4"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", "1.2.3.4"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        // Trusted, and so believed.
        (v2, "10.2.3.4, 6.6.6.6"),
    ] {
        for together in [true, false] {
            let mut client_end = node.connect();
            let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.2.3.4, 6.6.6.6\r\n\r\n";
            match together {
                true => client_end.send([header, request.as_bytes()].concat()),
                false => {
                    for byte in header {
                        client_end.send([*byte]);
                    }
                    client_end.send(request);
                }
            }
            let response = client_end.response();
            let expect = match client.starts_with("10.") {
                true => format!("(\"x-forwarded-for\", \"{client}, 10.2.3.4\")"),
                false => format!("(\"x-forwarded-for\", \"{client}\")"),
            };
            assert!(response.text().contains(&expect), "{expect}: {}", response.text());
        }
    }
    assert_eq!(node.log()[0]["client.address"], "1.2.3.4");
}

#[test]
fn without_a_header_there_is_no_connection() {
    let node = Node::with(proxied(settings()), &respond());
    for bytes in [GET.as_bytes(), b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", b"PROXY X"]
    {
        let mut client = node.connect();
        client.send(bytes);
        client.finish();
        assert!(client.is_closed(), "{bytes:?}");
    }
    let failures = node.await_counts(|counts| counts.failures.values().sum::<u64>() == 4).failures;
    assert!(failures.keys().all(|(_, reason, _)| *reason == "proxy_header"), "{failures:?}");
}

#[test]
fn a_header_has_to_come_in_time() {
    let short = Duration::from_millis(150);
    let node = Node::with(proxied(Settings { header_timeout: short, ..settings() }), &respond());
    for bytes in ["", "PROXY TCP4 1.2"] {
        let start = Instant::now();
        let mut client = node.connect();
        client.send(bytes);
        assert!(client.is_closed() && start.elapsed() >= short, "{bytes}");
    }
}

#[test]
fn a_listener_for_both_families_takes_both() {
    let node = Node::with(
        Settings { listen: vec![Listen::http("both", "[::]:0".parse().unwrap())], ..settings() },
        &forward(&[Backend::echo().address]),
    );
    let port = node.address.port();
    for (host, client) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let Ok(stream) = std::net::TcpStream::connect((host, port)) else { continue };
        let mut conn = super::harness::Conn::new(stream);
        conn.send(GET);
        let response = conn.response();
        assert!(response.text().contains(&format!("(\"x-forwarded-for\", \"{client}\")")), "{}", response.text());
    }
}

/// A client that trusts the node's certificate.
pub(super) fn tls(node: &Node, protocols: &[&[u8]]) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let roots = NODE_CERTIFICATE.with(|certificate| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.0.clone()).unwrap();
        roots
    });
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connection = rustls::ClientConnection::new(Arc::new(config), "a.example".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(node.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

thread_local! {
    static NODE_CERTIFICATE: (rustls::pki_types::CertificateDer<'static>, serde_json::Value) = {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
        let value = json!({"name": "a", "chain": certificate.pem(), "private_key": {"value": key.serialize_pem()}});
        (certificate.der().clone(), value)
    };
}

/// A node with a certificate.
pub(super) fn secured(listen: &str, more: Vec<(Kind, serde_json::Value)>) -> Node {
    let certificate = (Kind::Certificate, NODE_CERTIFICATE.with(|certificate| certificate.1.clone()));
    let settings = Settings { listen: vec![listen.parse().unwrap()], ..settings() };
    Node::with(settings, &[vec![certificate], more].concat())
}

#[test]
fn clients_may_speak_tls() {
    let backend = Backend::echo();
    for listen in ["tls=https://127.0.0.1:0", "tls=proxy+https://127.0.0.1:0"] {
        let node = secured(listen, forward(&[backend.address]));
        let mut client = tls(&node, &[b"http/1.1"]);
        if listen.contains("proxy") {
            client.sock.write_all(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n").unwrap();
        }
        // Both requests in one record: the second waits inside TLS.
        client.write_all(format!("{GET}{GET}").as_bytes()).unwrap();
        let mut all = String::new();
        while all.matches("x-forwarded-proto").count() < 2 {
            let mut bytes = [0; 4096];
            let n = client.read(&mut bytes).unwrap();
            assert!(n > 0, "{all}");
            all.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        assert!(all.contains("(\"x-forwarded-proto\", \"https\")"), "{all}");
        assert_eq!(all.contains("(\"x-forwarded-for\", \"1.2.3.4\")"), listen.contains("proxy"), "{all}");
        client.write_all(GET.as_bytes()).unwrap();
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).unwrap(), 1, "the connection goes on");
    }
}

#[test]
fn within_tls_the_protocol_is_agreed_on() {
    let node = secured("tls=https://127.0.0.1:0", respond());
    for (protocols, first) in [(&[&b"h2"[..], b"http/1.1"][..], true), (&[b"http/1.1"], false), (&[], false)] {
        let mut client = tls(&node, protocols);
        client
            .write_all(if first { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" } else { GET.as_bytes() })
            .unwrap();
        let mut bytes = [0; 9];
        client.read_exact(&mut bytes).unwrap();
        // SETTINGS, or an answer.
        match first {
            true => assert_eq!(bytes[3], 4),
            false => assert_eq!(&bytes, b"HTTP/1.1 "),
        }
    }
    // Cleartext is no handshake.
    let mut client = node.connect();
    client.send(GET);
    client.read_to_end();
    node.await_counts(|counts| counts.failures.keys().any(|(_, reason, _)| *reason == "handshake"));
}
