//! An authorization server that is asked about each request: what it is told, what its answers do, and what happens when
//! it does not answer.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node, folder},
    upstream::{Seen, Upstream},
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn ask(node: &Node, headers: &[(&str, &str)]) -> Response {
    node.send(&Request { method: "POST", headers, body: b"a body", ..Request::get("/books/../list?of=all") })
}

// A gateway before a service that tells which user it sees, and an authorization server at that address.
fn configure(control_plane: &ControlPlane, service: &Upstream, guard: &str, more: Value) {
    let mut policy = json!({"upstream": "guard", "to_upstream": ["x-user", "x-role"], "timeout": "300ms"});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({
        "upstreams": [
            {"name": "service", "endpoints": [{"address": service.address.to_string()}]},
            {"name": "guard", "endpoints": [{"address": guard}]},
        ],
        "policies": [{"name": "guarded", "global": {}, "ext_auth": policy}],
        "routes": [{"name": "all", "match": {}, "forward": {"upstream": "service"}}],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
}

fn service() -> Upstream {
    Upstream::answering(|seen| {
        let told = |name| seen.header(name).unwrap_or("none").to_string();
        answer("200 OK", "", &format!("{} {} {}", told("x-user"), told("x-role"), String::from_utf8_lossy(&seen.body)))
    })
}

#[test]
fn the_server_says_who_passes_and_as_whom() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let told = seen.clone();
    let guard = Upstream::answering(move |seen| {
        let reply = match seen.header("authorization") {
            Some("good") => answer("204 No Content", "x-user: ada\r\nx-other: 1\r\n", ""),
            Some("lost") => {
                answer("302 Found", "location: https://login.test/\r\nset-cookie: a=1\r\nx-inner: 1\r\n", "")
            }
            Some("odd") => answer("418 No Coffee", "x-why: tea\r\n", &"x".repeat(100_000)),
            _ => answer("401 Unauthorized", "www-authenticate: Guard\r\n", "go away"),
        };
        told.lock().unwrap().push(seen.clone());
        reply
    });
    let service = service();
    let more = json!({"deny": {}, "path": "/check?by=portico", "to_client": ["x-why"]});
    configure(&control_plane, &service, &guard.address.to_string(), more);

    // What the client says of itself is gone, also where the server says nothing.
    let claimed =
        [("authorization", "good"), ("x-user", "root"), ("x-role", "admin"), ("x-secret", "s"), ("cookie", "c=1")];
    let passed = ask(&node, &claimed);
    assert_eq!((passed.status, passed.text().as_str()), (200, "ada none a body"));
    let asked = seen.lock().unwrap().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/check?by=portico", 0));
    for (name, value) in [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/list?of=all"),
        ("x-forwarded-host", "gateway.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("host", "gateway.test"),
        ("authorization", "good"),
        ("cookie", "c=1"),
        ("x-request-id", passed.header("x-request-id").unwrap()),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    for name in ["x-secret", "x-user", "content-length", "content-type"] {
        assert_eq!(asked.header(name), None, "{name}");
    }

    let refused = ask(&node, &[("x-forwarded-method", "GET"), ("x-forwarded-uri", "/public")]);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Guard")));
    assert_eq!(refused.json()["reason"], "ext_auth_refused");
    assert_eq!(seen.lock().unwrap().pop().unwrap().header("x-forwarded-uri"), Some("/list?of=all"));
    let sent_away = ask(&node, &[("authorization", "lost")]);
    assert_eq!((sent_away.status, sent_away.header("location")), (302, Some("https://login.test/")));
    assert_eq!((sent_away.header("set-cookie"), sent_away.header("x-inner")), (Some("a=1"), None));
    let odd = ask(&node, &[("authorization", "odd")]);
    assert_eq!((odd.status, odd.header("x-why")), (418, Some("tea")));

    // An upstream that a policy asks is not taken away; explain asks nobody.
    assert_eq!(control_plane.admin.send("DELETE", "/v1/upstreams/guard", None).status, 409);
    seen.lock().unwrap().clear();
    let asked = json!({"request": {"url": "/list"}});
    let told = control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json();
    assert_eq!(told["policies"][0]["decision"], "depends", "{told}");
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_server_that_moves_is_asked_where_it_is() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = service();
    let guards =
        ["ada", "bob"].map(|user| Upstream::answering(move |_| answer("200 OK", &format!("x-user: {user}\r\n"), "")));
    let at = |guard: &Upstream| json!([{"address": guard.address.to_string()}]);
    let policy = json!({"ext_auth": {"upstream": "guard", "to_upstream": ["x-user"], "deny": {}}});
    for place in ["/policies/0", "/routes/0/policies", "/upstreams/0/policies"] {
        let mut body = json!({
            "policies": [],
            "routes": [{"name": "all", "match": {}, "forward": {"upstream": "service"}}],
            "upstreams": [
                {"name": "service", "endpoints": at(&service)},
                {"name": "guard", "endpoints": at(&guards[0])},
            ],
        });
        match place {
            "/policies/0" => body["policies"] = json!([{"name": "g", "global": {}, "ext_auth": policy["ext_auth"]}]),
            place => {
                let (owner, _) = place.rsplit_once('/').unwrap();
                body.pointer_mut(owner).unwrap()["policies"] = json!([policy]);
            }
        }
        control_plane.admin.ok("POST", "/v1/apply?wait=all&prune=true", Some(&body));
        assert_eq!(ask(&node, &[]).text(), "ada none a body", "{place}");
        let there = json!({"endpoints": at(&guards[1])});
        control_plane.admin.ok("PUT", "/v1/upstreams/guard?wait=all", Some(&there));
        assert_eq!(ask(&node, &[]).text(), "bob none a body", "{place}");
    }
}

#[test]
fn a_server_that_does_not_answer_does_what_the_policy_says() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let log = folder.path().join("access.log");
    let mut node = control_plane.node_with(&["--access-log", log.to_str().unwrap()]);
    node.restart();
    let service = service();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // Takes the request, and that is all.
    let hung = Upstream::scripted(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let endless = Upstream::scripted(|mut stream| {
        let _ = stream.read(&mut [0; 1024])?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        (0..).try_for_each(|n| write!(stream, "x-{n}: {}\r\n", "y".repeat(1000)))
    });
    let broken = Upstream::answering(|_| answer("500 Internal Server Error", "x-user: root\r\n", ""));
    for (at, guard) in
        [nobody, hung.address.to_string(), endless.address.to_string(), broken.address.to_string()].iter().enumerate()
    {
        configure(&control_plane, &service, guard, json!({"deny": {}}));
        let start = Instant::now();
        let refused = ask(&node, &[("x-user", "root")]);
        assert_eq!((refused.status, &refused.json()["reason"]), (503, &"ext_auth_unavailable".into()), "{at}");
        configure(&control_plane, &service, guard, json!({"allow": {}}));
        let passed = ask(&node, &[("x-user", "root")]);
        assert_eq!((passed.status, passed.text().as_str()), (200, "none none a body"), "{at}");
        assert!(start.elapsed() < Duration::from_secs(20), "{at}");
    }
    // Whatever passed is on record.
    eventually("the requests are logged", || {
        let lines = std::fs::read_to_string(&log).ok()?;
        let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let passed = lines.iter().filter(|line| line["failed_open"] == "guarded:ext_auth_unavailable").count();
        assert!(lines.iter().all(|line| line["shadowed"].is_null()), "{lines:?}");
        let refused = lines.iter().filter(|line| line["policy"] == "guarded").count();
        (passed == 4 && refused == 4).then_some(())
    });
    let metrics = node.metrics();
    for made in ["failed_open", "refused"] {
        let counted = format!(
            "portico_policy_decisions_total{{policy=\"guarded\",kind=\"ext_auth\",decision=\"{made}\",reason=\"ext_auth_unavailable\"}} 4\n"
        );
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[test]
fn a_slow_body_of_the_answer_is_not_waited_for() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = service();
    // The head says all; the body never comes.
    let guard = Upstream::scripted(|mut stream| {
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-user: ada\r\ncontent-length: 1000000000\r\n\r\nx")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    configure(&control_plane, &service, &guard.address.to_string(), json!({"deny": {}, "timeout": "20s"}));
    for _ in 0..3 {
        assert_eq!(ask(&node, &[]).text(), "ada none a body");
    }
}
