//! Which headers travel, in both directions.

use super::harness::{Backend, Message, Node, forward, settings};
use crate::settings::Settings;
use proto::resource::Kind;
use serde_json::json;

fn ask(node: &Node, headers: &str) -> Message {
    node.ask(&format!("GET /x?q=1 HTTP/1.1\r\nHost: api.example:8080\r\n{headers}\r\n"))
}

fn field(name: &str, value: &str) -> String {
    format!("({name:?}, {value:?})")
}

#[test]
fn what_belongs_to_the_clients_connection_stays_there() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let response = ask(
        &node,
        "Connection: X-Secret, Keep-Alive, X-Request-Id, Host, Via\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic abc\r\nTE: gzip, trailers\r\nTrailer: x\r\n\
         Upgrade: websocket\r\nX-Kept: 2\r\nX-Obs: \u{e9}\r\n",
    );
    let seen = response.text();
    for gone in ["secret", "keep-alive", "proxy-", "upgrade", "trailer\"", "connection", "gzip"] {
        assert!(!seen.to_lowercase().contains(gone), "{gone}: {seen}");
    }
    for kept in [field("x-kept", "2"), field("te", "trailers"), field("x-obs", "\u{e9}")] {
        assert!(seen.contains(&kept), "{kept}: {seen}");
    }
    // What the gateway adds cannot be taken away by naming it.
    for added in ["x-request-id", "host", "via", "x-forwarded-for"] {
        assert_eq!(seen.matches(&format!("({added:?}")).count(), 1, "{added}: {seen}");
    }
}

#[test]
fn what_belongs_to_the_upstreams_connection_stays_there() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\n\
         Proxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    );
    let node = Node::start(&forward(&[backend.address]));
    let mut client = node.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        for gone in ["connection", "x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
            assert_eq!(response.header(gone), None);
        }
        assert_eq!((response.header("x-kept"), response.text()), (Some("1"), "ok"));
        assert_eq!(response.headers("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(response.headers("via"), ["1.1 portico"]);
    }
}

#[test]
fn a_stranger_is_not_believed() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    let response = ask(
        &node,
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
         X-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: mine\r\n",
    );
    let seen = response.text();
    for gone in ["6.6.6.6", "evil", "mine", "https", "x-real-ip", "\"forwarded\""] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    let port = node.address.port().to_string();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "api.example:8080"),
        ("x-forwarded-port", &port),
        ("x-request-id", response.header("x-request-id").unwrap()),
        ("host", "api.example:8080"),
    ] {
        assert!(seen.contains(&field(name, value)), "{name}: {seen}");
    }
}

#[test]
fn a_trusted_proxy_is_believed() {
    let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(|block| block.parse().unwrap());
    let settings = Settings { trusted_proxy: trusted.into(), ..settings() };
    let node = Node::with(settings, &forward(&[Backend::echo().address]));
    let response = ask(
        &node,
        "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\nX-Request-Id: mine-1\r\n",
    );
    let seen = response.text();
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-request-id", "mine-1"),
    ] {
        assert!(seen.contains(&field(name, value)), "{name}: {seen}");
    }
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    assert_ne!(ask(&node, "X-Request-Id: two words\r\n").header("x-request-id"), Some("two words"));
    // Not even a client has a say in that, whose `Connection` the proxy passes on.
    let named =
        "Connection: X-Forwarded-For, X-Forwarded-Proto\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n";
    assert!(ask(&node, named).text().contains(&field("x-forwarded-proto", "https")));
    let log = node.log();
    assert_eq!([&log[0]["client.address"], &log[2]["client.address"]], ["1.2.3.4", "1.2.3.4"]);
}

#[test]
fn a_request_that_goes_in_circles_is_stopped() {
    let node = Node::start(&forward(&[Backend::echo().address]));
    assert_eq!(ask(&node, &"Via: 1.1 portico\r\n".repeat(9)).status(), 200);
    assert_eq!(ask(&node, &"Via: 1.1 portico\r\n".repeat(10)).status(), 508);
}

