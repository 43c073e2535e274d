//! What holds for every snapshot, however it came about.

use super::*;
use crate::json;
use proptest::prelude::*;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};

fn put(kind: Kind, value: Value) -> Change {
    Change::Put(json::read(kind, &value).expect("the form is right"))
}

fn delete(kind: Kind, name: &str) -> Change {
    Change::Delete(ResourceKey::new(kind, Name::parse(name).expect("a name")))
}

fn upstream(name: &str) -> Change {
    put(Kind::Upstream, json!({"name": name, "endpoints": [{"address": "a:1"}]}))
}

fn route(name: &str, path: &str, upstream: &str) -> Change {
    put(Kind::Route, json!({"name": name, "match": {"path": {"prefix": path}}, "forward": {"upstream": upstream}}))
}

fn faults(result: Result<Snapshot, Vec<Invalid>>) -> Vec<String> {
    result.expect_err("it is faulty").iter().map(Invalid::to_string).collect()
}

#[test]
fn a_reference_must_exist() {
    let base = Snapshot::empty().with([upstream("orders"), route("r", "/", "orders")]).expect("it is right");
    assert_eq!(
        faults(base.with([route("s", "/s", "order")])),
        ["route/s/forward/upstream: no upstream is named \"order\"; did you mean \"orders\"?"]
    );
    // What is referred to cannot go, unless the referrer goes with it.
    assert_eq!(faults(base.with([delete(Kind::Upstream, "orders")])).len(), 1);
    let empty = base.with([delete(Kind::Upstream, "orders"), delete(Kind::Route, "r")]).expect("both go");
    assert_eq!((empty.len(), empty.root()), (0, Snapshot::empty().root()));
    let policy = put(Kind::Route, json!({"name": "p", "priority": 1, "respond": {}, "policies": [{"ref": "none"}]}));
    assert_eq!(faults(base.with([policy])), ["route/p/policies/0/ref: no policy is named \"none\""]);
}

#[test]
fn who_is_asked_by_grpc_speaks_http2() {
    let guard = |protocol: &str| {
        let mut guard = json!({"name": "guard", "endpoints": [{"address": "a:1"}]});
        guard["protocol"][protocol] = json!({});
        put(Kind::Upstream, guard)
    };
    let asking = |grpc: bool| {
        let mut policy = json!({"ext_auth": {"upstream": "guard", "deny": {}}});
        if grpc {
            policy["ext_auth"]["grpc"] = json!({});
        }
        put(Kind::Route, json!({"name": "r", "respond": {}, "policies": [policy]}))
    };
    let fault = "route/r/policies/0/ext_auth/grpc: upstream \"guard\" speaks HTTP/1, and gRPC needs HTTP/2; give it \
                 `protocol: {http2: {}}`";
    assert_eq!(faults(Snapshot::empty().with([guard("http1"), asking(true)])), [fault]);
    Snapshot::empty().with([guard("http1"), asking(false)]).expect("it is right");
    let base = Snapshot::empty().with([guard("http2"), asking(true)]).expect("it is right");
    // Also when it is the other that changes.
    assert_eq!(faults(base.with([guard("http1")])), [fault]);
    let policy = json!({"name": "p", "ext_auth": {"upstream": "guard", "grpc": {}, "deny": {}}});
    let both = faults(base.with([guard("http1"), asking(false), put(Kind::Policy, policy)]));
    assert!(both.len() == 1 && both[0].starts_with("policy/p/ext_auth/grpc: "), "{both:?}");
}

fn certificate(name: &str, usages: &[ExtendedKeyUsagePurpose]) -> Change {
    let mut parameters = CertificateParams::new(vec![format!("{name}.test")]).expect("a name");
    parameters.extended_key_usages = usages.to_vec();
    let key = KeyPair::generate().expect("a key");
    let chain = parameters.self_signed(&key).expect("a certificate").pem();
    let private_key = json!({"value": key.serialize_pem()});
    put(Kind::Certificate, json!({"name": name, "chain": chain, "private_key": private_key}))
}

#[test]
fn a_certificate_that_is_shown_must_exist_and_be_for_clients() {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let showing = |name: &str| {
        let tls = json!({"client_certificate": name});
        put(Kind::Upstream, json!({"name": "orders", "endpoints": [{"address": "a:1"}], "tls": tls}))
    };
    let right = certificate("right", &[ClientAuth, ServerAuth]);
    let base = Snapshot::empty().with([right, certificate("server", &[ServerAuth])]).expect("it is right");
    assert_eq!(
        faults(base.with([showing("wright")])),
        ["upstream/orders/tls/client_certificate: no certificate is named \"wright\"; did you mean \"right\"?"]
    );
    let found = faults(base.with([showing("server")]));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("upstream/orders/tls/client_certificate: certificate \"server\" is not for clients"));
    let shown = base.with([showing("right")]).expect("it is right");
    assert_eq!(faults(shown.with([delete(Kind::Certificate, "right")])).len(), 1);
    // Nobody touched the upstream.
    let found = faults(shown.with([certificate("right", &[ServerAuth])]));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("certificate/right/chain: upstream/orders shows it to its endpoints"), "{found:?}");
    assert!(shown.with([certificate("right", &[])]).is_ok());
    assert!(shown.with([certificate("right", &[ServerAuth]), delete(Kind::Upstream, "orders")]).is_ok());
    assert_eq!(shown.certificates().keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["right", "server"]);
}

