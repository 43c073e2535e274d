//! Tokens and roles, by bytes.

use super::{Answer, Api, route, until, upstream};
use crate::{
    api::{openapi, roles},
    author::{ROLES, Role},
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::collections::BTreeSet;

// === impl Api ===

impl Api {
    /// Makes a token, and returns it.
    pub(super) async fn token(&self, name: &str, role: &str) -> String {
        let made = self.post("/v1/tokens", &json!({"name": name, "role": role})).await.check(201).json();
        made["token"].as_str().unwrap().to_owned()
    }

    /// Sends a request with that token.
    pub(super) async fn as_holder(&self, token: &str, method: &str, target: &str, body: impl Into<Bytes>) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.call(method, target, &headers, body).await
    }
}

#[test]
fn every_call_of_the_document_has_a_row_and_every_row_a_call() {
    let document = openapi::document();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation.get("security").unwrap_or_else(|| panic!("{method} {path} says no role"));
            if *security != json!([]) {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let rows: Vec<(String, String)> = roles::rows().map(|(method, path, _)| (method.to_owned(), path)).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), described);
    assert_eq!(rows.len(), described.len(), "a call has two rows");
}

#[tokio::test]
async fn each_call_is_for_its_role_and_those_above() {
    let api = Api::start().await;
    let mut tokens = Vec::new();
    for role in ROLES {
        tokens.push((role, api.token(role.as_str(), role.as_str()).await));
    }
    let mut tried = 0;
    for (method, path, needed) in roles::rows() {
        let target = path.replace("{revision}", "0").replace(['{', '}'], "");
        for (role, token) in &tokens {
            let answer = api.as_holder(token, method, &target, "").await;
            assert_ne!(answer.status, 401, "{method} {path} as {role}");
            if *role < needed {
                let problem = answer.check_problem(403, "forbidden");
                assert_eq!(problem["role"], needed.as_str(), "{method} {path} as {role}");
            } else {
                assert_ne!(answer.status, 403, "{method} {path} as {role}");
            }
            tried += 1;
        }
    }
    assert!(tried > 90, "{tried}");
    // A method that no row is for is not for a viewer either.
    let viewer = &tokens[0].1;
    api.as_holder(viewer, "TRACE", "/v1/routes", "").await.check_problem(403, "forbidden");
    api.as_holder(viewer, "HEAD", "/v1/routes", "").await.check(200);
    assert_eq!(roles::of_call("GET", "/v1/nope"), None);
    assert_eq!(roles::of_call("HEAD", "/v1/audit"), Some(Role::Admin));
}

#[tokio::test]
async fn a_token_is_told_once_and_kept_by_nobody() {
    let api = Api::start().await;
    let asked = json!({"name": "deploy", "role": "editor", "expires_in": "90d"});
    let answer = api.post("/v1/tokens", &asked).await.check(201);
    assert_eq!((answer.header("location"), answer.header("cache-control")), ("/v1/tokens/deploy", "no-store"));
    let made = answer.json();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("portico_") && token.len() == 57, "{token}");
    assert_eq!((&made["role"], &made["created_by"]), (&json!("editor"), &json!("bootstrap")));
    assert_eq!(made["last_used_at"], Value::Null);

    api.as_holder(token, "PUT", "/v1/upstreams/a", upstream().to_string()).await.check(201);
    assert_eq!(api.get("/v1/revisions/1").await.json()["author"], "deploy");
    let kept = api.get("/v1/tokens/deploy").await.check(200).json();
    assert!(kept["last_used_at"].is_string() && kept["expires_at"].is_string(), "{kept}");
    for target in ["/v1/tokens", "/v1/tokens/deploy", "/v1/audit", "/v1/export", "/metrics", "/v1/revisions"] {
        let answer = api.get(target).await.check(200);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(token) && !text.contains("digest"), "{target}: {text}");
    }

    api.delete("/v1/tokens/deploy").await.check(204);
    let problem = api.as_holder(token, "GET", "/v1/upstreams", "").await.check_problem(401, "unauthorized");
    assert!(problem["detail"].as_str().unwrap().contains("no such token"), "{problem}");
    api.get("/v1/tokens/deploy").await.check_problem(404, "not-found");
    api.delete("/v1/tokens/deploy").await.check_problem(404, "not-found");
    // One may take itself away.
    let itself = api.token("itself", "admin").await;
    api.as_holder(&itself, "DELETE", "/v1/tokens/itself", "").await.check(204);
    api.as_holder(&itself, "GET", "/v1/routes", "").await.check_problem(401, "unauthorized");
    // Another one of the name is another one.
    assert_ne!(api.token("deploy", "editor").await, token);
    api.as_holder(token, "GET", "/v1/upstreams", "").await.check_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_token_that_has_ended_opens_nothing() {
    let api = Api::start().await;
    let asked = json!({"name": "short", "role": "viewer", "expires_in": "300ms"});
    let made = api.post("/v1/tokens", &asked).await.check(201).json();
    let token = made["token"].as_str().unwrap();
    until(|| async { api.as_holder(token, "GET", "/v1/routes", "").await.status == 401 }).await;
    let problem = api.as_holder(token, "GET", "/v1/routes", "").await.check_problem(401, "unauthorized");
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
    // It is listed until somebody deletes it.
    assert_eq!(api.get("/v1/tokens").await.json()["tokens"][0]["name"], "short");
}

