//! Clients of what will go away are told, in the words of the standards, by every answer.

use crate::harness::stack::ControlPlane;
use serde_json::json;

#[test]
fn what_will_go_away_says_so() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let policy = json!({"deprecation": {
        "since": "2026-06-30T23:59:59Z", "sunset": "2027-01-01", "information": "https://example.com/changes",
        "successor": "/v2/orders",
    }});
    let body = json!({"routes": [{
        "name": "v1", "match": {"path": {"prefix": "/v1"}}, "respond": {"body": "old"}, "policies": [policy],
    }]});
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));
    let answer = node.get("/v1/orders");
    assert_eq!((answer.status, answer.header("deprecation")), (200, Some("@1782863999")));
    assert_eq!(answer.header("sunset"), Some("Fri, 01 Jan 2027 00:00:00 GMT"));
    let links: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "link").map(|(_, link)| &**link).collect();
    let expect = ["<https://example.com/changes>; rel=\"deprecation\"", "</v2/orders>; rel=\"successor-version\""];
    assert_eq!(links, expect);

    let bad = json!({"deprecation": {"since": "2027-01-02", "sunset": "2027-01-01"}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/old", Some(&bad));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &"/deprecation/sunset".into()));
}
