//! HTTP/2 to upstreams: streams, trailers, and ends that are no ends.

use super::{
    authority::Authority,
    harness::{Backend, DEADLINE, Node, ok},
};
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream, client,
    server::{self, Builder, SendResponse},
};
use http::{HeaderMap, Request, Response};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

type Asked = (Request<RecvStream>, SendResponse<Bytes>);
type Conn = server::Connection<TcpStream, Bytes>;

fn upstream(endpoints: &[SocketAddr], more: Value) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    let mut upstream = json!({"name": "back", "endpoints": endpoints, "protocol": {"http2": {}}});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![(Kind::Upstream, upstream), (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}}))]
}

// Gives each connection, with its number, to the function.
fn serve_connections<F: Future<Output = ()> + Send + 'static>(
    builder: Builder,
    serve: impl Fn(usize, Conn) -> F + Send + Sync + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        run_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (conn, serve) = (builder.handshake::<_, Bytes>(stream), serve.clone());
                tokio::spawn(async move {
                    if let Ok(conn) = conn.await {
                        serve(number, conn).await;
                    }
                });
            }
        })
    });
    address
}

// Gives each request, with the number of its connection, to the function; all at once.
fn serve<F: Future<Output = ()> + Send + 'static>(
    builder: Builder,
    answer: impl Fn(usize, Asked) -> F + Send + Sync + 'static,
) -> SocketAddr {
    let answer = Arc::new(answer);
    serve_connections(builder, move |number, mut conn| {
        let answer = answer.clone();
        async move {
            while let Some(Ok(asked)) = conn.accept().await {
                tokio::spawn(answer(number, asked));
            }
        }
    })
}

fn run_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    run_on(async { tokio::time::timeout(DEADLINE, test).await.unwrap() })
}

// A client by HTTP/2.
async fn connect(node: &Node) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn respond(mut answer: SendResponse<Bytes>, body: impl Into<Bytes>) {
    let mut stream = answer.send_response(Response::new(()), false).unwrap();
    stream.send_data(body.into(), true).unwrap();
}

async fn data(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = stream.data().await?;
    if let Ok(data) = &data {
        stream.flow_control().release_capacity(data.len()).unwrap();
    }
    Some(data)
}

async fn whole(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = data(stream).await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn send_all(stream: &mut SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        stream.send_data(body.split_to(room.min(body.len())), false).unwrap();
    }
}

