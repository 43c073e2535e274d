//! Checks of endpoints that speak TLS or HTTP/2: an endpoint is asked as requests ask it.

use super::{
    authority::Authority,
    harness::{DEADLINE, Node},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::resource::Kind;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A server of HTTP/2 and nothing else, by TLS if it has a configuration for that.
struct Server {
    address: SocketAddr,
    /// The status that `/healthz` has, and the state of gRPC.
    status: Arc<AtomicU16>,
    /// Which name was asked for by TLS, and the address of each request.
    seen: Receiver<(Option<String>, String)>,
}

impl Server {
    fn start(tls: Option<ServerConfig>) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let status = Arc::<AtomicU16>::default();
        let (tell, seen) = channel();
        let tls = tls.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        let told = status.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (tls, told, tell) = (tls.clone(), told.clone(), tell.clone());
                    tokio::spawn(async move {
                        let Some(tls) = tls else { return answer(stream, told, None, tell).await };
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let name = stream.get_ref().1.server_name().map(str::to_string);
                        answer(stream, told, name, tell).await;
                    });
                }
            })
        });
        Server { address, status, seen }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    told: Arc<AtomicU16>,
    name: Option<String>,
    tell: Sender<(Option<String>, String)>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (told, name, tell) = (told.load(SeqCst), name.clone(), tell.clone());
        async move {
            assert_eq!(request.version(), Version::HTTP_2);
            tell.send((name, request.uri().to_string())).ok();
            Ok::<_, Infallible>(match request.uri().path() {
                "/grpc.health.v1.Health/Check" => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    let body = Full::new(Bytes::from(vec![0, 0, 0, 0, 2, 8, told as u8]));
                    Response::new(BoxBody::new(body.with_trailers(async { Some(Ok(trailers)) })))
                }
                _ => Response::builder().status(told).body(BoxBody::new(Full::new(Bytes::new()))).unwrap(),
            })
        }
    });
    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
}

fn upstream(address: &str, check: Value, more: Value) -> Vec<(Kind, Value)> {
    let mut health = json!({"interval": "100ms", "timeout": "5s"});
    health.as_object_mut().unwrap().extend(check.as_object().unwrap().clone());
    let mut upstream = json!({"name": "back", "endpoints": [{"address": address}], "health_check": health});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

// It is unhealthy and healthy as it says itself; what it saw of the last check before.
fn follows(server: &Server, node: &Node, well: u16, ill: u16) -> (Option<String>, String) {
    for _ in 0..2 {
        server.status.store(ill, SeqCst);
        node.await_healthy(&[false]);
        server.status.store(well, SeqCst);
        node.await_healthy(&[true]);
    }
    server.seen.recv_timeout(DEADLINE).unwrap()
}

#[test]
fn an_upstream_of_http_2_is_asked_by_http_2() {
    let authority = Authority::new();
    let ca = authority.pem();
    let check = json!({"http": {"path": "/healthz?x"}});
    let server = Server::start(None);
    let address = server.address.to_string();
    let node = Node::start(&upstream(&address, check.clone(), json!({"protocol": {"http2": {}}})));
    assert_eq!(follows(&server, &node, 200, 500), (None, format!("http://{address}/healthz?x")));
    let server = Server::start(Some(authority.sign("127.0.0.1").shown()));
    let address = server.address.to_string();
    let node = Node::start(&upstream(&address, check, json!({"protocol": {"http2": {}}, "tls": {"ca": ca}})));
    assert_eq!(follows(&server, &node, 200, 500), (None, format!("https://{address}/healthz?x")));
    let named = json!({"http": {"host": "orders.example"}});
    let node = Node::start(&upstream(&address, named, json!({"protocol": {"http2": {}}, "tls": {"ca": ca}})));
    server.seen.try_iter().for_each(drop);
    follows(&server, &node, 204, 503);
    assert!(server.seen.try_iter().any(|(_, uri)| uri == "https://orders.example/"));
}

#[test]
fn grpc_is_asked_inside_tls_whatever_requests_speak() {
    let authority = Authority::new();
    let tls = json!({"ca": authority.pem()});
    for protocol in ["http1", "http2"] {
        let server = Server::start(Some(authority.sign("127.0.0.1").shown()));
        let address = server.address.to_string();
        let more = json!({"protocol": {protocol: {}}, "tls": tls});
        let node = Node::start(&upstream(&address, json!({"grpc": {}}), more));
        let (_, uri) = follows(&server, &node, 1, 2);
        assert_eq!(uri, format!("https://{address}/grpc.health.v1.Health/Check"), "{protocol}");
    }
    // Who shows no certificate of the authority is not asked at all.
    let server = Server::start(Some(Authority::new().sign("127.0.0.1").shown()));
    server.status.store(1, SeqCst);
    let node = Node::start(&upstream(&server.address.to_string(), json!({"grpc": {}}), json!({"tls": tls})));
    node.await_healthy(&[false]);
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn an_endpoint_is_asked_by_its_name() {
    let authority = Authority::new();
    let more = json!({"protocol": {"http2": {}}, "tls": {"ca": authority.pem()}});
    for check in [json!({"http": {}}), json!({"grpc": {}})] {
        let server = Server::start(Some(authority.sign("localhost").shown()));
        let port = server.address.port();
        let _node = Node::start(&upstream(&format!("localhost:{port}"), check, more.clone()));
        let (name, uri) = server.seen.recv_timeout(DEADLINE).unwrap();
        assert_eq!(name.as_deref(), Some("localhost"));
        assert!(uri.starts_with(&format!("https://localhost:{port}/")), "{uri}");
    }
}
