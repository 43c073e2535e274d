//! Clients that are known by certificates. What a node makes of those that are shown is tried beside it, over TLS; here is
//! what an operator sees: faults, a listener where nobody shows one, explain.

use crate::harness::stack::{ControlPlane, Node};
use serde_json::json;

const AUTHORITY: &str = include_str!("../proto/src/example/chain.pem");

fn challenges(node: &Node) -> (u16, Vec<String>) {
    let response = node.get("/");
    let named = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    (response.status, named.map(|(_, value)| value.clone()).collect())
}

#[test]
fn without_a_certificate_nobody_is_known_and_explain_does_not_guess() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let wrong = json!({"global": {}, "client_certificate": {"ca": "x", "crl": "x", "allow": ["billing"]}});
    let refused = control_plane.admin.send("PUT", "/v1/policies/clients", Some(&wrong));
    assert_eq!(refused.status, 422);
    for pointer in ["ca", "crl", "allow/0"] {
        assert!(refused.text().contains(&format!("\"/client_certificate/{pointer}\"")), "{}", refused.text());
    }
    let mut policy = json!({"global": {}, "client_certificate": {"ca": AUTHORITY}});
    control_plane.admin.put("/v1/routes/all", &json!({"match": {}, "respond": {"body": "here"}}));
    control_plane.admin.ok("PUT", "/v1/policies/clients?wait=all", Some(&policy));
    assert_eq!(challenges(&node), (401, vec!["ClientCertificate".to_string()]));

    let asked = json!({"request": {"url": "/"}});
    let told = control_plane.admin.ok("POST", "/v1/explain", Some(&asked)).json();
    assert_eq!(told["policies"][0]["decision"], "depends", "{told}");
    assert!(told["depends_on"].to_string().contains("certificate"), "{told}");

    policy["client_certificate"]["optional"] = true.into();
    control_plane.admin.ok("PUT", "/v1/policies/clients?wait=all", Some(&policy));
    assert_eq!(challenges(&node), (200, vec![]));
}
