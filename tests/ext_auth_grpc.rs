//! An authorization server that is asked by gRPC: what it is told, what its answers do, and what happens when there is
//! none that can be understood.

use crate::harness::{
    authorizer::{Authorizer, Reply},
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::Upstream,
};
use bytes::Bytes;
use hyper::body::Frame;
use prost::Message;
use proto::ext_authz::{
    BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus,
    OkHttpResponse, QueryParameter, Status, check_response::HttpResponse,
};
use serde_json::{Value, json};
use std::{
    io,
    iter::{once, repeat_with},
    net::TcpListener,
};
use tonic::transport::Identity;

fn header(key: &'static str, value: &'static [u8]) -> HeaderValueOption {
    let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(value));
    HeaderValueOption {
        header: Some(HeaderValue { key, value, raw_value: Bytes::new() }),
        ..HeaderValueOption::default()
    }
}

fn headers(list: &[(&'static str, &'static str)]) -> Vec<HeaderValueOption> {
    list.iter().map(|(key, value)| header(key, value.as_bytes())).collect()
}

fn passes(ok: OkHttpResponse) -> CheckResponse {
    CheckResponse { status: Some(Status { code: 0 }), http_response: Some(HttpResponse::OkResponse(ok)) }
}

fn denies(status: i32, denied: DeniedHttpResponse) -> CheckResponse {
    let denied = DeniedHttpResponse { status: Some(HttpStatus { code: status }), ..denied };
    CheckResponse { status: Some(Status { code: 7 }), http_response: Some(HttpResponse::DeniedResponse(denied)) }
}

fn told<'a>(asked: &'a CheckRequest, name: &str) -> Option<&'a str> {
    let http = asked.attributes.as_ref()?.request.as_ref()?.http.as_ref()?;
    http.headers.get(name).map(String::as_str)
}

