//! Tokens of issuers: keys that rotate under load, an issuer that is down, and nobody who waits for one.

use crate::harness::{
    http::{Connection, Request, Response},
    issuer::{Issuer, Signer, now},
    stack::Node,
    upstream::Upstream,
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const ALLOW: [&str; 2] = ["--fetch-allow", "127.0.0.0/8"];

/// A node that runs this configuration.
fn node(folder: &Path, configuration: &Value, arguments: &[&str]) -> Node {
    let path = folder.join("portico.json");
    std::fs::write(&path, configuration.to_string()).unwrap();
    let mut node = Node::of(&[&["--config", path.to_str().unwrap()], arguments].concat());
    node.restart();
    node
}

fn configuration(upstream: &Upstream, policy: &Value) -> Value {
    json!({
        "upstreams": [{"name": "echo", "endpoints": [{"address": upstream.address.to_string()}]}],
        "routes": [
            {
                "name": "api", "match": {"path": {"prefix": "/api"}}, "forward": {"upstream": "echo"},
                "policies": [{"jwt": policy}],
            },
            {"name": "open", "match": {"path": {"exact": "/open"}}, "respond": {"body": "open"}},
        ],
    })
}

fn discovered(issuer: &Issuer, keys: Value) -> Value {
    let mut keys = keys;
    keys["discovery"] = json!({});
    json!({"issuers": [{"issuer": issuer.name(), "audiences": ["api"], "keys": keys}]})
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "api", "sub": "ann", "exp": now() + 300})
}

fn ask(node: &Node, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    node.send(&Request { headers: &[("authorization", &bearer)], ..Request::get("/api/x") })
}

fn reason(response: &Response) -> String {
    response.json()["reason"].as_str().unwrap_or_default().to_string()
}

