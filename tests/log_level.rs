//! What the programs' own logs tell is changed while they run, by whoever may.

use crate::harness::{
    admin::Admin,
    http::{Request, send},
    stack::ControlPlane,
};
use serde_json::json;

fn level(admin: Admin) -> String {
    admin.get("/v1/log-level")["log_level"].as_str().unwrap().to_string()
}

#[test]
fn the_level_of_a_node_is_changed_at_its_status_port() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let ask = |method, headers, body: &str| {
        let request = Request { method, headers, body: body.as_bytes(), ..Request::get("/log-level") };
        let response = send(node.status, &request).unwrap();
        (response.status, response.text())
    };
    assert_eq!(ask("GET", &[], ""), (200, "info\n".into()));
    assert_eq!(ask("PUT", &[], "warn,data_plane=debug"), (200, "data_plane=debug,warn\n".into()));
    assert_eq!(ask("GET", &[], ""), (200, "data_plane=debug,warn\n".into()));
    let (status, text) = ask("PUT", &[], "inof");
    assert!(status == 400 && text.contains("did you mean \"info\"?"), "{text}");
    assert_eq!(ask("PUT", &[], &"x".repeat(2000)).0, 400);
    assert_eq!(ask("PUT", &[("origin", "http://evil.example")], "trace").0, 403);
    assert_eq!(ask("POST", &[], "trace").0, 405);
    assert_eq!(ask("GET", &[], ""), (200, "data_plane=debug,warn\n".into()));
}

#[test]
fn the_level_of_a_control_plane_is_an_admins_to_change() {
    let control_plane = ControlPlane::start();
    let admin = control_plane.admin;
    assert_eq!(level(admin), "info");
    let answer = admin.put("/v1/log-level", &json!({"log_level": "debug"}));
    assert_eq!(answer.json(), json!({"log_level": "debug"}));
    assert_eq!(level(admin), "debug");
    let refused = admin.send("PUT", "/v1/log-level", Some(&json!({"log_level": "lots"})));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/log_level".into()));

    let made = admin.ok("POST", "/v1/tokens", Some(&json!({"name": "editor", "role": "editor"}))).json();
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let asked = Request { headers: &[("authorization", bearer.as_str())], ..Request::get("/v1/log-level") };
    assert_eq!(send(admin.address, &asked).unwrap().status, 403);
}
