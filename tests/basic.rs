//! Clients that are known by a name and a password: who comes in, what everybody else is told, and what goes on upstream.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node, folder},
    upstream::Upstream,
    wait::eventually,
};
use serde_json::{Value, json};

// Of "open-sesame", by the reference implementation: `echo -n open-sesame | argon2 saltsalt -id -t 2 -k 64 -e`.
const HASH: &str = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$Vg8IUp++4R3ekSx7Q7QX/9vk3iNDxxuVSd+1k1HRhjE";
// `ada:open-sesame`
const ADA: &str = "Basic YWRhOm9wZW4tc2VzYW1l";

fn with(node: &Node, credentials: &[&str]) -> Response {
    let headers: Vec<(&str, &str)> = credentials.iter().map(|value| ("authorization", *value)).collect();
    node.send(&Request { headers: &headers, ..Request::get("/") })
}

#[test]
fn a_password_lets_in_and_nothing_that_is_like_it() {
    let control_plane = ControlPlane::start();
    let folder = folder();
    let log = folder.path().join("access.log");
    let mut node = control_plane.node_with(&["--access-log", log.to_str().unwrap()]);
    node.restart();
    // Says whether it saw the credentials.
    let upstream = Upstream::answering(|seen| {
        let body = seen.header("authorization").unwrap_or("none");
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    control_plane.admin.route("all", "/", upstream.address);
    let users = json!([{"name": "ada", "password_hash": {"value": HASH}}]);
    let mut policy = json!({"global": {}, "basic": {"users": users, "realm": "books"}});
    control_plane.admin.ok("PUT", "/v1/policies/people?wait=all", Some(&policy));

    // The second is remembered.
    for _ in 0..2 {
        let let_in = with(&node, &[ADA]);
        assert_eq!((let_in.status, let_in.text().as_str()), (200, ADA));
    }
    assert_eq!(with(&node, &["bASIC   YWRhOm9wZW4tc2VzYW1l "]).status, 200);
    let reason = |response: &Response| {
        assert_eq!(response.status, 401);
        assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"books\", charset=\"UTF-8\""));
        let problem = response.json();
        (problem["reason"].clone(), problem["detail"].clone())
    };
    let wrong = reason(&with(&node, &["Basic YWRhOk9wZW4tc2VzYW1l"])); // ada:Open-sesame
    assert_eq!(wrong.0, "password_wrong");
    for credentials in [
        &["Basic Ym9iOm9wZW4tc2VzYW1l"][..], // bob:open-sesame
        &["Basic YWRhOm9wZW4tc2VzYW1lCg=="], // ada:open-sesame and a line end
        &["Basic YWRhOm9wZW4tc2VzYW1lOg=="], // ada:open-sesame:
        &["Basic YWRhOg=="],                 // ada:
        &["Basic YWRhOv8="],                 // ada: and no UTF-8
        &["Basic YWRh"],                     // ada
        &["Basic Og=="],                     // :
        &["Basic YWRhOm9wZW4tc2VzYW1"],
        &["Basic "],
        &["Basic ada:open-sesame"],
        &[ADA, "Bearer x"],
        &[ADA, ADA],
    ] {
        assert_eq!(reason(&with(&node, credentials)), wrong, "{credentials:?}");
    }
    for credentials in [&[][..], &["Bearer YWRhOm9wZW4tc2VzYW1l"], &["Basically YWRhOm9wZW4tc2VzYW1l"]] {
        assert_eq!(reason(&with(&node, credentials)).0, "unauthenticated", "{credentials:?}");
    }

    // Three of them had the right one, and it was checked once; what can be no credentials is not looked for.
    let metrics = node.metrics();
    for counted in ["lookups_total{result=\"hit\"} 2\n", "lookups_total{result=\"miss\"} 6\n"] {
        assert!(metrics.contains(&format!("portico_password_{counted}")), "{metrics}");
    }
    assert!(metrics.contains("portico_passwords_known 1.0\n"), "{metrics}");

    // The log knows who, and nobody is told the hash.
    eventually("the request is logged", || {
        let lines = std::fs::read_to_string(&log).ok()?;
        assert!(!lines.contains("YWRhOm9wZW4"), "{lines}");
        let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["user.id"] == "ada")
    });
    assert!(!control_plane.admin.get("/v1/policies/people").to_string().contains("argon2id"));

    // Another password counts at once, though the old one is remembered.
    let other = HASH.replace("Vg8I", "Vg9I");
    policy["basic"]["users"][0]["password_hash"]["value"] = other.into();
    control_plane.admin.ok("PUT", "/v1/policies/people?wait=all", Some(&policy));
    assert_eq!(with(&node, &[ADA]).status, 401);

    policy["basic"]["users"][0]["password_hash"]["value"] = HASH.into();
    (policy["basic"]["strip"], policy["basic"]["optional"]) = (true.into(), true.into());
    control_plane.admin.ok("PUT", "/v1/policies/people?wait=all", Some(&policy));
    assert_eq!(with(&node, &[ADA]).text(), "none");
    assert_eq!((with(&node, &[]).status, with(&node, &["Basic YWRhOg=="]).status), (200, 401));
}