#[test]
fn filters_see_every_answer_on_the_way_back() {
    let headers = |name: &str| json!({"response_headers": {"set": [{"name": name, "value": "<{header.x-a}>"}]}});
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n");
    let node = Node::start(&[
        (
            Kind::Upstream,
            json!({"name": "back", "endpoints": [{"address": backend.address.to_string()}],
            "policies": [{"response_headers": {"remove": ["server"], "set": [{"name": "x-up", "value": "1"}]}}]}),
        ),
        (Kind::Upstream, json!({"name": "dead", "endpoints": [{"address": super::harness::nobody().to_string()}]})),
        (
            Kind::Route,
            json!({"name": "a", "match": {"path": {"prefix": "/x"}}, "policies": [headers("x-route")],
            "forward": {"upstream": "back"}}),
        ),
        (
            Kind::Route,
            json!({"name": "b", "match": {"path": {"prefix": "/dead"}}, "policies": [headers("x-route")],
            "forward": {"upstream": "dead"}}),
        ),
    ]);
    let response = ask(&node, "X-A: 7\r\n");
    assert_eq!(response.header("server"), None);
    assert_eq!((response.header("x-up"), response.header("x-route")), (Some("1"), Some("<7>")));
    // The template's value is absent, so the header is left out.
    assert_eq!(ask(&node, "").header("x-route"), None);
    let response = node.ask("GET /dead HTTP/1.1\r\nHost: a\r\nX-A: 8\r\n\r\n");
    assert_eq!((response.status(), response.header("x-route")), (502, Some("<8>")));
}

#[test]
fn a_route_rewrites_path_and_host() {
    let backend = Backend::echo().address.to_string();
    let forward = |name: &str, path, rewrite| {
        (
            Kind::Route,
            json!({"name": name, "match": {"path": path},
            "forward": {"upstream": "back", "host": "inner.example", "rewrite": rewrite}}),
        )
    };
    let node = Node::start(&[
        (Kind::Upstream, json!({"name": "back", "endpoints": [{"address": backend}]})),
        forward("p", json!({"prefix": "/api"}), json!({"prefix": "/v2"})),
        forward("t", json!({"template": "/o/{id}"}), json!({"template": "/orders?id={path.id}&h={header.host}"})),
    ]);
    for (target, expect) in [
        ("/api/x?y=1", "GET /v2/x?y=1 HTTP/1.1"),
        ("/api", "GET /v2 HTTP/1.1"),
        ("/o/a%20b?y=1", "GET /orders?id=a%20b&h=outer.example HTTP/1.1"),
    ] {
        let response = node.ask(&format!("GET {target} HTTP/1.1\r\nHost: outer.example\r\n\r\n"));
        assert_eq!(response.text().lines().next(), Some(expect));
        assert!(response.text().contains(&field("host", "inner.example")));
        assert!(response.text().contains(&field("x-forwarded-host", "outer.example")));
    }
}

#[test]
fn a_stranger_does_not_say_who_he_is() {
    let claims = "X-User: eve\r\nx-user: eve\r\nX_User: eve\r\nX-CONSUMER-USERNAME: eve\r\nx_consumer_id: eve\r\n\
                  Remote-User: eve\r\nX-Auth-Request-Email: eve\r\nx-forwarded-user: eve\r\nX_Forwarded_Groups: eve\r\n\
                  X-Client-Cert: eve\r\nClient-Cert: eve\r\nssl-client-verify: eve\r\nX-Portico-Consumer: eve\r\n\
                  Connection: close, X-User\r\nX-Kept: 1\r\n";
    let node = Node::start(&forward(&[Backend::echo().address]));
    let seen = ask(&node, claims).text().to_string();
    assert!(!seen.contains("eve") && seen.contains(&field("x-kept", "1")), "{seen}");
    // Some take trailers for headers.
    let mut client = node.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n0\r\nX-User: eve\r\n\r\n",
    );
    assert!(!client.response().text().contains("eve"));

    // A proxy that knows its clients is believed, and no client has a say in that, whose `Connection` it passes on.
    let trusting = Settings { trusted_proxy: vec!["127.0.0.0/8".parse().unwrap()], ..settings() };
    let told = "Connection: X-User, x_user\r\nX-User: ann\r\nX_User: ann\r\n";
    for settings in [trusting, Settings { trust_identity: vec!["http".into()], ..settings() }] {
        let node = Node::with(settings, &forward(&[Backend::echo().address]));
        let seen = ask(&node, told).text().to_string();
        assert!(seen.contains(&field("x-user", "ann")) && seen.contains(&field("x_user", "ann")), "{seen}");
    }
}
