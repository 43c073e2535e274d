//! `explain` foretells what a node then does: by the configuration that it runs, by an older one, and by a draft before
//! anybody applies it.

use crate::harness::{
    admin::{Admin, TOKEN, revision},
    http::{Request, Response, send},
    stack::{ControlPlane, Node, folder},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{fs, process::Command};

fn explain(admin: &Admin, question: Value) -> Value {
    admin.ok("POST", "/v1/explain", Some(&question)).json()
}

fn api(upstream: &str) -> Value {
    json!({
        "match": {"path": {"template": "/users/{id}"}, "methods": ["GET"]},
        "forward": {"upstream": upstream, "rewrite": {"template": "/v2/{path.id}"}},
        "policies": [{"response_headers": {"set": [{"name": "x-served-by", "value": "portico"}]}}],
    })
}

#[test]
fn what_is_foretold_happens() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let admin = &control_plane.admin;
    let users = Upstream::echo("users");
    admin.put("/v1/upstreams/users", &json!({"endpoints": [{"address": users.address.to_string()}]}));
    admin.put("/v1/routes/other", &json!({"match": {"hosts": ["other.test"]}, "respond": {}}));
    admin.put("/v1/routes/api?wait=all", &api("users"));

    let request = json!({"url": "http://gateway.test/users/./7?x=1", "headers": [{"name": "connection", "value": "x-drop"},
        {"name": "x-drop", "value": "1"}]});
    let told = explain(admin, json!({"request": request}));
    let headers = [("connection", "x-drop"), ("x-drop", "1")];
    let answer = node.send(&Request { headers: &headers, ..Request::get("/users/./7?x=1") });
    let seen = answer.json();
    assert_eq!(told["revision"], 3);
    assert_eq!(told["route"], json!({"name": "api", "variables": {"id": "7"}}));
    let to = &told["forward"]["upstreams"][0];
    assert_eq!((&to["upstream"], &to["target"]), (&seen["upstream"], &seen["target"]));
    assert!(to["headers"].as_array().unwrap().contains(&json!({"name": "x-drop", "removed": {}})), "{to}");
    assert!(!seen["headers"].to_string().contains("x-drop"));
    assert_eq!(to["endpoints"][0]["address"], users.address.to_string());
    let set = &told["policies"][0]["answer_headers"][0];
    assert_eq!((set["name"].as_str(), set["set"].as_str()), (Some("x-served-by"), answer.header("x-served-by")));
    assert_eq!(told["lost"][0]["why"], "host: \"gateway.test\" is not other.test");

    // Admission, and no route.
    for (target, reason) in [("/users/%2e%2e%2fx", "path_invalid"), ("/none", "no_route")] {
        let told = explain(admin, json!({"request": {"url": format!("http://gateway.test{target}")}}));
        let answer = node.get(target);
        assert_eq!(told["refused"]["status"], answer.status);
        assert_eq!(
            (&told["refused"]["reason"], &told["refused"]["detail"]),
            (&json!(reason), &answer.json()["detail"])
        );
    }
}

#[test]
fn an_older_configuration_and_a_draft_can_be_asked_about() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let admin = &control_plane.admin;
    let respond = |status: u16| json!({"match": {"path": {"prefix": "/"}}, "respond": {"status": status}});
    let first = revision(&admin.put("/v1/routes/all", &respond(201)));
    admin.put("/v1/routes/all?wait=all", &respond(202));
    let request = json!({"url": "http://gateway.test/new"});
    let status = |question: Value| explain(admin, question)["respond"]["status"].clone();
    assert_eq!(status(json!({"request": request})), node.get("/new").status);
    assert_eq!(status(json!({"request": request, "revision": first})), 201);

    let new = json!({"name": "new", "match": {"path": {"exact": "/new"}}, "respond": {"status": 203}});
    let draft = json!({"routes": [new]});
    assert_eq!(status(json!({"request": request, "draft": draft})), 203);
    assert_eq!(node.get("/new").status, 202, "a draft is not applied");
    admin.ok("POST", "/v1/apply?wait=all", Some(&draft));
    assert_eq!(node.get("/new").status, 203);
    let wrong = json!({"request": request, "draft": {"routes": [{"name": "x", "forward": {"upstream": "none"}}]}});
    let refused = admin.send("POST", "/v1/explain", Some(&wrong));
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/draft/routes/0/forward/upstream"))
    );
}

