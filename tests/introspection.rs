//! Clients whose tokens are judged by whoever issued them: what the issuer is asked, how long its word counts, and what
//! happens when it gives none.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::{Seen, Upstream},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn with(node: &Node, credentials: &[&str]) -> Response {
    let headers: Vec<(&str, &str)> = credentials.iter().map(|value| ("authorization", *value)).collect();
    node.send(&Request { headers: &headers, ..Request::get("/") })
}

// A gateway before a service that says which token it sees, and an issuer.
fn configure(control_plane: &ControlPlane, issuer: &Upstream, more: Value) -> Upstream {
    let service = Upstream::answering(|seen| answer("200 OK", seen.header("authorization").unwrap_or("none")));
    let mut policy = json!({"upstream": "issuer", "timeout": "500ms"});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({
        "upstreams": [
            {"name": "service", "endpoints": [{"address": service.address.to_string()}]},
            {"name": "issuer", "endpoints": [{"address": issuer.address.to_string()}]},
        ],
        "policies": [{"name": "tokens", "global": {}, "introspection": policy}],
        "routes": [{"name": "all", "match": {}, "forward": {"upstream": "service"}}],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    service
}

fn reason(response: &Response) -> (u16, String) {
    (response.status, response.json()["reason"].as_str().unwrap().to_string())
}

#[test]
fn the_issuer_says_which_token_is_good_and_is_asked_once() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let told = seen.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issuer = Upstream::answering(move |seen| {
        told.lock().unwrap().push(seen.clone());
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let said = match body.split(['=', '&']).nth(1).unwrap() {
            "good%2B" => json!({"active": true, "sub": "ada", "aud": ["books", "shop"], "exp": now + 3600}),
            "over" => json!({"active": true, "sub": "ada", "aud": "books", "exp": now - 1}),
            "early" => json!({"active": true, "sub": "ada", "aud": "books", "nbf": now + 3600}),
            "text" => json!({"active": "true", "sub": "ada", "aud": "books"}),
            "when" => json!({"active": true, "sub": "ada", "aud": "books", "exp": "tomorrow"}),
            "others" => json!({"active": true, "sub": "ada", "aud": "shop"}),
            "for.nobody" => json!({"active": true, "sub": "ada"}),
            "nobodys" => json!({"active": true, "aud": "books"}),
            _ => json!({"active": false, "sub": "ada", "aud": "books"}),
        };
        answer("200 OK", &said.to_string())
    });
    let client =
        json!({"client_id": "gateway", "client_secret": {"value": "hush"}, "audiences": ["books"], "path": "/ask"});
    let _service = configure(&control_plane, &issuer, client);

    for _ in 0..3 {
        let passed = with(&node, &["Bearer good+"]);
        assert_eq!((passed.status, passed.text().as_str()), (200, "Bearer good+"));
    }
    let asked = std::mem::take(&mut *seen.lock().unwrap());
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/ask"));
    assert_eq!(asked.body, b"token=good%2B&token_type_hint=access_token");
    for (name, value) in [
        // `gateway:hush`
        ("authorization", "Basic Z2F0ZXdheTpodXNo"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "issuer"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }

    for token in ["bad", "over", "early", "text", "when", "others", "for.nobody", "nobodys"] {
        for _ in 0..2 {
            let refused = with(&node, &[&format!("Bearer {token}")]);
            assert_eq!(reason(&refused), (401, "token_inactive".into()), "{token}");
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, "Bearer realm=\"tokens\", error=\"invalid_token\"");
        }
    }
    assert_eq!(seen.lock().unwrap().len(), 8, "each is asked about once");

    // What can be no token, nobody is asked about.
    for credentials in
        [&["Bearer a b"][..], &["Bearer "], &["Bearer"], &["Bearer a&token=good%2B"], &["Bearer a", "Bearer b"]]
    {
        assert_eq!(reason(&with(&node, credentials)), (401, "token_inactive".into()), "{credentials:?}");
    }
    for credentials in [&[][..], &["Basic YTpi"]] {
        assert_eq!(reason(&with(&node, credentials)), (401, "unauthenticated".into()), "{credentials:?}");
    }
    assert_eq!(seen.lock().unwrap().len(), 8);
    let metrics = node.metrics();
    for counted in ["hit\"} 10\n", "miss\"} 9\n"] {
        let counted = format!("portico_introspection_lookups_total{{policy=\"tokens\",result=\"{counted}");
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
    }
    assert!(metrics.contains("portico_introspections_known{policy=\"tokens\"} 9.0\n"), "{metrics}");
    assert!(!control_plane.admin.get("/v1/policies/tokens").to_string().contains("hush"));
}

#[test]
fn nobody_passes_while_the_issuer_says_nothing() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    for (at, issuer) in [
        Upstream::answering(|_| answer("401 Unauthorized", "{\"active\": true, \"sub\": \"ada\"}")),
        Upstream::answering(|_| answer("200 OK", "active")),
        Upstream::answering(|_| answer("200 OK", "{\"active\": false, \"active\": true, \"sub\": \"ada\"}")),
        Upstream::answering(|_| {
            answer("200 OK", &format!("{{\"active\": true, \"sub\": \"{}\"}}", "a".repeat(70_000)))
        }),
        Upstream::answering(|_| answer("200 OK", &"[".repeat(50_000))),
        // It takes the question, and that is all.
        Upstream::scripted(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop)),
        // It never ends its answer.
        Upstream::scripted(|mut stream| {
            let _ = stream.read(&mut [0; 4096])?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"active\": true")?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }),
    ]
    .iter()
    .enumerate()
    {
        let _service = configure(&control_plane, issuer, json!({"optional": true}));
        let refused = with(&node, &["Bearer good"]);
        assert_eq!(reason(&refused), (503, "introspection_unavailable".into()), "{at}");
        assert_eq!(with(&node, &[]).status, 200, "{at}");
    }
    // When it does again, its word counts at once.
    let issuer = Upstream::answering(|_| answer("200 OK", "{\"active\": true, \"username\": \"ada\"}"));
    let _service = configure(&control_plane, &issuer, json!({"strip": true}));
    assert_eq!(with(&node, &["Bearer good"]).text(), "none");
}