#[test]
fn two_routes_cannot_match_the_same() {
    let hosts = |name: &str, hosts: Value, priority: i32| {
        let matches = json!({"hosts": hosts, "path": {"template": format!("/{{{name}}}")}});
        put(Kind::Route, json!({"name": name, "match": matches, "priority": priority, "respond": {}}))
    };
    let base = Snapshot::empty().with([hosts("a", json!(["x.com", "y.com"]), 0)]).expect("it is right");
    assert!(faults(base.with([hosts("b", json!(["Y.com"]), 0)]))[0].contains("route \"a\""));
    assert!(base.with([hosts("b", json!(["y.com"]), 1)]).is_ok());
    // A route can be replaced, and its place taken over by another in one step, in either order.
    assert!(base.with([hosts("a", json!(["y.com"]), 0)]).is_ok());
    assert!(base.with([hosts("b", json!(["y.com"]), 0), delete(Kind::Route, "a")]).is_ok());
    let gone = base.with([delete(Kind::Route, "a")]).expect("it goes");
    assert!(gone.with([hosts("b", json!(["y.com"]), 0)]).is_ok());
}

#[test]
fn what_speaks_http2_is_not_asked_to_upgrade() {
    let upstream = |protocol: &str| {
        put(Kind::Upstream, json!({"name": "u", "endpoints": [{"address": "a:1"}], "protocol": {protocol: {}}}))
    };
    let route = |forward: Value| put(Kind::Route, json!({"name": "r", "forward": forward}));
    let named = || route(json!({"upstream": "u", "upgrades": {"protocols": ["websocket"]}}));
    let silent = || route(json!({"upstream": "u"}));
    let base = Snapshot::empty().with([upstream("http1"), named()]).expect("it is right");
    // Whichever of the two is changed.
    let expect =
        ["route/r/forward/upgrades: upstream \"u\" speaks HTTP/2, which has no upgrades; give it the protocol \
                   `http1`, or leave `upgrades` out"];
    assert_eq!(faults(base.with([upstream("http2")])), expect);
    assert_eq!(faults(Snapshot::empty().with([upstream("http2"), named()])), expect);
    let base = base.with([upstream("http2"), silent()]).expect("it is right");
    assert_eq!(faults(base.with([named()])), expect);
    assert!(base.with([route(json!({"upstream": "u", "upgrades": {}}))]).is_ok());
}

#[test]
fn all_faults_come_at_once() {
    let bad = put(Kind::Upstream, json!({"name": "u", "endpoints": [], "timeouts": {"connect": "5"}}));
    let found = faults(Snapshot::empty().with([bad, route("r", "/", "none"), route("s", "/", "u")]));
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn expressions_of_a_host_are_bounded() {
    let regex = |n: usize| {
        put(Kind::Route, json!({"name": format!("r{n}"), "match": {"path": {"regex": format!("/{n}")}}, "respond": {}}))
    };
    let full = Snapshot::empty().with((0..MAX_REGEX_ROUTES).map(regex)).expect("so many are allowed");
    assert_eq!(faults(full.with([regex(MAX_REGEX_ROUTES)])).len(), 1);
    let fewer = full.with([delete(Kind::Route, "r0")]).expect("it goes");
    assert!(fewer.with([regex(MAX_REGEX_ROUTES)]).is_ok());
}

#[test]
fn an_unknown_feature_or_another_name_is_refused() {
    let Change::Put(resource) = upstream("u") else { unreachable!() };
    let newer = Resource { requires: vec!["teleport".into()], ..resource.clone() };
    assert!(faults(Snapshot::empty().with([Change::Put(newer)]))[0].contains("teleport"));
    let renamed =
        Resource { key: ResourceKey::new(Kind::Upstream, Name::parse("v").expect("a name")), ..resource.clone() };
    assert_eq!(faults(Snapshot::empty().with([Change::Put(renamed)])).len(), 1);
    let garbled = Resource { payload: bytes::Bytes::from_static(&[0xff; 9]), ..resource };
    assert_eq!(faults(Snapshot::empty().with([Change::Put(garbled)])).len(), 1);
}

#[test]
fn the_root_is_the_documented_one() {
    // The empty tree: 1,024 buckets of zeros.
    let expect: Hash = Sha256::digest([0_u8; 32 * 1024]).into();
    assert_eq!(Snapshot::empty().root(), expect);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Whatever the way, the same resources are the same snapshot, and the difference of two is what was changed.
    #[test]
    fn a_snapshot_does_not_depend_on_its_way(steps in proptest::collection::vec((0..12_u8, 0..4_u8), 1..40)) {
        let mut snapshot = Snapshot::empty().with([upstream("u")]).expect("it is right");
        for (name, what) in steps {
            let name = format!("r{name}");
            let change = match what {
                0 => delete(Kind::Route, &name),
                n => route(&name, &format!("/{name}/{n}"), "u"),
            };
            let next = snapshot.with([change]).expect("it is right");
            let whole = Snapshot::empty().with(next.entries().map(|e| Change::Put(e.resource.clone()))).expect("it is right");
            prop_assert_eq!(whole.root(), next.root());
            prop_assert_eq!(root_of_unchecked(next.entries().map(|entry| &entry.resource)), next.root());
            prop_assert_eq!(whole.len(), next.len());
            prop_assert!(whole.differing(&next).is_empty());
            let differing = snapshot.differing(&next);
            prop_assert_eq!(differing.is_empty(), snapshot.root() == next.root());
            prop_assert!(differing.iter().all(|key| key.name.as_str() == name));
            snapshot = next;
        }
    }
}