#[test]
fn requests_of_all_clients_share_a_connection() {
    let address = serve(Builder::new(), |number, (request, answer)| async move {
        let uri = request.uri().clone();
        let (te, length) = (request.headers().get("te").is_some(), request.headers().get("content-length").cloned());
        let body = whole(&mut request.into_body()).await.unwrap();
        respond(answer, format!("{number} {uri} {te} {length:?} {}", String::from_utf8_lossy(&body)));
    });
    let node = Node::start(&upstream(&[address], json!({})));
    for _ in 0..3 {
        let response =
            node.ask("GET /a/b?c=d HTTP/1.1\r\nHost: orders.example:80\r\nConnection: x-y\r\nX-Y: 1\r\n\r\n");
        assert_eq!(response.text(), "0 http://orders.example:80/a/b?c=d false None ");
        let response = node.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTE: trailers\r\n\r\nhello");
        assert_eq!(response.text(), "0 http://a/ true Some(\"5\") hello");
        let response = node.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(response.text(), "0 http://a/ false None hi");
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let address = serve(Builder::new(), |_, (request, mut answer)| async move {
        let body = whole(&mut request.into_body()).await.unwrap();
        let mut stream = answer.send_response(Response::new(()), false).unwrap();
        send_all(&mut stream, body.into()).await;
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let node = Node::start(&upstream(&[address], json!({})));
    let body = "0123456789abcdef".repeat(256 * 1024);
    for _ in 0..2 {
        let response = node.ask(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(response.text() == body, "{} bytes", response.body.len());
    }
}

#[test]
fn messages_and_trailers_go_both_ways_at_once() {
    let address = serve(Builder::new(), |_, (request, mut answer)| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut incoming = request.into_body();
        let mut stream = answer.send_response(Response::new(()), false).unwrap();
        while let Some(message) = data(&mut incoming).await {
            stream.send_data(message.unwrap(), false).unwrap();
        }
        let mut trailers = incoming.trailers().await.unwrap().unwrap();
        trailers.extend(fields(&[("grpc-status", "0"), ("content-length", "7"), ("set-cookie", "a=b")]));
        stream.send_trailers(trailers).unwrap();
    });
    // The response's time is not that of the stream.
    let node = Node::start(&upstream(&[address], json!({"timeouts": {"response": "300ms"}})));
    run(async {
        let mut client = connect(&node).await.ready().await.unwrap();
        let request = Request::post("http://a/pkg.Service/Method").header("te", "trailers").body(()).unwrap();
        let (response, mut stream) = client.send_request(request, false).unwrap();
        let mut response = response.await.unwrap().into_body();
        for number in 0..50 {
            stream.send_data(Bytes::from(format!("message {number}")), false).unwrap();
            assert_eq!(data(&mut response).await.unwrap().unwrap(), format!("message {number}"));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        stream.send_trailers(fields(&[("x-checksum", "5"), ("host", "b")])).unwrap();
        assert!(data(&mut response).await.is_none());
        let trailers = response.trailers().await.unwrap().unwrap();
        assert_eq!(trailers, fields(&[("x-checksum", "5"), ("grpc-status", "0")]));
    });
    assert_eq!(node.log()[0]["reason"], Value::Null);
}

#[test]
fn a_client_may_send_all_before_it_reads_anything() {
    const LEN: usize = 4 * 1024 * 1024;
    let address = serve(Builder::new(), |_, (request, mut answer)| async move {
        let mut incoming = request.into_body();
        let mut stream = answer.send_response(Response::new(()), false).unwrap();
        // More than the client's window holds, at once.
        let flood = tokio::spawn(async move {
            send_all(&mut stream, vec![b'x'; LEN].into()).await;
            stream.send_data(Bytes::new(), true).unwrap();
        });
        assert_eq!(whole(&mut incoming).await.unwrap().len(), LEN);
        flood.await.unwrap();
    });
    let node = Node::start(&upstream(&[address], json!({})));
    run(async {
        let mut client = connect(&node).await.ready().await.unwrap();
        let (response, mut stream) = client.send_request(Request::post("http://a/").body(()).unwrap(), false).unwrap();
        let response = response.await.unwrap();
        send_all(&mut stream, vec![b'y'; LEN].into()).await;
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(whole(&mut response.into_body()).await.unwrap().len(), LEN);
    });
}

#[test]
fn an_answer_may_be_nothing_but_a_head() {
    let address = serve(Builder::new(), |_, (_, mut answer)| async move {
        let mut head = Response::new(());
        *head.headers_mut() = fields(&[("grpc-status", "12"), ("content-type", "application/grpc")]);
        answer.send_response(head, true).unwrap();
    });
    let node = Node::start(&upstream(&[address], json!({})));
    run(async {
        let mut client = connect(&node).await.ready().await.unwrap();
        let (response, _) = client.send_request(Request::post("http://a/").body(()).unwrap(), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.into_body().is_end_stream());
    });
    let response = node.ask(GET);
    assert_eq!((response.header("grpc-status"), response.text()), (Some("12"), ""));
}

#[test]
fn a_stream_that_was_reset_was_never_whole() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        for length in [None, Some("4"), Some("9")] {
            let address = serve(Builder::new(), move |_, (_, mut answer)| async move {
                let mut head = Response::new(());
                *head.headers_mut() = length.map(|length| fields(&[("content-length", length)])).unwrap_or_default();
                let mut stream = answer.send_response(head, false).unwrap();
                stream.send_data(Bytes::from("half"), false).unwrap();
                stream.reserve_capacity(1);
                // The data has left when there is room for more.
                std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                tokio::task::yield_now().await;
                stream.send_reset(reason);
            });
            let node = Node::start(&upstream(&[address], json!({})));
            let mut client = node.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let all = String::from_utf8(client.read_to_end()).unwrap();
            if length != Some("4") {
                assert!(!all.ends_with("0\r\n\r\n"), "{reason:?} {length:?}: {all}");
            }
            let failed = run(async {
                let mut client = connect(&node).await.ready().await.unwrap();
                let (response, _) = client.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
                match response.await {
                    Ok(response) => whole(&mut response.into_body()).await.is_err(),
                    Err(_) => true,
                }
            });
            assert!(failed, "{reason:?} {length:?}");
            for line in node.log() {
                let reason = line["reason"].as_str().unwrap();
                assert!(["upstream_body_truncated", "reset"].contains(&reason), "{line}");
            }
        }
    }
}

#[test]
fn a_request_that_was_refused_goes_elsewhere() {
    let refusing = serve(Builder::new(), |_, (_, mut answer)| async move { answer.send_reset(Reason::REFUSED_STREAM) });
    let serving = serve(Builder::new(), |_, (_, answer)| async move { respond(answer, "done") });
    let node = Node::start(&upstream(&[refusing, serving], json!({})));
    for _ in 0..4 {
        for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"] {
            assert_eq!(node.ask(request).text(), "done");
        }
    }
    let node = Node::start(&upstream(&[refusing], json!({"retry": {"attempts": 0}})));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (502, "reset"));
    // Any other reset may come after the request was carried out.
    let failing = serve(Builder::new(), |_, (_, mut answer)| async move { answer.send_reset(Reason::INTERNAL_ERROR) });
    let node = Node::start(&upstream(&[failing, serving], json!({})));
    let statuses = [node.ask(GET).status(), node.ask(GET).status()];
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
}