#[test]
fn a_token_is_the_consumers_whom_its_issuer_calls_so() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let issuer = Upstream::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let mut said = match body.split(['=', '&']).nth(1).unwrap() {
            "acme" => json!({"sub": "acme"}),
            "ours" => json!({"sub": "acme", "iss": "https://login.test"}),
            "others" => json!({"sub": "acme", "iss": "https://another.test"}),
            "odd" => json!({"sub": "acme", "iss": ["https://login.test"]}),
            // Of no help where the claim is another.
            "client" => json!({"client_id": "acme"}),
            // Ids of others: of a certificate, and of a token of another issuer.
            "billing" => json!({"sub": "spiffe://prod/billing"}),
            "whole" => json!({"sub": "https://login.test#acme"}),
            token => panic!("{token}"),
        };
        said["active"] = true.into();
        answer("200 OK", &said.to_string())
    });
    let _service = configure(&control_plane, &issuer, json!({"consumer": "sub", "issuer": "https://login.test"}));
    let body = json!({
        "consumers": [
            {"name": "acme", "ids": ["https://login.test#acme"]},
            {"name": "billing", "ids": ["spiffe://prod/billing", "acme"]},
        ],
        "policies": [{"name": "told", "global": {},
            "response_headers": {"set": [{"name": "x-is", "value": "{consumer.name}"}]}}],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    for (token, consumer) in [
        ("acme", Some("acme")),
        ("ours", Some("acme")),
        ("others", None),
        ("odd", None),
        ("client", None),
        ("billing", None),
        ("whole", None),
    ] {
        let passed = with(&node, &[&format!("Bearer {token}")]);
        assert_eq!((passed.status, passed.header("x-is")), (200, consumer), "{token}");
    }
    // The field that there was is told of, with the one that there is.
    let old = json!({"global": {}, "introspection": {"upstream": "issuer", "consumers": true}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/tokens", Some(&old));
    assert!(refused.status == 422 && refused.text().contains("consumer"), "{}", refused.text());
}
