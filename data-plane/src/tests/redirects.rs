//! From http to https: where a client is sent, by bytes.

use super::harness::{Node, settings};
use crate::settings::{Listen, Settings};
use h2::client::Builder;
use http::Request;
use proto::resource::Kind;
use serde_json::{Value, json};
use std::io::{Read, Write};

// Everybody who came without https is sent there; whoever came by it is served.
fn to_https(more: Value) -> Vec<(Kind, Value)> {
    let mut redirect = json!({"scheme": "https", "status": 308});
    redirect.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let matches = json!({"schemes": ["http"]});
    vec![
        (Kind::Route, json!({"name": "to-https", "priority": 1000, "match": matches, "redirect": redirect})),
        (Kind::Route, json!({"name": "deep", "match": {"path": {"exact": "/deep"}}, "respond": {"body": "served"}})),
        (Kind::Route, json!({"name": "all", "respond": {"body": "served"}})),
    ]
}

fn answer(node: &Node, head: &str, body: &str) -> String {
    let mut client = node.connect();
    client.send(format!("{head}\r\nConnection: close\r\n\r\n{body}"));
    String::from_utf8(client.read_to_end()).unwrap()
}

fn location(answer: &str) -> &str {
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location: ")).expect("a location");
    &line[10..]
}

#[test]
fn the_port_is_that_of_https() {
    for (more, expect) in
        [(json!({}), ""), (json!({"port": 443}), ""), (json!({"port": 8443}), ":8443"), (json!({"port": 80}), ":80")]
    {
        let node = Node::start(&to_https(more));
        for (host, name) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:8080", "a.example"),
            ("A.Example.:8080", "a.example"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:8080", "[2001:db8::1]"),
        ] {
            let answer = answer(&node, &format!("GET /x?y HTTP/1.1\r\nHost: {host}"), "");
            assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
            assert_eq!(location(&answer), format!("https://{name}{expect}/x?y"), "{host}");
        }
        // The target may say it all.
        let answer = answer(&node, "GET http://b.example:8080/x?y HTTP/1.1\r\nHost: b.example:8080", "");
        assert_eq!(location(&answer), format!("https://b.example{expect}/x?y"));
    }
}

#[test]
fn path_and_query_are_kept_byte_for_byte() {
    let node = Node::start(&to_https(json!({})));
    for target in [
        "/",
        "/?",
        "/??",
        "/a/?q=1&q=2&&=;",
        "/a%20b/%C3%A9;v=1/@:!$&'()*+,=",
        "//evil.example/",
        "//evil.example//..a/...",
        "/a?next=https://b.example/%2e%2E/%2f%00",
        "/a?%c3%a9+%20~",
        "/deep",
    ] {
        let answer = answer(&node, &format!("GET {target} HTTP/1.1\r\nHost: a.example"), "");
        assert_eq!(location(&answer), format!("https://a.example{target}"));
    }
    // What may not stand in a header or a query, nobody is sent with.
    for target in ["/a?b\"", "/a?<b>", "/a?\u{e9}", "/a?b c", "/a?b\rSet-Cookie:c"] {
        let answer = answer(&node, &format!("GET {target} HTTP/1.1\r\nHost: a.example"), "");
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("location"), "{target}: {answer}");
    }
    // A path has one normal form (RFC 3986, 6.2.2), the same for whoever comes by https.
    for (target, normal) in [("/%7euser/./a/../b", "/~user/b"), ("/%c3%a9", "/%C3%A9")] {
        let answer = answer(&node, &format!("GET {target} HTTP/1.1\r\nHost: a.example"), "");
        assert_eq!(location(&answer), format!("https://a.example{normal}"));
    }
}

#[test]
fn nobody_is_sent_where_a_host_cannot_be() {
    let node = Node::start(&to_https(json!({})));
    for host in [
        "",
        "a.example@b.example",
        "a.example/b",
        "a b",
        "a.example\tb",
        "a.example:443:80",
        "[::1",
        "é.example",
        "a%2eb",
    ] {
        let answer = answer(&node, &format!("GET / HTTP/1.1\r\nHost: {host}"), "");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("\r\nlocation"), "{answer}");
    }
    let two = answer(&node, "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example", "");
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
}

#[test]
fn a_body_goes_nowhere_and_the_connection_goes_on() {
    let node = Node::start(&to_https(json!({})));
    let mut client = node.connect();
    for method in ["POST", "PUT", "GET"] {
        client.send(format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"));
        let response = client.response();
        assert_eq!((response.status(), response.header("location")), (308, Some("https://a/x")), "{method}");
    }
    client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_head().header("location"), Some("https://a/x"));
}

#[test]
fn by_http_2_the_authority_is_the_host() {
    let node = Node::start(&to_https(json!({"port": 8443})));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
        let (client, connection) = Builder::new().handshake::<_, bytes::Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        for (authority, expect) in [("a.example:8080", "a.example"), ("[::1]:8080", "[::1]")] {
            let request =
                Request::builder().method("POST").uri(format!("http://{authority}/x//y?z=%2F")).body(()).unwrap();
            let (response, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 308);
            assert_eq!(response.headers()["location"], format!("https://{expect}:8443/x//y?z=%2F"));
        }
    });
}

#[test]
fn who_came_by_https_is_served() {
    let trusting = Settings { trusted_proxy: vec!["127.0.0.0/8".parse().unwrap()], ..settings() };
    let node = Node::with(trusting, &to_https(json!({})));
    for (scheme, expect) in [("https", "HTTP/1.1 200 "), ("http", "HTTP/1.1 308 ")] {
        let answer = answer(&node, &format!("GET /deep HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {scheme}"), "");
        assert!(answer.starts_with(expect), "{scheme}: {answer}");
    }
    // Whoever is not trusted says nothing by that.
    let node = Node::start(&to_https(json!({})));
    let answer = answer(&node, "GET /deep HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https", "");
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}

#[test]
fn a_listener_of_https_serves_with_the_same_configuration() {
    let listen: Vec<Listen> = vec!["secure=https://127.0.0.1:0".parse().unwrap()];
    let authority = super::authority::Authority::new();
    let pair = authority.sign("a.example");
    let mut certificate = pair.resource("a");
    certificate.1["client_only"] = false.into();
    let mut resources = to_https(json!({}));
    resources.push(certificate);
    let secure = Node::with(Settings { listen, ..settings() }, &resources);
    let mut tls = authority.connect(secure.address, "a.example");
    tls.write_all(b"GET /deep HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).ok();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"), "{answer}");
}