#[test]
fn an_endpoint_that_goes_away_fails_no_request() {
    let address = serve_connections(Builder::new(), |number, mut conn| async move {
        let mut answered = 0;
        while let Some(Ok((_, answer))) = conn.accept().await {
            respond(answer, number.to_string());
            answered += 1;
            if answered == 3 {
                conn.graceful_shutdown();
            }
        }
    });
    let node = Node::start(&upstream(&[address], json!({"retry": {"attempts": 0}})));
    for _ in 0..30 {
        assert_eq!(node.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status(), 200);
    }
}

#[test]
fn no_more_streams_are_opened_than_the_endpoint_allows() {
    let (asked, wait) = std::sync::mpsc::channel();
    let (go, _) = tokio::sync::broadcast::channel::<()>(8);
    let going = go.clone();
    let mut builder = Builder::new();
    builder.max_concurrent_streams(2);
    let address = serve(builder, move |number, (_, answer)| {
        let (asked, mut going) = (asked.clone(), going.subscribe());
        async move {
            asked.send(number).unwrap();
            going.recv().await.unwrap();
            respond(answer, "done");
        }
    });
    let node = Node::start(&upstream(&[address], json!({"connections": {"max": 2}})));
    let mut clients = Vec::new();
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let mut client = node.connect();
        client.send(GET);
        numbers.push(wait.recv_timeout(DEADLINE).unwrap());
        clients.push(client);
    }
    assert_eq!(numbers, [0, 0, 1, 1]);
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (503, "overflow"));
    go.send(()).unwrap();
    for mut client in clients {
        assert_eq!(client.response().text(), "done");
    }
}

#[test]
fn a_connection_that_gave_no_answer_gets_no_more_requests() {
    let late = json!({"timeouts": {"response": "200ms"}, "retry": {"attempts": 0}});
    let address = serve(Builder::new(), |number, (_, answer)| async move {
        match number {
            0 => std::future::pending::<()>().await,
            _ => respond(answer, number.to_string()),
        }
    });
    let node = Node::start(&upstream(&[address], late.clone()));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (504, "response_timeout"));
    // Somebody who accepts and is silent for ever; the next connection is closed at once, which shows that it is another.
    let silent = Backend::start(|number, mut conn| {
        if number == 0 {
            conn.read_to_end();
        }
    });
    let node = Node::start(&upstream(&[silent.address], late));
    assert_eq!(node.ask(GET).reason(), "response_timeout");
    assert_eq!(node.ask(GET).reason(), "closed");
}

#[test]
fn what_is_not_http_2_is_not_forwarded() {
    let old = Backend::start(|_, mut conn| {
        conn.send(ok("old"));
        conn.read_to_end();
    });
    let node = Node::start(&upstream(&[old.address], json!({})));
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (502, "bad_response"));
    // Two lengths, of which one is right.
    let doubtful = serve(Builder::new(), |_, (_, mut answer)| async move {
        let mut head = Response::new(());
        head.headers_mut().append("content-length", "4".parse().unwrap());
        head.headers_mut().append("content-length", "5".parse().unwrap());
        let mut stream = answer.send_response(head, false).unwrap();
        stream.send_data(Bytes::from("four"), true).ok();
    });
    let node = Node::start(&upstream(&[doubtful], json!({})));
    assert_eq!(node.ask(GET).reason(), "bad_response");
}

#[test]
fn whoever_speaks_http_2_is_not_asked_to_upgrade() {
    let address = serve(Builder::new(), |_, (request, answer)| async move {
        let asked = request.headers().keys().any(|name| ["connection", "upgrade"].contains(&name.as_str()));
        respond(answer, if asked { "asked" } else { "ordinary" });
    });
    let node = Node::start(&upstream(&[address], json!({})));
    let mut client = node.connect();
    for _ in 0..2 {
        client.send(super::upgrades::HANDSHAKE);
        assert_eq!(client.response().text(), "ordinary");
    }
}

#[test]
fn http_2_is_agreed_on_inside_tls() {
    let authority = Authority::new();
    for (alpn, reason) in [(&b"h2"[..], "closed"), (b"http/1.1", "tls_handshake"), (b"", "tls_handshake")] {
        let mut config = authority.sign("127.0.0.1").shown();
        config.alpn_protocols = vec![alpn.to_vec()];
        config.alpn_protocols.retain(|alpn| !alpn.is_empty());
        let address = super::authority::serve(config, |_, mut conn| {
            // Agreed, it says hello; that is all here.
            let mut hello = [0; 24];
            if std::io::Read::read_exact(&mut conn, &mut hello).is_ok() {
                assert_eq!(&hello, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            }
        });
        let tls = json!({"tls": {"ca": authority.pem()}, "retry": {"attempts": 0}});
        let node = Node::start(&upstream(&[address], tls));
        assert_eq!(node.ask(GET).reason(), reason, "{alpn:?}");
    }
}