// A gateway before a service that tells what it sees, and an authorization server at that address.
fn configure(control_plane: &ControlPlane, service: &Upstream, guard: &str, more: Value) {
    let mut policy = json!({"upstream": "guard", "to_upstream": ["x-user", "x-role"], "timeout": "300ms", "grpc": {}});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({
        "upstreams": [
            {"name": "service", "endpoints": [{"address": service.address.to_string()}]},
            {"name": "guard", "endpoints": [{"address": guard}], "protocol": {"http2": {}}},
        ],
        "policies": [{"name": "guarded", "global": {}, "ext_auth": policy}],
        "routes": [{"name": "all", "match": {}, "forward": {"upstream": "service"}}],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
}

fn ask(node: &Node, target: &str, headers: &[(&str, &str)]) -> Response {
    node.send(&Request { method: "POST", headers, body: b"a body", ..Request::get(target) })
}

// The values of a header, as the service saw it.
fn seen(response: &Response, name: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let headers: Vec<(String, String)> = serde_json::from_value(response.json()["headers"].clone()).unwrap();
    headers.into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
}

#[test]
fn the_server_is_told_of_the_request_and_says_what_passes() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = Upstream::echo("service");
    let guard = Authorizer::answering(|asked| match told(asked, "authorization") {
        Some("plain") => Reply::Says(CheckResponse { status: Some(Status { code: 0 }), ..CheckResponse::default() }),
        Some("unsaid") => Reply::Says(CheckResponse { status: None, ..passes(OkHttpResponse::default()) }),
        Some("good") => {
            let parameter =
                |key: &'static str, value: &'static str| QueryParameter { key: key.into(), value: value.into() };
            let mut role =
                headers(&[("x-role", "writer"), ("x-role", "reader"), ("x-other", "1"), ("host", "elsewhere")]);
            role[1].append = Some(BoolValue { value: true });
            Reply::Says(passes(OkHttpResponse {
                headers: [headers(&[("X-User", "ada")]), role].concat(),
                headers_to_remove: ["authorization", "x-kept", "content-length"].map(Bytes::from).to_vec(),
                response_headers_to_add: headers(&[("x-quota", "7"), ("set-cookie", "session=1"), ("x-hidden", "1")]),
                query_parameters_to_set: vec![parameter("tenant", "a&b=c#\r\n"), parameter("page", "9")],
            }))
        }
        _ => Reply::Says(CheckResponse { status: Some(Status { code: 16 }), ..CheckResponse::default() }),
    });
    let more = json!({
        "deny": {}, "to_client": ["x-quota"], "timeout": "20s",
        "grpc": {"context_extensions": {"shop": "books"}, "query": ["tenant"]},
    });
    configure(&control_plane, &service, &guard.address.to_string(), more);

    let sent = [
        ("authorization", "good"),
        ("cookie", "c=1"),
        ("cookie", "d=2"),
        ("x-user", "root"),
        ("x_role", "admin"),
        ("x-kept", "1"),
        ("x-secret", "s"),
        ("grpc-timeout", "9H"),
        ("x-forwarded-for", "10.9.8.7"),
    ];
    let passed = ask(&node, "/books/../list?page=1&tenant=eve&%74enant=root&x=%7e", &sent);
    assert_eq!(seen(&passed, "x-user"), ["ada"]);
    assert_eq!(seen(&passed, "x-role"), ["writer", "reader"]);
    assert_eq!(seen(&passed, "x-kept"), ["1"]);
    assert_eq!(seen(&passed, "host"), ["gateway.test"]);
    for gone in ["x_role", "authorization", "x-other"] {
        assert_eq!(seen(&passed, gone), [""; 0], "{gone}");
    }
    let body = passed.json();
    assert_eq!(
        (&body["target"], &body["body_bytes"]),
        (&"/list?page=1&x=%7e&tenant=a%26b%3Dc%23%0D%0A".into(), &6.into())
    );
    let answered = ["x-quota", "set-cookie", "x-hidden"].map(|name| passed.header(name));
    assert_eq!(answered, [Some("7"), Some("session=1"), None]);

    let [(metadata, asked)] = &guard.take_asked()[..] else { panic!("it is asked once") };
    let attributes = asked.attributes.as_ref().unwrap();
    let source = attributes.source.as_ref().unwrap();
    assert_eq!(source.address.as_ref().unwrap().socket_address.as_ref().unwrap().address, "127.0.0.1");
    assert_eq!(attributes.context_extensions["shop"], "books");
    let request = attributes.request.as_ref().unwrap();
    assert!(request.time.as_ref().unwrap().seconds > 1_700_000_000);
    let http = request.http.as_ref().unwrap();
    assert_eq!((http.method.as_str(), http.scheme.as_str(), http.host.as_str()), ("POST", "http", "gateway.test"));
    assert_eq!(http.path, "/list?page=1&tenant=eve&%74enant=root&x=%7e");
    assert_eq!((Some(http.id.as_str()), http.size), (passed.header("x-request-id"), -1));
    for (name, value) in [
        ("authorization", Some("good")),
        ("cookie", Some("c=1; d=2")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("gateway.test")),
        ("x-secret", None),
        ("x-user", None),
    ] {
        assert_eq!(told(asked, name), value, "{name}");
    }
    // What the client says is nothing that is said in the gateway's name.
    for (name, value) in
        [("grpc-timeout", Some("20000m")), ("te", Some("trailers")), ("authorization", None), ("cookie", None)]
    {
        assert_eq!(metadata.get(name).map(|value| value.to_str().unwrap()), value, "{name}");
    }
    assert_eq!(metadata.get("x-request-id").unwrap().to_str().unwrap(), http.id);

    // Whoever says no more than yes takes away what is not the client's to say.
    for yes in ["plain", "unsaid"] {
        let passed = ask(&node, "/?tenant=eve", &[("authorization", yes), ("x-role", "admin")]);
        assert_eq!((seen(&passed, "x-role"), &passed.json()["target"]), (vec![], &"/".into()), "{yes}");
    }
    let refused = ask(&node, "/", &[]);
    assert_eq!((refused.status, &refused.json()["reason"]), (403, &"ext_auth_refused".into()));

    // Whom HTTP/1 is spoken with cannot be asked by gRPC.
    let http1 = json!({"endpoints": [{"address": guard.address.to_string()}]});
    let refused = control_plane.admin.send("PUT", "/v1/upstreams/guard", Some(&http1));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("gRPC needs HTTP/2"), "{}", refused.text());
}

