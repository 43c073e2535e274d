//! API keys from their making to their end: in each place, under traffic, over restarts, and without a control plane.

use crate::harness::{
    admin::TOKEN,
    http::{Connection, Request, Response},
    stack::{ControlPlane, Node, folder},
    upstream::Upstream,
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

const OF_ACME: &str = "/v1/consumers/acme/credentials";

/// `printf a-key-of-somebody | openssl dgst -sha256 -hmac pppppppppppppppppppppppppppppppp`.
const DIGEST: &str = "b576e7b90328bdf1442a8884a65f52f39a7567663d43b5e0dad520c680daa23b";

/// A route that wants a key, and one that takes it from everywhere and keeps it.
fn configure(control_plane: &ControlPlane, echo: &Upstream) {
    let from = json!([{"query": "key"}, {"cookie": "key"}, {"bearer": {}}]);
    let body = json!({
        "upstreams": [{"name": "echo", "endpoints": [{"address": echo.address.to_string()}]}],
        "consumers": [{"name": "acme", "groups": ["gold"]}],
        "routes": [
            {"name": "shop", "match": {"path": {"prefix": "/shop"}}, "forward": {"upstream": "echo"},
             "policies": [{"api_key": {}}]},
            {"name": "places", "match": {"path": {"prefix": "/places"}}, "forward": {"upstream": "echo"},
             "policies": [{"api_key": {"from": from}}]},
            {"name": "kept", "match": {"path": {"prefix": "/kept"}}, "forward": {"upstream": "echo"},
             "policies": [
                 {"api_key": {"from": [{"header": "x-acme"}], "strip": false, "optional": true}},
                 {"access_log": {"request_headers": ["x-acme"]}},
             ]},
        ],
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
}

fn make(control_plane: &ControlPlane, path: &str, body: &Value) -> String {
    let made = control_plane.admin.ok("POST", &format!("{path}?wait=all"), Some(body));
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

fn with(node: &Node, target: &str, header: (&str, &str)) -> Response {
    node.send(&Request { headers: &[header], ..Request::get(target) })
}

fn status(node: &Node, key: &str) -> u16 {
    with(node, "/shop", ("x-api-key", key)).status
}

#[test]
fn a_key_opens_where_it_is_read_and_nobody_behind_sees_it() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let log = folder.path().join("access.log");
    let mut node = control_plane.node_with(&["--access-log", log.to_str().unwrap()]);
    node.restart();
    let echo = Upstream::echo("echo");
    configure(&control_plane, &echo);
    let key = make(&control_plane, OF_ACME, &json!({"id": "billing"}));

    let seen = |response: Response| {
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(!response.text().contains(&key), "{}", response.text());
        response.json()
    };
    seen(with(&node, "/shop?a=%20b&c", ("x-api-key", &key)));
    assert_eq!(seen(node.get(&format!("/places?a=%20b&key={key}&c")))["target"], "/places?a=%20b&c");
    let cookies = seen(with(&node, "/places", ("cookie", &format!("a=b; key={key}; c=d"))));
    assert!(cookies.to_string().contains("a=b; c=d"), "{cookies}");
    seen(with(&node, "/places", ("authorization", &format!("Bearer {key}"))));
    let refused = with(&node, "/places", ("authorization", "Bearer another"));
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"api-key\"")));
    assert!(with(&node, "/kept", ("x-acme", &key)).text().contains(&key));
    assert_eq!(node.get("/kept").status, 200);

    // Without one, and with whatever is no good one.
    let absent = node.get("/shop");
    assert_eq!((absent.status, absent.json()["reason"].clone()), (401, json!("unauthenticated")));
    assert_eq!(absent.header("www-authenticate"), Some("ApiKey realm=\"api-key\""));
    let told: Vec<Value> = ["x", "ptk_unknown", &key[1..]]
        .map(|wrong| {
            let refused = with(&node, "/shop", ("x-api-key", wrong));
            assert_eq!(refused.status, 401);
            json!([refused.json()["reason"], refused.json()["detail"]])
        })
        .to_vec();
    assert!(told.iter().all(|each| *each == told[0]), "{told:?}");
    assert_eq!(with(&node, "/kept", ("x-acme", "almost-a-key")).status, 401);
    // Nobody is somebody by saying so.
    assert_eq!(with(&node, "/shop", ("x-consumer-username", "acme")).status, 401);

    let lines = eventually("all of it is logged", || {
        let lines = fs::read_to_string(&log).ok()?;
        (lines.lines().count() >= 13).then_some(lines)
    });
    // Not even where the operator has the header logged.
    assert!(!lines.contains("almost-a-key") && lines.contains("[redacted]"), "{lines}");
    assert!(!lines.contains(&key) && lines.contains("\"user.id\":\"acme/billing\",\"consumer\":\"acme\""), "{lines}");
    let refused = lines.lines().filter(|line| line.contains("api_key_invalid")).count();
    assert_eq!(refused, 5, "{lines}");
    // What a node would do with a key is told without sending it.
    for (key, decision) in [(key.as_str(), "continue"), ("x", "stop")] {
        let asked = json!({"request": {"url": "/shop", "headers": [{"name": "x-api-key", "value": key}]}});
        let told = control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json();
        assert_eq!(told["policies"][0]["decision"], decision, "{told:#}");
    }
}