#[tokio::test]
async fn all_faults_of_a_token_come_at_once_and_a_name_is_taken_once() {
    let api = Api::start().await;
    let asked = json!({"name": "No", "role": "edit", "expires_at": "soon", "rôle": 1});
    let problem = api.post("/v1/tokens", &asked).await.check_problem(422, "invalid-fields");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 4, "{problem}");
    assert!(problem.to_string().contains("did you mean \\\"editor\\\"?"), "{problem}");
    api.token("one", "viewer").await;
    let again = json!({"name": "one", "role": "admin"});
    api.post("/v1/tokens", &again).await.check_problem(409, "name-taken");
    api.post("/v1/tokens?name=x", &again).await.check_problem(400, "invalid-request");
    api.get("/v1/tokens/No").await.check_problem(404, "not-found");
}

#[tokio::test]
async fn tokens_are_paged_by_name() {
    let api = Api::start().await;
    for name in ["c", "a", "d", "b"] {
        api.token(name, "viewer").await;
    }
    let first = api.get("/v1/tokens?page_size=3").await.check(200).json();
    let names = |page: &Value| -> Vec<String> {
        page["tokens"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first), ["a", "b", "c"]);
    let next = first["next_page_token"].as_str().unwrap();
    let second = api.get(&format!("/v1/tokens?page_size=3&page_token={next}")).await.check(200).json();
    assert_eq!((names(&second), &second["next_page_token"]), (vec!["d".to_owned()], &json!("")));
}