#[test]
fn a_refusal_is_in_the_words_of_the_server() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = Upstream::echo("service");
    let denied = |list: &[(&'static str, &'static str)], body: &'static str| DeniedHttpResponse {
        headers: headers(list),
        body: body.into(),
        ..DeniedHttpResponse::default()
    };
    let guard = Authorizer::answering(move |asked| {
        Reply::Says(match told(asked, "authorization").unwrap_or_default() {
            "page" => {
                let more = [("content-type", "text/html"), ("x-why", "none"), ("x-inner", "1"), ("set-cookie", "a=1")];
                denies(401, denied(&more, "<p>who are you?"))
            }
            "text" => denies(429, denied(&[], "later")),
            "away" => denies(302, denied(&[("location", "https://login.test/")], "")),
            // What would say that all is well, and what is no status.
            "fine" => denies(200, denied(&[], "")),
            "unchanged" => denies(304, denied(&[], "")),
            "odd" => denies(99_999, denied(&[], "")),
            // Two that contradict themselves.
            "torn" => CheckResponse { status: Some(Status { code: 7 }), ..passes(OkHttpResponse::default()) },
            "twisted" => CheckResponse { status: Some(Status { code: 0 }), ..denies(402, denied(&[], "")) },
            // By bytes: what cannot be a header is none, and the refusal stands.
            "split" => denies(403, denied(&[("x-why", "1\r\nset-cookie: evil=1"), ("x-why\r\nx", "2")], "")),
            _ => passes(OkHttpResponse::default()),
        })
    });
    configure(&control_plane, &service, &guard.address.to_string(), json!({"allow": {}, "to_client": ["x-why"]}));
    let with = |authorization| ask(&node, "/", &[("authorization", authorization)]);
    let page = with("page");
    assert_eq!((page.status, page.text().as_str()), (401, "<p>who are you?"));
    let told = ["content-type", "x-why", "set-cookie", "x-inner"].map(|name| page.header(name));
    assert_eq!(told, [Some("text/html"), Some("none"), Some("a=1"), None]);
    let text = with("text");
    assert_eq!((text.status, text.text().as_str()), (429, "later"));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    let away = with("away");
    assert_eq!((away.status, away.header("location")), (302, Some("https://login.test/")));
    for (what, status) in
        [("fine", 403), ("unchanged", 403), ("odd", 403), ("torn", 403), ("twisted", 402), ("split", 403)]
    {
        let refused = with(what);
        assert_eq!((refused.status, &refused.json()["reason"]), (status, &"ext_auth_refused".into()), "{what}");
        assert_eq!((refused.header("x-why"), refused.header("set-cookie")), (None, None), "{what}");
    }
    assert_eq!(with("else").status, 200);
    // A HEAD has no body, whoever wrote it.
    let head = node.send(&Request { method: "HEAD", headers: &[("authorization", "page")], ..Request::get("/") });
    assert_eq!((head.status, head.body.len()), (401, 0));
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat().into()
}

// A server that answers with such a content type, body and trailers.
fn made_up(
    content_type: &'static str,
    body: impl Fn() -> Bytes + Send + Sync + 'static,
    end: impl Fn() -> io::Result<http::HeaderMap> + Send + Sync + 'static,
) -> Authorizer {
    Authorizer::making_up(move || {
        let head = http::Response::builder().header("content-type", content_type);
        (head, Box::new([Ok(Frame::data(body())), end().map(Frame::trailers)].into_iter()))
    })
}

fn status(code: &'static str) -> impl Fn() -> io::Result<http::HeaderMap> + Clone {
    move || {
        let name = http::HeaderName::from_static("grpc-status");
        Ok(http::HeaderMap::from_iter([(name, http::HeaderValue::from_static(code))]))
    }
}

