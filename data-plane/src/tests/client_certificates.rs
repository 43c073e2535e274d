//! Certificates that upstreams show to their endpoints: who is let in, and what happens when one changes.

use super::{
    authority::{Authority, Pair, TlsConn, head, serve},
    harness::{Backend, DEADLINE, Node, nobody},
};
use proto::resource::Kind;
use rustls::{
    HandshakeKind, ServerConfig, SupportedProtocolVersion,
    pki_types::CertificateDer,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

/// An endpoint that lets in whom the authority knows, and tells of each request whose it was.
struct Strict {
    address: SocketAddr,
    seen: Receiver<Seen>,
}

struct Seen {
    connection: usize,
    head: String,
    client: CertificateDer<'static>,
    kind: HandshakeKind,
}

// === impl Strict ===

impl Strict {
    fn start(config: ServerConfig) -> Strict {
        let (tell, seen) = channel();
        let address = serve(config, move |connection, mut conn: TlsConn| {
            while let Some(head) = head(&mut conn) {
                let client = conn.conn.peer_certificates().unwrap()[0].clone();
                let kind = conn.conn.handshake_kind().unwrap();
                tell.send(Seen { connection, head, client, kind }).unwrap();
                conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        });
        Strict { address, seen }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(DEADLINE).unwrap()
    }
}

// A server that demands certificates of the authority.
fn demanding(authority: &Authority) -> ServerConfig {
    authority.demanding(authority.sign("127.0.0.1"))
}

fn only(version: &'static SupportedProtocolVersion, authority: &Authority) -> ServerConfig {
    authority.demanding_by(authority.sign("127.0.0.1"), &[version])
}

// One route for everything to these endpoints, which are shown that certificate.
fn showing(endpoints: &[SocketAddr], authority: &Authority, shown: Option<&Pair>, more: Value) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    let mut upstream = json!({"name": "back", "endpoints": endpoints, "tls": {"ca": authority.pem()}});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut resources = vec![(Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))];
    if let Some(pair) = shown {
        upstream["tls"]["client_certificate"] = "gateway".into();
        resources.push(pair.resource("gateway"));
    }
    resources.push((Kind::Upstream, upstream));
    resources
}

#[test]
fn an_endpoint_that_asks_learns_who_calls() {
    let ours = Authority::new();
    for version in [&TLS12, &TLS13] {
        let gateway = ours.sign("gateway");
        let strict = Strict::start(only(version, &ours));
        let node = Node::start(&showing(&[strict.address], &ours, Some(&gateway), json!({})));
        for _ in 0..3 {
            assert_eq!(node.ask(GET).status(), 200);
            let Seen { connection, head, client, .. } = strict.next();
            assert_eq!((connection, &client), (0, gateway.certificate()));
            assert!(head.starts_with("GET / HTTP/1.1\r\n"));
        }
    }
    // Who does not ask is shown nothing.
    let gateway = ours.sign("gateway");
    let address = serve(ours.sign("127.0.0.1").shown(), |_, mut conn| {
        head(&mut conn).unwrap();
        assert!(conn.conn.peer_certificates().is_none());
        conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let node = Node::start(&showing(&[address], &ours, Some(&gateway), json!({})));
    assert_eq!(node.ask(GET).status(), 200);
}

#[test]
fn an_endpoint_that_does_not_know_the_caller_gets_nothing_and_the_log_tells_why() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (strange, expired) = (theirs.sign("gateway"), ours.sign_until("gateway", 2020));
    for version in [&TLS12, &TLS13] {
        for shown in [Some(&strange), Some(&expired), None] {
            let strict = Strict::start(only(version, &ours));
            let node = Node::start(&showing(&[strict.address], &ours, shown, json!({})));
            for request in [GET, POST] {
                let response = node.ask(request);
                assert_eq!((response.status(), response.reason().as_str()), (502, "tls_refused"), "{version:?}");
            }
            assert!(strict.seen.try_recv().is_err(), "it got a request");
            let log = node.log();
            assert_eq!(log[0]["reason"], "tls_refused");
            assert!(!log[0].to_string().contains("BEGIN"), "{log:?}");
        }
    }
}

#[test]
fn a_request_that_one_endpoint_refuses_goes_to_another() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let gateway = ours.sign("gateway");
    for version in [&TLS12, &TLS13] {
        // Its own certificate is of our authority, but it knows another's clients.
        let refusing = Strict::start(theirs.demanding(ours.sign("127.0.0.1")));
        let strict = Strict::start(only(version, &ours));
        let endpoints = [refusing.address, strict.address];
        let node = Node::start(&showing(
            &endpoints,
            &ours,
            Some(&gateway),
            json!({"ejection": {"consecutive_failures": 1000}}),
        ));
        // What an endpoint has not read can be sent again, also what is not idempotent.
        for _ in 0..4 {
            assert_eq!(node.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status(), 200);
            assert!(strict.next().head.starts_with("POST"));
        }
        assert!(refusing.seen.try_recv().is_err());
    }
}