#[test]
fn keys_that_rotate_under_load_reject_no_valid_token() {
    let (issuer, upstream) = (Issuer::start(), Upstream::echo("echo"));
    let first = Signer::new("first");
    issuer.publish(&[&first]);
    let folder = tempfile::tempdir().unwrap();
    let policy = discovered(&issuer, json!({"refetch": "100ms"}));
    let node = node(folder.path(), &configuration(&upstream, &policy), &ALLOW);
    let stop = AtomicBool::new(false);
    let signer = std::sync::Mutex::new(first);
    let statuses = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (stop, signer, node, issuer) = (&stop, &signer, &node, &issuer);
                scope.spawn(move || {
                    let mut connection = Connection::open(node.traffic).unwrap();
                    let mut statuses = BTreeMap::<u16, usize>::new();
                    for n in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut claims = claims(&issuer.name());
                        claims["jti"] = format!("{client}-{n}").into();
                        let token = signer.lock().unwrap().sign(&claims);
                        let bearer = format!("Bearer {token}");
                        let headers = [("authorization", bearer.as_str())];
                        let request = Request { headers: &headers, ..Request::get("/api/x") };
                        let response = connection.send(&request).unwrap();
                        *statuses.entry(response.status).or_default() += 1;
                        assert_eq!(response.status, 200, "{}", response.text());
                    }
                    statuses
                })
            })
            .collect();
        for round in 0..10 {
            // Published with the old one, as issuers do, and used at once.
            let next = Signer::new(&format!("next-{round}"));
            let mut current = signer.lock().unwrap();
            issuer.publish(&[&current, &next]);
            *current = next;
            drop(current);
            let loads = issuer.loads();
            eventually("the new key is used", || (issuer.loads() > loads).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let sent: usize = statuses.iter().flat_map(BTreeMap::values).sum();
    assert!(sent >= 40, "{sent} requests are no load");
}

#[test]
fn an_issuer_that_is_down_stops_nobody_who_is_known_and_no_other_route() {
    let (issuer, upstream) = (Issuer::start(), Upstream::echo("echo"));
    let signer = Signer::new("k");
    issuer.publish(&[&signer]);
    issuer.set_down(true);
    let folder = tempfile::tempdir().unwrap();
    let policy = discovered(&issuer, json!({"refresh": "200ms", "refetch": "100ms"}));
    // The node is ready without the issuer, and serves what does not need it.
    let node = node(folder.path(), &configuration(&upstream, &policy), &ALLOW);
    assert_eq!(node.get("/open").status, 200);
    let token = signer.sign(&claims(&issuer.name()));
    let response = ask(&node, &token);
    assert_eq!((response.status, reason(&response)), (503, "token_keys_unavailable".into()), "{}", response.text());
    assert!(response.header("retry-after").is_some());
    // What is wrong in any case is.
    let mut expired = claims(&issuer.name());
    expired["exp"] = 1.into();
    assert_eq!(ask(&node, &signer.sign(&expired)).status, 401);

    issuer.set_down(false);
    eventually("the keys are there", || (ask(&node, &token).status == 200).then_some(()));
    issuer.set_down(true);
    let loads = issuer.loads();
    eventually("the issuer was asked in vain", || (issuer.loads() > loads + 2).then_some(()));
    // One that was seen, one that was not, and one by a key that may have come.
    assert_eq!(ask(&node, &token).status, 200);
    let mut other = claims(&issuer.name());
    other["sub"] = "bob".into();
    assert_eq!(ask(&node, &signer.sign(&other)).status, 200);
    let began = Instant::now();
    let response = ask(&node, &Signer::new("new").sign(&claims(&issuer.name())));
    assert_eq!((response.status, reason(&response)), (503, "token_keys_unavailable".into()));
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for an issuer that is down");
    let metrics = node.metrics();
    let loads = |result: &str| {
        let place = format!("{}/.well-known/openid-configuration", issuer.name());
        let series = format!("portico_issuer_keys_loads_total{{place=\"{place}\",result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(loads("loaded") >= 1 && loads("failed") >= 2, "{metrics}");
}

#[test]
fn a_flood_of_bogus_keys_asks_the_issuer_now_and_then() {
    let (issuer, upstream) = (Issuer::start(), Upstream::echo("echo"));
    let signer = Signer::new("k");
    issuer.publish(&[&signer]);
    let folder = tempfile::tempdir().unwrap();
    let policy = discovered(&issuer, json!({"refetch": "1s"}));
    let node = node(folder.path(), &configuration(&upstream, &policy), &ALLOW);
    let token = signer.sign(&claims(&issuer.name()));
    eventually("the keys are there", || (ask(&node, &token).status == 200).then_some(()));
    let (began, loads) = (Instant::now(), issuer.loads());
    thread::scope(|scope| {
        let (issuer, node) = (&issuer, &node);
        for client in 0..50 {
            scope.spawn(move || {
                for n in 0..3 {
                    let bogus = Signer::new(&format!("bogus-{client}-{n}")).sign(&claims(&issuer.name()));
                    let response = ask(node, &bogus);
                    assert_eq!((response.status, reason(&response)), (401, "token_key_unknown".into()));
                    // It is remembered that it is bogus.
                    assert_eq!(ask(node, &bogus).status, 401);
                }
            });
        }
        // Who is known is served meanwhile.
        assert_eq!(ask(node, &token).status, 200);
    });
    let most = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    assert!(issuer.loads() - loads <= most, "{} loads, and {most} are enough", issuer.loads() - loads);
}

#[test]
fn a_key_server_that_lies_or_leads_astray_is_not_believed() {
    let (issuer, inside, upstream) = (Issuer::start(), Issuer::start(), Upstream::echo("echo"));
    let signer = Signer::new("k");
    inside.publish(&[&signer]);
    let folder = tempfile::tempdir().unwrap();
    let keys = |url: &str| {
        json!({"issuers": [
            {"issuer": "https://a", "any_audience": true, "keys": {"jwks_url": url, "refresh": "200ms", "refetch": "100ms"}},
        ]})
    };
    let check = |document: Vec<u8>, logged: &str| {
        issuer.serve(document);
        let policy = keys(&format!("{}/keys", issuer.name()));
        let node = node(folder.path(), &configuration(&upstream, &policy), &ALLOW);
        let response = ask(&node, &signer.sign(&claims("https://a")));
        assert_eq!(response.status, 503, "{}", response.text());
        eventually("the log tells why", || node.log().contains(logged).then_some(()));
    };
    let answer = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
    };
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}/keys\r\ncontent-length: 0\r\n\r\n", inside.name());
    check(redirect.into_bytes(), "redirects are not followed");
    check(answer(&"x".repeat(300 * 1024)), "more than 262144 bytes");
    check(answer("<html>"), "no set of keys");
    check(answer("{\"keys\": []}"), "no key in it");
    check(answer("{\"keys\": [{\"kty\": \"oct\", \"kty\": \"RSA\"}]}"), "twice");
    assert_eq!(inside.loads(), 0);

    // An issuer that says it is another.
    inside.set_name("https://somebody.else");
    let mut policy = discovered(&inside, json!({}));
    policy["issuers"][0]["issuer"] = format!("http://{}", inside.address()).into();
    let lied = node(folder.path(), &configuration(&upstream, &policy), &ALLOW);
    eventually("the log tells why", || lied.log().contains("byte for byte").then_some(()));

    // Nothing inside is asked without leave.
    let loads = inside.loads();
    let policy = keys(&format!("http://{}/keys", inside.address()));
    let node = node(folder.path(), &configuration(&upstream, &policy), &[]);
    eventually("the log tells why", || node.log().contains("is not public").then_some(()));
    assert_eq!(inside.loads(), loads);
}

#[test]
fn what_upstreams_see_of_a_token_is_what_the_configuration_says() {
    let upstream = Upstream::echo("echo");
    let secret = "a-secret-of-both-that-has-32-byte";
    let policy = json!({
        "issuers": [{"issuer": "https://a", "audiences": ["api"], "keys": {"secret": {"value": secret}}}],
        "strip": true,
        "from": [{"header": {}}, {"cookie": "token"}, {"query": "access_token"}],
    });
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &configuration(&upstream, &policy), &[]);
    let token = Signer::secret(secret).sign(&claims("https://a"));
    let seen = |request: &Request<'_>| {
        let response = node.send(request);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let header = |seen: &Value, name: &str| {
        let headers = seen["headers"].as_array().unwrap();
        headers.iter().find(|header| header[0] == name).map(|header| header[1].as_str().unwrap().to_string())
    };
    let bearer = format!("bearer  {token}");
    let told = seen(&Request { headers: &[("authorization", &bearer)], ..Request::get("/api/x?a=1") });
    assert_eq!((header(&told, "authorization"), told["target"].as_str()), (None, Some("/api/x?a=1")));
    let cookie = format!("a=1; token={token}; b=2");
    let told = seen(&Request { headers: &[("cookie", &cookie)], ..Request::get("/api/x") });
    assert_eq!(header(&told, "cookie").as_deref(), Some("a=1; b=2"));
    let target = format!("/api/x?a=1&access_token={token}&b=2");
    assert_eq!(seen(&Request::get(&target))["target"], "/api/x?a=1&b=2");

    let refused = |request: &Request<'_>, status: u16, reason: &str, challenge: &str| {
        let response = node.send(request);
        assert_eq!((response.status, response.json()["reason"].as_str()), (status, Some(reason)));
        assert_eq!(response.header("www-authenticate"), Some(challenge));
    };
    refused(&Request::get("/api/x"), 401, "unauthenticated", "Bearer realm=\"jwt\"");
    let basic = [("authorization", "Basic YTpi")];
    refused(&Request { headers: &basic, ..Request::get("/api/x") }, 401, "unauthenticated", "Bearer realm=\"jwt\"");
    refused(
        &Request { headers: &[("authorization", "Bearer x")], ..Request::get("/api/x") },
        401,
        "token_malformed",
        "Bearer realm=\"jwt\", error=\"invalid_token\", \
         error_description=\"the token is not three parts of base64url\"",
    );
    let two = [("authorization", bearer.as_str()), ("authorization", "Bearer x")];
    refused(
        &Request { headers: &two, ..Request::get("/api/x") },
        400,
        "token_repeated",
        "Bearer realm=\"jwt\", error=\"invalid_request\", \
         error_description=\"the request carries more than one token where one can be; send one\"",
    );
    let metrics = node.metrics();
    assert!(metrics.contains("portico_token_lookups_total{result=\"hit\"} 2"), "{metrics}");
    assert!(metrics.contains("portico_tokens_known 1"), "{metrics}");
}

