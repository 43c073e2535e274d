use super::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that says this to everybody, and how often it was asked.
async fn server(says: impl Into<Vec<u8>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (says, counter) = (says.into(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Relaxed);
            let says = says.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let Ok(1..) = stream.read(&mut head).await else { return };
                stream.write_all(&says).await.ok();
                // A silent one keeps the connection.
                if says.is_empty() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, asked)
}

fn fetcher(allow: &[&str]) -> Fetcher {
    let fetch_allow = allow.iter().map(|block| block.parse().unwrap()).collect();
    Fetcher::new(&Settings { fetch_allow, ..Settings::default() }, Resolver::system()).unwrap()
}

async fn get(allow: &[&str], url: &str) -> Result<Bytes, String> {
    fetcher(allow).get(&Url::parse(url).unwrap(), 1000).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_document_is_had_within_its_bounds() {
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (address, _) = server(answer("keys")).await;
    assert_eq!(get(&["127.0.0.0/8"], &format!("http://{address}/")).await.unwrap(), "keys");
    for (says, expect) in [
        (answer(&"x".repeat(1001)), "more than 1000 bytes"),
        (format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(5000)), "more than 1000 bytes"),
        ("HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n".into(), "it answered 503"),
        ("HTTP/1.1 204 None\r\n\r\n".into(), "it answered 204"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into(), ""),
        ("nonsense\r\n\r\n".into(), ""),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(300_000)), ""),
    ] {
        let (address, _) = server(says).await;
        let error = get(&["127.0.0.1/32"], &format!("http://{address}/")).await.unwrap_err();
        assert!(error.contains(expect), "{error} is not {expect}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let (address, _) = server("").await;
    let error = get(&["127.0.0.1/32"], &format!("http://{address}/")).await.unwrap_err();
    assert_eq!(error, "it did not answer within 10 s");
}

#[tokio::test]
async fn nobody_is_led_to_what_is_not_public() {
    let (inside, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhush").await;
    let port = inside.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"] {
        for scheme in ["http", "https"] {
            let error = get(&[], &format!("{scheme}://{host}:{port}/")).await.unwrap_err();
            assert!(error.contains("is not public"), "{host}: {error}");
        }
    }
    // Numbers that some take for an address are names here, and of nobody.
    for host in ["2130706433", "0x7f000001", "127.1"] {
        assert!(get(&[], &format!("http://{host}:{port}/")).await.is_err(), "{host}");
    }
    for target in [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"), "//127.0.0.1/".into()] {
        let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let (outside, _) = server(redirect).await;
        let error = get(&["127.0.0.1/32"], &format!("http://{outside}/")).await.unwrap_err();
        assert!(error.contains("redirects are not followed"), "{error}");
    }
    assert_eq!(asked.load(Relaxed), 0);
}

#[tokio::test]
async fn in_cleartext_only_those_are_asked_that_were_named() {
    // Nothing is sent: the address is judged before.
    let error = get(&["10.0.0.0/8"], "http://192.88.98.1:9/").await.unwrap_err();
    assert!(error.contains("give an https:// URL"), "{error}");
}