#[test]
fn keys_are_exchanged_under_traffic_without_one_refusal_and_revoked_at_once() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    configure(&control_plane, &echo);
    let first = make(&control_plane, OF_ACME, &json!({"id": "k0"}));
    let (key, stop, sent) = (Mutex::new(first.clone()), AtomicBool::new(false), AtomicU64::new(0));
    let client = || {
        let mut connection = Connection::open(node.traffic).unwrap();
        while !stop.load(SeqCst) {
            let key = key.lock().unwrap().clone();
            let headers = [("x-api-key", key.as_str())];
            let answer = connection.send(&Request { headers: &headers, ..Request::get("/shop") }).unwrap();
            if answer.status != 200 {
                return Err(answer.text());
            }
            sent.fetch_add(1, SeqCst);
        }
        Ok(())
    };
    let mut keys = vec![first];
    let outcomes = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        for at in 1..=20 {
            let path = format!("{OF_ACME}/k{}/rotate", at - 1);
            let made = make(&control_plane, &path, &json!({"id": format!("k{at}"), "overlap": "1h"}));
            keys.push(made.clone());
            *key.lock().unwrap() = made;
            let wanted = sent.load(SeqCst) + 20;
            let goes_on = || sent.load(SeqCst) >= wanted || clients.iter().any(|client| client.is_finished());
            eventually("requests go on", || goes_on().then_some(()));
        }
        stop.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(outcomes, vec![Ok(()); 4], "after {} requests", sent.load(SeqCst));
    // All of them overlap; one that is revoked opens nothing from the answer on, and the others are as they were.
    assert!(keys.iter().all(|key| status(&node, key) == 200));
    control_plane.admin.ok("DELETE", &format!("{OF_ACME}/k20?wait=all"), None);
    assert_eq!(status(&node, &keys[20]), 401);
    assert!(keys[..20].iter().all(|key| status(&node, key) == 200));
    // Without an overlap the old one is gone with the new one.
    let last = make(&control_plane, &format!("{OF_ACME}/k19/rotate"), &json!({"overlap": "0s"}));
    assert_eq!((status(&node, &keys[19]), status(&node, &last)), (401, 200));
    // And with the consumer all of them are.
    control_plane.admin.ok("DELETE", "/v1/consumers/acme?wait=all", None);
    assert_eq!((status(&node, &keys[0]), status(&node, &last)), (401, 401));
}

