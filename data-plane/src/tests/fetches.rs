//! Documents of others by TLS: whose server is believed, and what is sent to whose is not.

use super::{
    authority::{Authority, Pair, head, serve},
    harness::DEADLINE,
};
use crate::{fetch::Fetcher, pool::Resolver, settings::Settings};
use proto::url::Url;
use std::{io::Write, sync::mpsc::channel};
use tempfile::NamedTempFile;

// What comes of a fetch from a server that shows this, by a node that was told of that authority; and what the server was
// asked.
async fn fetch(shown: Pair, host: &str, trusted: Option<&Authority>) -> (Result<String, String>, Option<String>) {
    let (tell, asked) = channel();
    let address = serve(shown.shown(), move |_, mut conn| {
        tell.send(head(&mut conn)).ok();
        conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys").ok();
    });
    let file = NamedTempFile::new().unwrap();
    if let Some(authority) = trusted {
        std::fs::write(&file, authority.pem()).unwrap();
    }
    let settings = Settings {
        fetch_allow: vec!["127.0.0.0/8".parse().unwrap()],
        fetch_ca: trusted.map(|_| file.path().to_owned()),
        ..Settings::default()
    };
    let fetcher = Fetcher::new(&settings, Resolver::system()).unwrap();
    let url = Url::parse(&format!("https://{host}:{}/keys", address.port())).unwrap();
    let document = fetcher.get(&url, 1000).await;
    let text = document.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    (text.map_err(|error| error.to_string()), asked.recv_timeout(DEADLINE).unwrap())
}

#[tokio::test]
async fn a_server_of_an_authority_that_was_named_is_believed() {
    let ours = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let (document, asked) = fetch(ours.sign(host), host, Some(&ours)).await;
        assert_eq!(document.as_deref(), Ok("keys"), "{host}");
        let head = asked.unwrap();
        assert!(head.starts_with("GET /keys HTTP/1.1\r\n") && head.contains(&format!("host: {host}:")), "{head}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_asked_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (shown, trusted, says) in [
        (ours.sign("127.0.0.1"), Some(&ours), "not valid for name"),
        (ours.sign("login.example"), Some(&ours), "not valid for name"),
        (ours.sign_until("localhost", 2020), Some(&ours), "expired"),
        (theirs.sign("localhost"), Some(&ours), "BadSignature"),
        // One that was named to nobody: the system trusts it no more.
        (ours.sign("localhost"), None, "UnknownIssuer"),
    ] {
        let (document, asked) = fetch(shown, "localhost", trusted).await;
        let error = document.unwrap_err();
        assert!(error.starts_with("it does not agree on TLS: ") && error.contains(says), "{error} is not {says}");
        assert_eq!(asked, None, "{says}");
    }
}

#[test]
fn authorities_that_cannot_be_read_are_a_fault_of_the_settings() {
    for (text, says) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\n*", "is not PEM")] {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let settings = Settings { fetch_ca: Some(file.path().to_owned()), ..Settings::default() };
        let error = Fetcher::new(&settings, Resolver::system()).err().unwrap();
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}
