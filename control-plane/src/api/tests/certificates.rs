//! Certificates: what is refused when it is written, and what is never shown.

use super::Api;
use proto::{example::example, resource::Kind, secret::digest};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde_json::{Value, json};

fn issue(change: impl FnOnce(&mut CertificateParams)) -> Value {
    let (mut parameters, key) = (CertificateParams::new(vec!["a.test".into()]).unwrap(), KeyPair::generate().unwrap());
    change(&mut parameters);
    let chain = parameters.self_signed(&key).unwrap().pem();
    json!({"name": "a", "chain": chain, "private_key": {"value": key.serialize_pem()}})
}

fn key_of(certificate: &Value) -> &str {
    certificate["private_key"]["value"].as_str().unwrap()
}

#[tokio::test]
async fn what_no_client_would_take_is_refused_with_the_reason() {
    let api = Api::start().await;
    let (good, other) = (issue(|_| {}), issue(|_| {}));
    let mut mismatched = good.clone();
    mismatched["private_key"] = other["private_key"].clone();
    let mut malformed = good.clone();
    malformed["chain"] = "-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n".into();
    let mut strange = good.clone();
    strange["hosts"] = json!(["b.test"]);
    let mut on_disk = good.clone();
    on_disk["private_key"] = json!({"file": "/etc/passwd"});
    let mut unknown = good.clone();
    unknown["private_key"] = json!({"digest": digest("never seen")});
    for (certificate, pointer, reason) in [
        (issue(|parameters| parameters.not_after = date_time_ymd(2020, 1, 2)), "/chain", "expired on 2020-01-02T"),
        (issue(|parameters| parameters.not_before = date_time_ymd(3000, 1, 2)), "/chain", "only from 3000-01-02T"),
        (mismatched, "/private_key", "the key is not that of the certificate"),
        (malformed, "/chain", "is not PEM"),
        (strange, "/hosts/0", "the certificate is not for \"b.test\"; it is for a.test"),
        (on_disk, "/private_key/file", "never by a control plane"),
        (unknown, "/private_key/digest", "holds no secret with this digest"),
    ] {
        for dry in ["", "?dry_run=true"] {
            let answer = api.post(&format!("/v1/apply{dry}"), &json!({"certificates": [certificate]})).await;
            let problem = answer.check_problem(422, "invalid-configuration");
            let error = &problem["errors"][0];
            assert_eq!(error["pointer"], format!("/certificates/0{pointer}"), "{problem:#}");
            assert!(error["detail"].as_str().unwrap().contains(reason), "{problem:#}");
        }
        api.put("/v1/certificates/a", &certificate).await.check_problem(422, "invalid-configuration");
    }
    api.put("/v1/certificates/a", &good).await.check(201);
    let rival = json!({"chain": other["chain"], "private_key": other["private_key"]});
    let problem = api.put("/v1/certificates/b", &rival).await.check_problem(422, "invalid-configuration");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("is the name of certificate \"a\" already"), "{detail}");
}

#[tokio::test]
async fn one_that_an_upstream_shows_stays_and_stays_good_for_that() {
    let api = Api::start().await;
    let client = issue(|parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let server = issue(|parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let mut gateway = client.clone();
    gateway["client_only"] = json!(true);
    let tls = json!({"client_certificate": "a"});
    let upstream = json!({"name": "orders", "endpoints": [{"address": "a:1"}], "tls": tls});
    let problem = api.post("/v1/upstreams", &upstream).await.check_problem(422, "invalid-configuration");
    assert_eq!(problem["errors"][0]["pointer"], "/tls/client_certificate");
    api.put("/v1/certificates/a", &gateway).await.check(201);
    api.post("/v1/upstreams", &upstream).await.check(201);
    let problem = api.delete("/v1/certificates/a").await.check_problem(409, "still-referred");
    assert_eq!(problem["referrers"], json!(["upstream/orders"]));
    let problem = api.put("/v1/certificates/a", &server).await.check_problem(422, "invalid-configuration");
    let error = &problem["errors"][0];
    assert_eq!(error["pointer"], "/chain");
    assert!(error["detail"].as_str().unwrap().starts_with("upstream/orders shows it"), "{problem:#}");
    let patch = json!({"tls": {"client_certificate": null}});
    api.patch("/v1/upstreams/orders", &patch).await.check(200);
    api.delete("/v1/certificates/a").await.check(204);
}

#[tokio::test]
async fn a_key_goes_in_and_never_comes_out() {
    let api = Api::start().await;
    let (first, second) = (issue(|_| {}), issue(|_| {}));
    let mut shown = first.clone();
    shown["private_key"] = json!({"digest": digest(key_of(&first))});
    let made = api.put("/v1/certificates/a", &first).await.check(201);
    assert_eq!(made.json(), shown);
    let texts = ["/v1/certificates", "/v1/certificates/a", "/v1/export", "/v1/revisions/1", "/v1/revisions/1/diff"];
    for url in texts {
        let text = String::from_utf8(api.get(url).await.check(200).body.to_vec()).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{url}: {text}");
    }
    let bundle = json!({"certificates": [second]});
    let tried = api.post("/v1/apply?dry_run=true", &bundle).await.check(200).json();
    assert!(tried["changes"][0]["after"]["private_key"]["digest"].is_string(), "{tried:#}");
    assert!(!tried.to_string().contains("PRIVATE KEY"), "{tried:#}");

    // What is shown can be written again, and what is left out of a patch stays.
    let same = api.put("/v1/certificates/a", &shown).await.check(200);
    assert_eq!(same.header("etag"), made.header("etag"));
    let labelled = api.patch("/v1/certificates/a", &json!({"labels": {"team": "edge"}})).await.check(200);
    assert_eq!(labelled.json()["private_key"], shown["private_key"]);
    // A digest is of what this very resource holds.
    let mut stolen = shown.clone();
    stolen["name"] = "b".into();
    api.post("/v1/certificates", &stolen).await.check_problem(422, "invalid-configuration");
    let patch = json!({"chain": second["chain"], "private_key": second["private_key"]});
    let renewed = api.patch("/v1/certificates/a", &patch).await.check(200).json();
    assert_eq!(renewed["private_key"], json!({"digest": digest(key_of(&second))}));
}

#[tokio::test]
async fn the_secret_of_a_faulty_body_is_not_in_the_answer() {
    let api = Api::start().await;
    let mut body = example(Kind::Certificate);
    for secret in [json!("hush"), json!({"value": 815_815}), json!({"value": "hush"})] {
        body["private_key"] = secret;
        let answer = api.put("/v1/certificates/a", &body).await;
        assert_eq!(answer.status, 422);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(!text.contains("815815") && !text.contains("\"hush\""), "{text}");
    }
}