#[test]
fn a_key_expires_and_the_others_outlast_the_control_plane() {
    let mut control_plane = ControlPlane::start();
    let mut node = control_plane.node();
    let echo = Upstream::echo("echo");
    configure(&control_plane, &echo);
    let lasting = make(&control_plane, OF_ACME, &json!({}));
    let later = json!({"not_before": "2100-01-01T00:00:00Z"});
    assert_eq!(status(&node, &make(&control_plane, OF_ACME, &later)), 401);
    let brief = make(&control_plane, OF_ACME, &json!({"expires_in": "3s"}));
    assert_eq!(status(&node, &brief), 200);
    eventually("it expires", || (status(&node, &brief) == 401).then_some(()));
    assert_eq!(status(&node, &lasting), 200);
    eventually("the revision is on the node's disk", || {
        let running = control_plane.admin.get("/v1/nodes")["nodes"][0]["running"].clone();
        (running["persisted"] == true).then_some(())
    });
    control_plane.kill();
    node.kill();
    node.restart();
    assert_eq!((status(&node, &lasting), status(&node, &brief), status(&node, "x")), (200, 401, 401));
}

#[test]
fn a_node_without_a_control_plane_digests_the_keys_of_its_file() {
    let folder = folder();
    fs::write(folder.path().join("pepper"), "p".repeat(32) + "\n").unwrap();
    fs::write(folder.path().join("key"), "a-key-that-was-made-elsewhere\n").unwrap();
    let text = |digest: &str| {
        format!(
            "keyrings: [{{name: api-keys, pepper: {{file: pepper}}}}]\n\
             consumers: [{{name: acme, credentials: [\n\
               {{id: one, api_key: {{key: {{file: key}}}}}},\n\
               {{id: two, api_key: {{digest: {digest}}}}}]}}]\n\
             routes: [{{name: shop, respond: {{body: open}}, policies: [{{api_key: {{}}}}]}}]\n"
        )
    };
    let file = folder.path().join("portico.yaml");
    fs::write(&file, text(DIGEST)).unwrap();
    let mut node = Node::of(&["--config", file.to_str().unwrap()]);
    node.restart();
    for (key, expect) in [("a-key-that-was-made-elsewhere", 200), ("a-key-of-somebody", 200), ("a-key", 401)] {
        assert_eq!(status(&node, key), expect, "{key}");
    }
    let mut broken = Node::of(&["--config", file.to_str().unwrap()]);
    fs::write(&file, text("00")).unwrap();
    broken.spawn();
    assert_eq!(broken.wait(), Some(78));
    assert!(broken.log().contains("/consumers/0/credentials/1/api_key/digest"), "{}", broken.log());
}

#[test]
fn keys_are_made_and_revoked_on_the_command_line() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let echo = Upstream::echo("echo");
    configure(&control_plane, &echo);
    let portico = |arguments: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command.args(arguments).env("PORTICO_SERVER", format!("http://{}", control_plane.admin.address));
        let output = command.env("PORTICO_TOKEN", TOKEN).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let out = |arguments: &[&str]| String::from_utf8(portico(arguments).stdout).unwrap().trim().to_owned();
    let made = portico(&["credentials", "create", "acme", "--id", "billing", "--expires-in", "90d", "--wait", "all"]);
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(key.starts_with("ptk_") && !String::from_utf8_lossy(&made.stderr).contains(&key), "{key}");
    assert_eq!(status(&node, &key), 200);
    let rotate = ["credentials", "rotate", "acme", "billing", "--id", "billing-2", "--overlap", "1h", "--wait", "all"];
    let new = out(&rotate);
    assert_eq!((status(&node, &key), status(&node, &new)), (200, 200));
    let list = out(&["credentials", "list", "acme"]);
    assert!(list.starts_with("ID ") && list.contains("billing-2") && !list.contains(&new), "{list}");
    portico(&["credentials", "revoke", "acme", "billing", "--wait", "all"]);
    assert_eq!((status(&node, &key), status(&node, &new)), (401, 200));
    assert!(out(&["get", "consumers"]).contains("acme"));
}