#[tokio::test]
async fn a_token_in_an_odd_form_is_taken_or_refused_and_nothing_else() {
    let api = Api::start().await;
    let token = api.token("a", "viewer").await;
    let mut cut = token.clone();
    cut.pop();
    let other = if &token[20..21] == "x" { "y" } else { "x" };
    let swapped = format!("{}{other}{}", &token[..20], &token[21..]);
    let long = format!("Bearer {}", "x".repeat(60_000));
    let long_token = format!("Bearer {token}{}", "0".repeat(50_000));
    let cases: [(u16, Vec<u8>); 17] = [
        (200, format!("Bearer {token}").into()),
        (200, format!("bearer {token}").into()),
        (200, format!("BEARER   {token} ").into()),
        (401, token.clone().into()),
        (401, format!("Bearer{token}").into()),
        (401, format!("Bearer\t{token}").into()),
        (401, format!("Basic {token}").into()),
        (401, format!("Bearer {cut}").into()),
        (401, format!("Bearer {swapped}").into()),
        (401, format!("Bearer {}", token.to_uppercase()).into()),
        (401, format!("Bearer {token}, Bearer {token}").into()),
        (401, format!("Bearer \"{token}\"").into()),
        (401, b"Bearer ".to_vec()),
        (401, b"Bearer \xff\xfe\x80".to_vec()),
        (401, b"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 x".to_vec()),
        (401, long.into()),
        (401, long_token.into()),
    ];
    for (status, value) in cases {
        let request = Request::get("/v1/routes").header("host", "x").header("authorization", value.as_slice());
        let answer = api.send(request.body(Full::default()).unwrap()).await;
        let shown = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        assert_eq!(answer.status, status, "{shown}");
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"portico\"");
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!body.contains(&token) && !body.contains(&cut), "{body}");
        }
    }
    // Two headers, each of them good.
    let authorization = format!("Bearer {token}");
    let twice = Request::get("/v1/routes").header("host", "x");
    let twice = twice.header("authorization", &authorization).header("authorization", &authorization);
    api.send(twice.body(Full::default()).unwrap()).await.check_problem(401, "unauthorized");
    // Nor in another place.
    for target in [format!("/v1/routes?access_token={token}"), format!("/v1/routes?token={token}")] {
        api.call("GET", &target, &[("authorization", "")], "").await.check_problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn no_header_and_no_spelling_of_a_path_gives_a_role() {
    let api = Api::start().await;
    let token = api.token("a", "viewer").await;
    let authorization = format!("Bearer {token}");
    let made = json!({"name": "mine", "role": "admin"}).to_string();
    for header in ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"] {
        for value in ["GET", "/v1/routes"] {
            let headers =
                [("authorization", authorization.as_str()), ("content-type", "application/json"), (header, value)];
            api.call("POST", "/v1/tokens", &headers, made.clone()).await.check_problem(403, "forbidden");
            api.call("DELETE", "/v1/routes/x", &headers, "").await.check_problem(403, "forbidden");
        }
    }
    let headers = [("authorization", authorization.as_str()), ("x-http-method-override", "DELETE")];
    api.put("/v1/upstreams/u", &upstream()).await.check(201);
    api.call("GET", "/v1/upstreams/u", &headers, "").await.check(200);
    api.get("/v1/upstreams/u").await.check(200);
    for target in [
        "/v1//tokens",
        "//v1/tokens",
        "/v1/tokens/",
        "/v1/%74okens",
        "/v1%2Ftokens",
        "/V1/tokens",
        "/v1/./tokens",
        "/v1/routes/../tokens",
        "/v1/routes/%2e%2e/tokens",
        "/v1/tokens;x",
        "/v1/routes/..%2ftokens",
        "/v1/tokens%00",
    ] {
        for (method, body) in [("GET", String::new()), ("POST", made.clone()), ("DELETE", String::new())] {
            let answer = api.as_holder(&token, method, target, body).await;
            assert!([400, 403, 404, 405].contains(&answer.status.as_u16()), "{method} {target}: {answer:?}");
        }
    }
    // A form that asks for another method in its body or query is none.
    api.as_holder(&token, "POST", "/v1/routes?_method=GET", "").await.check_problem(403, "forbidden");
    assert_eq!(api.get("/v1/tokens").await.json()["tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_is_its_token_s_own() {
    let api = Api::start().await;
    let (one, two) = (api.token("one", "editor").await, api.token("two", "editor").await);
    let body = json!({"endpoints": [{"address": "127.0.0.1:1"}]}).to_string();
    let create = async |token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "once"),
        ];
        api.call("POST", "/v1/upstreams", &headers, body.clone()).await.check(201)
    };
    let (first, other) = (create(&one).await, create(&two).await);
    assert_ne!(first.header("location"), other.header("location"));
    assert!(!other.headers.contains_key("idempotency-replayed"));
    let again = create(&one).await;
    assert_eq!((again.header("location"), again.header("idempotency-replayed")), (first.header("location"), "true"));
    // A token of the same name is another one.
    api.delete("/v1/tokens/one").await.check(204);
    let one = api.token("one", "editor").await;
    assert!(!create(&one).await.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn tokens_that_are_known_read_while_the_database_is_away() {
    let api = Api::start().await;
    let token = api.token("a", "viewer").await;
    api.state.store.close().await;
    until(|| async { api.get("/readyz").await.status == 503 }).await;
    let answer = api.as_holder(&token, "GET", "/v1/routes", "").await.check(200);
    assert_eq!(answer.header("portico-stale"), "true");
    assert_eq!(api.get("/v1/tokens").await.check(200).json()["tokens"][0]["name"], "a");
    let asked = json!({"name": "b", "role": "viewer"});
    let answer = api.post("/v1/tokens", &asked).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.check_problem(503, "unavailable");
    api.delete("/v1/tokens/a").await.check_problem(503, "unavailable");
    api.get("/v1/audit").await.check_problem(503, "unavailable");
    api.as_holder(&token, "GET", "/v1/routes", "").await.check(200);
}

#[tokio::test]
async fn refusals_are_counted() {
    let api = Api::start().await;
    let viewer = api.token("a", "viewer").await;
    api.call("GET", "/v1/routes", &[("authorization", "Bearer x")], "").await.check(401);
    api.as_holder(&viewer, "PUT", "/v1/routes/r", route("/", "u").to_string()).await.check(403);
    api.put("/v1/routes/r", &route("/", "nowhere")).await.check(422);
    let metrics = api.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "portico_api_refused_total{status=\"401\"} 1",
        "portico_api_refused_total{status=\"403\"} 1",
        "portico_api_refused_total{status=\"422\"} 1",
        "portico_tokens 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert_eq!(api.get("/v1/audit").await.json()["audit"].as_array().unwrap().len(), 1, "only the token's making");
}

#[tokio::test]
async fn a_node_is_revoked_once_and_admitted_again() {
    let api = Api::start().await;
    let revoked = api.post("/v1/nodes/n-1/revoke", &json!({})).await.check(200).json();
    assert_eq!((&revoked["id"], &revoked["revoked_by"]), (&json!("n-1"), &json!("bootstrap")));
    assert_eq!(api.call("POST", "/v1/nodes/n-1/revoke", &[], "").await.check(200).json(), revoked);
    api.call("POST", "/v1/nodes/n%2F2/revoke", &[], "").await.check(200);
    let page = api.get("/v1/revocations?page_size=1").await.check(200).json();
    assert_eq!(page["revocations"], json!([revoked]));
    let next = page["next_page_token"].as_str().unwrap();
    let page = api.get(&format!("/v1/revocations?page_token={next}")).await.check(200).json();
    assert_eq!(page["revocations"][0]["id"], "n/2");
    for id in ["", "%20", "%C3%A9", &"x".repeat(65)] {
        api.call("POST", &format!("/v1/nodes/{id}/revoke"), &[], "").await.check(404);
    }
    api.call("POST", "/v1/nodes/n-1/readmit", &[], "").await.check(204);
    api.call("POST", "/v1/nodes/n-1/readmit", &[], "").await.check_problem(404, "not-found");
    let audit = api.get("/v1/audit?resource=node/n-1").await.json();
    let told: Vec<&Value> = audit["audit"].as_array().unwrap().iter().map(|line| &line["changes"][0]["done"]).collect();
    assert_eq!(told, ["readmitted", "revoked"]);
}