#[test]
fn by_http_2_the_reason_is_the_same() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let strange = theirs.sign("gateway");
    for version in [&TLS12, &TLS13] {
        let mut config = only(version, &ours);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let strict = Strict::start(config);
        let more = json!({"protocol": {"http2": {}}});
        let node = Node::start(&showing(&[strict.address], &ours, Some(&strange), more));
        assert_eq!(node.ask(GET).reason(), "tls_refused");
    }
}

#[test]
fn another_certificate_is_shown_from_then_on() {
    let ours = Authority::new();
    let (first, second) = (ours.sign("gateway"), ours.sign("gateway"));
    let strict = Strict::start(demanding(&ours));
    let resources = |pair| showing(&[strict.address], &ours, Some(pair), json!({}));
    let node = Node::start(&resources(&first));
    let ask = |expect: &Pair, connection: usize| {
        assert_eq!(node.ask(GET).status(), 200);
        let seen = strict.next();
        assert_eq!((&seen.client, seen.connection), (expect.certificate(), connection));
        seen.kind
    };
    assert_eq!(ask(&first, 0), HandshakeKind::Full);
    ask(&first, 0);
    // A label of the certificate is nothing to an endpoint.
    let mut labelled = resources(&first);
    labelled[1].1["labels"] = json!({"team": "edge"});
    node.change(&labelled);
    ask(&first, 0);
    // A ticket would tell who called before.
    node.change(&resources(&second));
    assert_eq!(ask(&second, 1), HandshakeKind::Full);
    ask(&second, 1);
    node.change(&resources(&first));
    assert_eq!(ask(&first, 2), HandshakeKind::Full);
}

#[test]
fn no_request_is_lost_while_certificates_change() {
    let ours = Authority::new();
    let pairs: Vec<Pair> = (0..4).map(|_| ours.sign("gateway")).collect();
    let address = serve(demanding(&ours), super::authority::numbered);
    let resources = |pair| showing(&[address], &ours, Some(pair), json!({}));
    let node = Node::start(&resources(&pairs[0]));
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, progress) = channel();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, stop, asked) = (node.connect(), stop.clone(), asked.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    client.send(POST);
                    assert_eq!(client.response().status(), 200);
                    asked.send(()).unwrap();
                }
            })
        })
        .collect();
    for round in 0..20 {
        node.change(&resources(&pairs[round % pairs.len()]));
        (0..20).for_each(|_| progress.recv_timeout(DEADLINE).unwrap());
    }
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn checks_show_it_too_and_what_they_say_outlasts_a_change_of_it() {
    let ours = Authority::new();
    let (first, second) = (ours.sign("gateway"), ours.sign("gateway"));
    let strict = Strict::start(demanding(&ours));
    let more = json!({"health_check": {"http": {"path": "/health"}, "interval": "100ms", "unhealthy_threshold": 1}});
    let nobody = nobody();
    let resources = |pair| showing(&[strict.address, nobody], &ours, Some(pair), more.clone());
    let node = Node::start(&resources(&first));
    let seen = strict.next();
    assert!(seen.head.starts_with("GET /health HTTP/1.1"));
    assert_eq!(&seen.client, first.certificate());
    node.await_healthy(&[true, false]);
    node.change(&resources(&second));
    assert_eq!(node.healthy(), [true, false]);
    while &strict.next().client != second.certificate() {}
    // For another reason all begins anew.
    let plain = Backend::echo();
    node.change(&super::harness::forward(&[plain.address, nobody]));
    assert_eq!(node.healthy(), [true, true]);
}
