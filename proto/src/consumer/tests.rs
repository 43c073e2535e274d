//! What a consumer may be, and who has a key.

use super::*;
use crate::{
    identity::hex,
    invalid::Invalid,
    json,
    keyring::NAME,
    resource::{Change, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::json;

const PEPPER: &str = "pppppppppppppppppppppppppppppppp";

fn put(kind: Kind, value: Value) -> Change {
    Change::Put(json::read(kind, &value).expect("the form is right"))
}

fn delete(kind: Kind, name: &str) -> Change {
    Change::Delete(ResourceKey::new(kind, Name::parse(name).expect("a name")))
}

fn keyring(pepper: &str) -> Change {
    put(Kind::Keyring, json!({"name": NAME, "pepper": {"value": pepper}}))
}

fn key(id: &str, key: &str) -> Value {
    json!({"id": id, "api_key": {"key": {"value": key}}})
}

fn consumer(name: &str, credentials: Value) -> Change {
    put(Kind::Consumer, json!({"name": name, "credentials": credentials}))
}

fn faults(result: Result<Snapshot, Vec<Invalid>>) -> Vec<String> {
    result.expect_err("it is faulty").iter().map(Invalid::to_string).collect()
}

fn owner(snapshot: &Snapshot, key: &str) -> Option<(String, String)> {
    let found = snapshot.directory().find(key.as_bytes())?;
    Some((found.consumer.name.to_string(), found.consumer.credential_id(found.at).to_owned()))
}

fn base() -> Snapshot {
    let credentials = json!([key("one", "the-first-key-of-a"), key("two", "the-second-key-of-a")]);
    let changes =
        [consumer("a", credentials), keyring(PEPPER), consumer("b", json!([key("one", "the-only-key-of-b")]))];
    Snapshot::empty().with(changes).expect("it is right")
}

#[test]
fn a_key_is_digested_before_anything_is_kept_and_finds_whose_it_is() {
    let snapshot = base();
    for (key, name, id) in
        [("the-first-key-of-a", "a", "one"), ("the-second-key-of-a", "a", "two"), ("the-only-key-of-b", "b", "one")]
    {
        assert_eq!(owner(&snapshot, key), Some((name.into(), id.into())));
    }
    assert_eq!(owner(&snapshot, "the-third-key-of-a"), None);
    assert_eq!(snapshot.directory().len(), 3);
    for entry in snapshot.entries().filter(|entry| entry.resource.key.kind == Kind::Consumer) {
        assert!(!entry.resource.payload.windows(6).any(|bytes| bytes == b"key-of"), "{:?}", entry.resource);
        // What is written is read as the same.
        let again = json::read(Kind::Consumer, &json::write(&entry.resource)).expect("a consumer");
        assert_eq!(again, entry.resource);
    }
    let digest = hex(snapshot.consumer(&Name::parse("b").unwrap()).unwrap().credentials[0].digest());
    let written = json::write(&snapshot.of_kind(Kind::Consumer)[&Name::parse("b").unwrap()].resource);
    assert_eq!(written["credentials"][0]["api_key"], json!({ "digest": digest }));
}

#[test]
fn a_key_that_is_revoked_exchanged_or_of_one_who_is_gone_finds_nobody() {
    let snapshot = base();
    let revoked = snapshot.with([consumer("a", json!([key("two", "the-second-key-of-a")]))]).expect("it is right");
    assert_eq!(owner(&revoked, "the-first-key-of-a"), None);
    assert_eq!(owner(&revoked, "the-second-key-of-a"), Some(("a".into(), "two".into())));
    let gone = revoked.with([delete(Kind::Consumer, "a")]).expect("it is right");
    assert_eq!(owner(&gone, "the-second-key-of-a"), None);
    assert_eq!(gone.directory().len(), 1);
    // Who had it before is not changed by that.
    assert_eq!(owner(&snapshot, "the-first-key-of-a"), Some(("a".into(), "one".into())));
    // In one step a key may go from one to another.
    let moved = [consumer("b", json!([key("x", "the-first-key-of-a")])), consumer("a", json!([]))];
    assert_eq!(owner(&snapshot.with(moved).unwrap(), "the-first-key-of-a"), Some(("b".into(), "x".into())));
}

#[test]
fn nobody_has_what_another_has() {
    let snapshot = base();
    assert_eq!(
        faults(snapshot.with([consumer("c", json!([key("x", "of-nobody-except-c"), key("y", "the-only-key-of-b")]))])),
        [
            "consumer/c/credentials/1/api_key: credential \"one\" of consumer \"b\" is the same key; each needs one of its own"
        ]
    );
    let twice = json!([key("x", "the-key-of-c-twice"), key("y", "the-key-of-c-twice")]);
    assert!(faults(snapshot.with([consumer("c", twice)]))[0].starts_with("consumer/c/credentials/1/api_key: "));
    let of = |name: &str, ids: Value| put(Kind::Consumer, json!({"name": name, "ids": ids}));
    let snapshot = snapshot.with([of("c", json!(["sub-1", "sub-2"]))]).expect("it is right");
    assert_eq!(snapshot.directory().find_id("sub-2").map(|found| found.name.as_str()), Some("c"));
    assert!(snapshot.directory().find_id("c").is_none(), "a name is no id");
    assert_eq!(
        faults(snapshot.with([of("d", json!(["sub-3", "sub-1"]))])),
        ["consumer/d/ids/1: consumer \"c\" has this id; only one can have it"]
    );
    let moved = snapshot.with([of("d", json!(["sub-1"])), of("c", json!(["sub-2"]))]).expect("it is right");
    assert_eq!(moved.directory().find_id("sub-1").map(|found| found.name.as_str()), Some("d"));
}

#[test]
fn digests_that_begin_alike_are_told_apart() {
    let digest = |last: &str| json!({"digest": format!("{}{last}", "7".repeat(62))});
    let credentials = json!([{"id": "x", "api_key": digest("00")}, {"id": "y", "api_key": digest("01")}]);
    let snapshot = base().with([consumer("c", credentials)]).expect("they are two");
    assert_eq!(snapshot.directory().len(), 5);
    let one = json!([{"id": "y", "api_key": digest("01")}]);
    let less = snapshot.with([consumer("c", one)]).expect("it is right");
    assert_eq!(less.directory().len(), 4);
    let again = consumer("d", json!([{"id": "z", "api_key": digest("00")}]));
    assert!(less.with([again.clone()]).is_ok() && snapshot.with([again]).is_err());
}

#[test]
fn without_its_pepper_a_digest_means_nothing() {
    let none = Snapshot::empty();
    let told = faults(none.with([consumer("a", json!([key("one", "the-first-key-of-a")]))]));
    assert!(told[0].starts_with("consumer/a/credentials/0/api_key/key: there is no keyring"), "{told:?}");
    let digest = json!([{"id": "x", "api_key": {"digest": "0".repeat(64)}}]);
    let told = faults(none.with([consumer("a", digest)]));
    assert!(told[0].starts_with("consumer/a/credentials/0/api_key/digest: there is no keyring"), "{told:?}");
    let snapshot = base();
    let told = faults(snapshot.with([delete(Kind::Keyring, NAME)]));
    assert!(told[0].starts_with("keyring/api-keys: 3 API keys are digested"), "{told:?}");
    let told = faults(snapshot.with([keyring(&"q".repeat(32)), delete(Kind::Consumer, "b")]));
    assert!(told[0].starts_with("keyring/api-keys/pepper: 2 API keys are digested"), "{told:?}");
    // The same again, and another one when nobody has a key.
    assert!(snapshot.with([keyring(PEPPER)]).is_ok());
    let emptied = [delete(Kind::Consumer, "a"), delete(Kind::Consumer, "b"), keyring(&"q".repeat(32))];
    let emptied = snapshot.with(emptied).expect("it is right");
    let anew = emptied.with([consumer("a", json!([key("one", "the-first-key-of-a")]))]).expect("it is right");
    assert_eq!(owner(&anew, "the-first-key-of-a"), Some(("a".into(), "one".into())));
    assert!(anew.with([delete(Kind::Consumer, "a"), delete(Kind::Keyring, NAME)]).is_ok());
}

#[test]
fn a_credential_is_good_between_its_times() {
    let with = |not_before: &str, expires_at: &str| {
        let mut credential = key("one", "the-first-key-of-a");
        credential["not_before"] = not_before.into();
        credential["expires_at"] = expires_at.into();
        Snapshot::empty().with([keyring(PEPPER), consumer("a", json!([credential]))])
    };
    let check = |not_before: &str, expires_at: &str, good: &[u32], bad: &[u32]| {
        let snapshot = with(not_before, expires_at).expect("it is right");
        let credential = snapshot.directory().find(b"the-first-key-of-a").expect("it is there").credential;
        assert!(good.iter().all(|second| credential.is_good_at(*second)), "{not_before} {expires_at}");
        assert!(!bad.iter().any(|second| credential.is_good_at(*second)), "{not_before} {expires_at}");
    };
    check("", "", &[0, u32::MAX], &[]);
    check("1970-01-01T00:01:00Z", "1970-01-01T00:02:00.9Z", &[60, 119], &[59, 120, u32::MAX]);
    check("1970-01-01T01:01:00+01:00", "", &[60, u32::MAX], &[59]);
    check("", "2500-01-01T00:00:00Z", &[0, u32::MAX], &[]);
    for (not_before, expires_at, pointer) in [
        ("tomorrow", "", "/not_before"),
        ("", "2027-01-31", "/expires_at"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z", "/expires_at"),
    ] {
        let told = faults(with(not_before, expires_at));
        assert!(told[0].starts_with(&format!("consumer/a/credentials/0{pointer}: ")), "{told:?}");
    }
}

#[test]
fn every_fault_of_a_consumer_is_told_at_once() {
    let told = faults(Snapshot::empty().with([
        keyring(PEPPER),
        put(
            Kind::Consumer,
            json!({
                "name": "a",
                "groups": ["gold", "Gold"],
                "ids": ["", "x", "x", "ä"],
                "credentials": [
                    {"id": "A", "api_key": {"digest": "00"}},
                    {"id": "b", "labels": {"": ""}, "api_key": {"key": {"value": "short"}}},
                    {"id": "b", "api_key": {"key": {"value": "with a space in it"}}},
                    {"id": "c", "api_key": {"key": {"file": "key"}}},
                ],
            }),
        ),
    ]));
    let pointers: Vec<&str> = told.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    let expect = [
        "/groups/1",
        "/ids/0",
        "/ids/2",
        "/ids/3",
        "/credentials/0/id",
        "/credentials/0/api_key/digest",
        "/credentials/1/labels/",
        "/credentials/1/api_key/key",
        "/credentials/2/id",
        "/credentials/2/api_key/key",
        "/credentials/3/api_key/key/file",
    ];
    assert_eq!(pointers, expect.map(|pointer| format!("consumer/a{pointer}")), "{told:#?}");
    assert!(!told.iter().any(|fault| fault.contains("short")), "no fault shows a key: {told:#?}");
}

#[test]
fn a_consumer_has_a_thousand_credentials_and_no_more() {
    let many = |count: usize| {
        let digest = |at: usize| json!({"id": format!("k{at}"), "api_key": {"digest": format!("{at:064x}")}});
        base().with([consumer("c", (0..count).map(digest).collect())])
    };
    let snapshot = many(MAX_CREDENTIALS).expect("it is right");
    let consumer = snapshot.consumer(&Name::parse("c").unwrap()).unwrap();
    assert_eq!(
        (consumer.credential_id(0), consumer.credential_id(999), consumer.credential_id(1000)),
        ("k0", "k999", "")
    );
    assert!(faults(many(MAX_CREDENTIALS + 1))[0].starts_with("consumer/c/credentials: a consumer has at most 1000"));
}

#[test]
fn what_a_document_leaves_out_stays() {
    let stored = base().of_kind(Kind::Consumer)[&Name::parse("a").unwrap()].resource.clone();
    let written = json::read_partial(Kind::Consumer, &json!({"name": "a", "groups": ["gold"]}));
    assert!(written.leaves_credentials);
    let kept = json::write(&keep_credentials(written.resource.unwrap(), Some(&stored)));
    assert_eq!(kept["groups"], json!(["gold"]));
    assert_eq!(kept["credentials"], json::write(&stored)["credentials"]);
    assert!(!json::read_partial(Kind::Consumer, &json!({"name": "a", "credentials": []})).leaves_credentials);
    assert!(!json::read_partial(Kind::Route, &json!({"name": "a"})).leaves_credentials);
}

#[test]
fn digests_are_found_however_they_are_spread() {
    // All in one shard: at its beginning, at its end, and in even steps.
    for step in [1_u64, 1 << 21] {
        for from in [0, (1_u64 << 32) - 400 * step] {
            let digest = |at: u64| format!("0000{:08x}{:0>52}", from + at * step, "7");
            let credentials: Value =
                (0..400).rev().map(|at| json!({"id": format!("k{at}"), "api_key": {"digest": digest(at)}})).collect();
            let snapshot = base().with([consumer("c", credentials)]).expect("all differ");
            assert_eq!(snapshot.directory().len(), 403);
            for at in [0, 1, 199, 398, 399] {
                let one = json!([{"id": "x", "api_key": {"digest": digest(at)}}]);
                let told = faults(snapshot.with([consumer("d", one)]));
                assert!(told[0].contains(&format!("credential \"k{at}\" of consumer \"c\"")), "{told:?}");
            }
            let fewer = snapshot.with([consumer("c", json!([]))]).expect("it is right");
            assert_eq!(fewer.directory().len(), 3);
        }
    }
}

fn with_policies(name: &str, policies: Value) -> Change {
    put(Kind::Consumer, json!({"name": name, "policies": policies}))
}

fn policy(name: &str, kind: &str, demands: Value) -> Change {
    put(Kind::Policy, json!({"name": name, kind: demands}))
}

#[test]
fn policies_of_a_consumer_are_those_that_can_follow_it() {
    let limit = || json!({"limit": 1, "window": "1s"});
    let login = json!({"issuers": [{"issuer": "https://a.test", "audiences": ["a"], "keys": {"discovery": {}}}]});
    let unfit = json!([
        {"rate_limit": limit()}, {"cors": {"origins": ["https://a.test"]}}, {"maintenance": {}}, {"hsts": {"max_age": "1d"}},
        {"jwt": login}, {"access": {"fallback": true}}, {"rate_limit": {}}, {"ref": "none"},
    ]);
    let found = faults(Snapshot::empty().with([with_policies("a", unfit)]));
    let expect = [
        "consumer/a/policies/1/cors: \"cors\" cannot be attached to a consumer: it acts before it is known who calls; attach",
        "consumer/a/policies/2/maintenance: ",
        "consumer/a/policies/3/hsts: \"hsts\" cannot be attached to a consumer: of its kind only one counts",
        "consumer/a/policies/4/jwt: \"jwt\" cannot be attached to a consumer: which consumer it is, is known only after",
        "consumer/a/policies/5/access: ",
        "consumer/a/policies/6/rate_limit/limit: ",
        "consumer/a/policies/6/rate_limit/window: ",
    ];
    assert!(found.len() == expect.len() && found.iter().zip(expect).all(|(a, b)| a.starts_with(b)), "{found:#?}");

    let gold = || policy("gold", "rate_limit", limit());
    let base = Snapshot::empty()
        .with([gold(), policy("login", "api_key", json!({})), with_policies("a", json!([{"ref": "gold"}]))])
        .expect("it is right");
    let login = json!([{"ref": "gold"}, {"ref": "login"}, {"ref": "none"}]);
    let found = faults(base.with([with_policies("a", login)]));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("consumer/a/policies/2/ref: no policy is named \"none\""), "{found:?}");
    assert!(found[1].starts_with("consumer/a/policies/1/ref: \"api_key\" cannot be attached"), "{found:?}");
    // In use it cannot go, and cannot become what could not stand there.
    assert_eq!(
        faults(base.with([delete(Kind::Policy, "gold")])),
        ["consumer/a/policies/0/ref: no policy is named \"gold\""]
    );
    let found = faults(base.with([policy("gold", "api_key", json!({}))]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("policy/gold: consumer/a refers to it, but \"api_key\" cannot be attached"),
        "{found:?}"
    );
}

#[test]
fn consumers_with_the_same_policies_share_them() {
    let gold = policy("gold", "rate_limit", json!({"limit": 1, "window": "1s"}));
    let listed = json!([{"ref": "gold"}]);
    let inline = json!([{"ref": "gold"}, {"access": {}}]);
    let own = |snapshot: &Snapshot, name: &str| {
        snapshot.consumer(&Name::parse(name).unwrap()).and_then(|consumer| consumer.policies.clone())
    };
    let base = [gold, with_policies("a", listed.clone()), with_policies("b", listed.clone())];
    let base = Snapshot::empty().with(base).expect("it is right");
    let more = [with_policies("c", listed), with_policies("d", inline.clone()), with_policies("e", inline)];
    let snapshot = base.with(more).expect("it is right").with([consumer("f", json!([]))]).expect("it is right");
    let first = own(&snapshot, "a").expect("it has some");
    assert!(["b", "c"].iter().all(|name| Arc::ptr_eq(&first, &own(&snapshot, name).unwrap())));
    assert_eq!(first.owner, None);
    // What stands inline is nobody else's.
    let inline = ["d", "e"].map(|name| own(&snapshot, name).unwrap());
    assert_ne!(inline[0].key, inline[1].key);
    assert_eq!(inline[0].owner.as_ref().map(Name::as_str), Some("d"));
    assert!(own(&snapshot, "f").is_none());
    assert_eq!(snapshot.directory().policies().count(), 3);
    assert_eq!(snapshot.directory().differing_policies(base.directory()).count(), 2);
    let left = snapshot.with(["a", "b", "c"].map(|name| delete(Kind::Consumer, name))).expect("they go");
    assert!(left.directory().find_policies(&first.key).is_none());
    assert_eq!(left.directory().policies().count(), 2);
    // There may be a million who have none.
    assert!(size_of::<Consumer>() <= 12 * size_of::<usize>(), "{}", size_of::<Consumer>());
}