#[test]
fn a_viewer_asks_on_the_command_line() {
    let control_plane = ControlPlane::start();
    let admin = &control_plane.admin;
    let made = admin.ok("POST", "/v1/tokens", Some(&json!({"name": "reader", "role": "viewer"}))).json();
    admin.put("/v1/routes/moved", &json!({"match": {"path": {"exact": "/old"}}, "redirect": {"host": "new.test"}}));
    let folder = folder();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command.arg("explain").args(arguments).current_dir(folder.path());
        command
            .env("PORTICO_SERVER", format!("http://{}", admin.address))
            .env("PORTICO_TOKEN", made["token"].as_str().unwrap());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, text, told) = run(&["http://a.test/old"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(text.contains("route     moved\n") && text.contains("redirect  302 http://new.test/old\n"), "{text}");
    let (_, text, _) = run(&["/old", "-H", "Host: a.test", "-X", "POST", "--client", "10.0.0.1", "-o", "json"]);
    let value: Value = text.parse().unwrap();
    assert_eq!((&value["request"]["client"], &value["request"]["method"]), (&json!("10.0.0.1"), &json!("POST")));
    fs::write(folder.path().join("draft.yaml"), "routes: [{name: moved, respond: {status: 204}}]").unwrap();
    let (_, text, _) = run(&["http://a.test/old", "--draft", "draft.yaml"]);
    assert!(text.contains("respond   204 with 0 bytes\n"), "{text}");
    let (_, text, _) = run(&["http://a.test/old", "--revision", "0"]);
    assert!(text.contains("route     none matches\nrefused   404 no_route: "), "{text}");
    fs::write(folder.path().join("draft.yaml"), "routes: [{name: x, forward: {upstream: none}}]").unwrap();
    let (code, _, told) = run(&["/", "--draft", "draft.yaml"]);
    assert!(code == Some(78) && told.contains("draft.yaml: /routes/0/forward/upstream: "), "{code:?} {told}");
    let anonymous = send(admin.address, &Request { method: "POST", ..Request::get("/v1/explain") }).unwrap();
    assert_eq!(anonymous.status, 401, "only who has a token may ask, as {TOKEN:?} does");
}

#[test]
fn tests_guard_what_the_configuration_does() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let admin = &control_plane.admin;
    let upstream = |name: &str| json!({"name": name, "endpoints": [{"address": "127.0.0.1:9"}]});
    let route = |name: &str, path: &str, upstream: &str| json!({"name": name, "match": {"path": {"prefix": path}}, "forward": {"upstream": upstream, "rewrite": {"prefix": "/"}}});
    let request = json!({"url": "http://gateway.test/orders/7"});
    let whole = json!({
        "upstreams": [upstream("orders"), upstream("web")],
        "routes": [route("orders", "/orders", "orders"), route("web", "/", "web")],
        "tests": [
            {"name": "orders", "request": request, "expect": {"route": "orders", "upstream": "orders", "target": "/7"}},
            {"name": "no-dots", "request": {"url": "http://gateway.test/a%2fb"}, "expect": {"status": 400, "reason": "path_invalid"}},
        ],
    });
    let applied = admin.ok("POST", "/v1/apply?wait=all", Some(&whole));
    assert_eq!(applied.json()["created"].as_array().unwrap().len(), 6);
    assert_ne!(applied.status, 202, "nodes take a configuration with tests: {}", applied.text());
    let before = revision(&applied);

    // A change elsewhere that takes the request away, and one that does not.
    let refused = |response: Response| -> Value {
        assert_eq!(response.status, 422, "{}", response.text());
        response.json()["errors"].clone()
    };
    let taken = json!({"match": {"path": {"exact": "/orders/7"}}, "respond": {}});
    let errors = refused(admin.send("PUT", "/v1/routes/new", Some(&taken)));
    let detail = "expected \"orders\", but \"new\" wins; \"orders\": matches too, but comes later: the other has the better \
                  kind of path: exact before template, prefix and regex";
    assert_eq!(errors[0], json!({"resource": "test/orders", "pointer": "/expect/route", "detail": detail}));
    assert_eq!(errors.as_array().unwrap().len(), 3, "upstream and target are told too: {errors}");
    let errors = refused(admin.send("DELETE", "/v1/routes/orders", None));
    assert!(
        errors[0]["detail"].as_str().unwrap().ends_with("\"web\" wins; \"orders\": there is no such route"),
        "{errors}"
    );
    let patch = json!({"routes": [route("orders", "/orders", "web")]});
    let errors = refused(admin.send("POST", "/v1/apply?dry_run=true", Some(&patch)));
    assert_eq!(errors[0]["detail"], "expected \"orders\", but it would be \"web\"");
    admin.put("/v1/routes/harmless?wait=all", &json!({"match": {"path": {"exact": "/x"}}, "respond": {}}));
    assert_eq!(before + 1, admin.get("/v1/revisions")["revisions"][0]["revision"].as_u64().unwrap());

    // What nobody knows before cannot be expected.
    let unknown = json!({"request": request, "expect": {"status": 200}});
    let errors = refused(admin.send("PUT", "/v1/tests/unknown", Some(&unknown)));
    assert!(
        errors[0]["pointer"] == "/expect/status" && errors[0]["detail"].as_str().unwrap().contains("nobody knows"),
        "{errors}"
    );
    let chance = json!({
        "routes": [{"name": "web", "match": {"path": {"prefix": "/"}},
            "forward": {"split": [{"upstream": "web"}, {"upstream": "orders"}]}}],
        "tests": [{"name": "chance", "request": {"url": "http://gateway.test/"}, "expect": {"upstream": "web"}}],
    });
    let errors = refused(admin.send("POST", "/v1/apply", Some(&chance)));
    assert_eq!(errors[0]["pointer"], "/tests/0/expect/upstream");
    assert_eq!(errors[0]["detail"], "chance decides between web and orders, so it cannot be expected");
    assert_eq!(node.get("/x").status, 200);

    // A node without a control plane runs them itself.
    let folder = folder();
    let file = folder.path().join("all.json");
    let mut exported = admin.get("/v1/export");
    fs::write(&file, exported.to_string()).unwrap();
    let mut alone = Node::of(&["--config", file.to_str().unwrap()]);
    alone.restart();
    assert_eq!(alone.get("/x").status, 200);
    exported["tests"][0]["expect"] = json!({"route": "web"});
    fs::write(&file, exported.to_string()).unwrap();
    let mut broken = Node::of(&["--config", file.to_str().unwrap()]);
    broken.spawn();
    assert_eq!(broken.wait(), Some(78));
    assert!(broken.log().contains("/tests/0/expect/route (test/"), "{}", broken.log());
}