#[test]
fn what_a_token_claims_is_told_as_utf8_or_not_at_all() {
    let upstream = Upstream::echo("echo");
    let secret = "a-secret-of-both-that-has-32-byte";
    let policy = json!({
        "issuers": [{"issuer": "https://a", "audiences": ["api"], "keys": {"secret": {"value": secret}}}],
    });
    let mut configuration = configuration(&upstream, &policy);
    let headers = json!([{"name": "x-user", "value": "{claims.name}"}, {"name": "x-roles", "value": "{claims.roles}"}]);
    let policies = configuration["routes"][0]["policies"].as_array_mut().unwrap();
    policies.push(json!({"request_headers": {"set": headers}}));
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &configuration, &[]);
    let ask = |name: &str, roles: &[&str]| {
        let mut claims = claims("https://a");
        (claims["name"], claims["roles"]) = (name.into(), roles.into());
        let bearer = format!("Bearer {}", Signer::secret(secret).sign(&claims));
        let claimed = [("authorization", bearer.as_str()), ("x-user", "eve"), ("x_roles", "admin")];
        node.send(&Request { headers: &claimed, ..Request::get("/api/x") })
    };
    for (name, roles, told) in [
        ("Zo\u{eb} \u{6771}\u{4eac}", &["l\u{e9}ger", "b"][..], "l\u{e9}ger,b"),
        // Bytes of it are control characters to whoever reads Latin-1.
        ("\u{c5}x\u{85}y", &["a"], "a"),
    ] {
        let response = ask(name, roles);
        assert_eq!(response.status, 200, "{}", response.text());
        let seen = response.json();
        let headers = seen["headers"].as_array().unwrap();
        let of = |wanted: &str| {
            let alike = |header: &&Value| header[0].as_str().unwrap().replace('_', "-") == wanted;
            headers.iter().filter(alike).map(|header| header[1].as_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((of("x-user"), of("x-roles")), (vec![name], vec![told]));
    }
    for (name, roles) in [("a\r\nx-admin: 1", &["a"][..]), ("a\0", &["a"]), ("a", &["a,admin"]), ("a\u{7f}", &["a"])] {
        let refused = ask(name, roles);
        assert_eq!((refused.status, reason(&refused).as_str()), (400, "request_headers"), "{name:?} {roles:?}");
    }
}