#[test]
fn an_answer_that_cannot_be_understood_is_none() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = Upstream::echo("service");
    let yes = || passes(OkHttpResponse { headers: headers(&[("x-user", "ada")]), ..OkHttpResponse::default() });
    let message = move || Bytes::from(yes().encode_to_vec());
    let whole = move || framed(0, &message());
    let says = |answer: CheckResponse| Authorizer::answering(move |_| Reply::Says(answer.clone()));
    let with =
        |option: HeaderValueOption| says(passes(OkHttpResponse { headers: vec![option], ..OkHttpResponse::default() }));
    let grpc = "application/grpc";
    let huge = "x".repeat(65 * 1024);

    let good = made_up("application/grpc+proto", whole, status("0"));
    configure(&control_plane, &service, &good.address.to_string(), json!({"deny": {}}));
    assert_eq!(seen(&ask(&node, "/", &[]), "x-user"), ["ada"], "all else differs from this in one thing");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let cut = Upstream::scripted(|mut stream| io::Read::read(&mut stream, &mut [0; 1024]).map(drop));
    let servers = [
        ("hangs", Authorizer::answering(|_| Reply::Hangs)),
        ("fails", Authorizer::answering(|_| Reply::Fails(tonic::Status::permission_denied("no")))),
        ("says nothing", says(CheckResponse::default())),
        ("says a header of two lines", with(header("x-user", b"ada\r\nx-role: admin"))),
        ("says a header with a NUL", with(header("x-user", b"ada\0"))),
        ("puts a header in an unknown way", with(HeaderValueOption { append_action: 9, ..header("x-user", b"ada") })),
        (
            "says too much",
            says(denies(403, DeniedHttpResponse { body: huge.clone().into(), ..DeniedHttpResponse::default() })),
        ),
        ("is no gRPC", made_up("application/json", whole, status("0"))),
        ("is gRPC-Web", made_up("application/grpc-web", whole, status("0"))),
        ("has no status", made_up(grpc, whole, || Ok(http::HeaderMap::new()))),
        ("has a bad status", made_up(grpc, whole, status("13"))),
        ("is compressed", made_up(grpc, move || framed(1, &message()), status("0"))),
        ("is no message", made_up(grpc, || framed(0, b"\xff\xff\xff\xff"), status("0"))),
        ("is half a message", made_up(grpc, move || whole().slice(..9), status("0"))),
        ("is two messages", made_up(grpc, move || [whole(), whole()].concat().into(), status("0"))),
        ("has half a prefix", made_up(grpc, || Bytes::from_static(b"\0\0"), status("0"))),
        ("lies about its length", made_up(grpc, || Bytes::from_static(b"\0\xff\xff\xff\xffx"), status("0"))),
        ("is reset", made_up(grpc, whole, || Err(io::Error::other("cut")))),
        (
            "never ends",
            Authorizer::making_up(|| {
                let piece = || Ok(Frame::data(Bytes::from_static(&[0; 4096])));
                (http::Response::builder().header("content-type", "application/grpc"), Box::new(repeat_with(piece)))
            }),
        ),
        (
            "has another status of HTTP",
            Authorizer::making_up(move || {
                let head = http::Response::builder().status(503).header("content-type", "application/grpc");
                (head, Box::new(once(Ok(Frame::data(whole()))).chain(once(status("0")().map(Frame::trailers)))))
            }),
        ),
    ];
    let servers = servers.iter().map(|(what, server)| (*what, server.address.to_string()));
    for (what, guard) in servers.chain([("is not there", nobody), ("closes", cut.address.to_string())]) {
        configure(&control_plane, &service, &guard, json!({"deny": {}}));
        let refused = ask(&node, "/", &[("x-user", "root")]);
        assert_eq!((refused.status, &refused.json()["reason"]), (503, &"ext_auth_unavailable".into()), "{what}");
        configure(&control_plane, &service, &guard, json!({"allow": {}, "grpc": {"query": ["tenant"]}}));
        let passed = ask(&node, "/?tenant=eve&a", &[("x-user", "root"), ("x_role", "admin")]);
        assert_eq!((seen(&passed, "x-user"), seen(&passed, "x_role")), (vec![], vec![]), "{what}");
        assert_eq!(passed.json()["target"], "/?a", "{what}");
    }
    // What the policy does not take does no harm, however odd it is.
    let odd = with(header("x-other", b"1\r\nx-user: root"));
    configure(&control_plane, &service, &odd.address.to_string(), json!({"deny": {}}));
    assert_eq!(seen(&ask(&node, "/", &[]), "x-other"), [""; 0]);
}

#[test]
fn a_server_by_tls_is_asked_if_it_proves_who_it_is() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = Upstream::echo("service");
    let made = rcgen::generate_simple_self_signed(["guard.internal".to_string()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let guard = Authorizer::showing(identity, |_| {
        let headers = headers(&[("x-user", "ada")]);
        Reply::Says(passes(OkHttpResponse { headers, ..OkHttpResponse::default() }))
    });
    configure(&control_plane, &service, &guard.address.to_string(), json!({"deny": {}, "timeout": "10s"}));
    let by_tls = |name: &str| {
        let tls = json!({"ca": made.cert.pem(), "server_name": name});
        let endpoints = json!([{"address": guard.address.to_string()}]);
        let upstream = json!({"endpoints": endpoints, "protocol": {"http2": {}}, "tls": tls});
        control_plane.admin.ok("PUT", "/v1/upstreams/guard?wait=all", Some(&upstream));
        ask(&node, "/", &[])
    };
    assert_eq!(seen(&by_tls("guard.internal"), "x-user"), ["ada"]);
    assert_eq!(guard.take_asked().len(), 1);

    let other = by_tls("other.internal");
    assert_eq!(
        (other.status, other.json()["reason"].as_str()),
        (503, Some("ext_auth_unavailable")),
        "{}",
        other.text()
    );
    assert!(guard.take_asked().is_empty());
}
