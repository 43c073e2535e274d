use super::{Jwt, KeyPlace, Keys, TokenPlace};
use crate::{invalid::Faults, json, pb};
use serde_json::{Value, json};

const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn check(policy: &Value) -> Result<Jwt, Vec<String>> {
    let mut faults = Faults::default();
    let message: pb::Jwt = json::read_as("Jwt", policy, &mut faults);
    let checked = Jwt::check(&message, &mut faults);
    let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
    match checked {
        Some(jwt) if found.is_empty() => Ok(jwt),
        _ => Err(found),
    }
}

#[test]
fn little_has_to_be_said() {
    let jwt = check(&json!({"issuers": [
        {"issuer": "https://login.example.com/", "audiences": ["api"], "keys": {"discovery": {}}},
        {"issuer": "b", "any_audience": true, "keys": {"secret": {"value": "s".repeat(32)}}},
        {"issuer": "c", "any_audience": true, "keys": {"jwks": KEY}, "algorithms": ["EdDSA"]},
    ]}))
    .unwrap();
    assert_eq!(jwt.from, [TokenPlace::Header(http::header::AUTHORIZATION, "Bearer".into())]);
    assert_eq!((jwt.clock_skew.as_secs(), jwt.max_token, jwt.strip, jwt.optional), (30, 8192, false, false));
    let algorithms = |at: usize| jwt.issuers[at].algorithms.iter().map(|one| one.as_str()).collect::<Vec<_>>();
    assert_eq!((algorithms(0), algorithms(1)), (vec!["RS256", "ES256", "EdDSA"], vec!["HS256"]));
    let Keys::Remote(KeyPlace::Discovery(issuer, url), terms) = &jwt.issuers[0].keys else { panic!("not remote") };
    assert_eq!(issuer, "https://login.example.com/");
    assert_eq!(url.to_string(), "https://login.example.com/.well-known/openid-configuration");
    assert_eq!((terms.refresh.as_secs(), terms.refetch.as_secs(), terms.max_age.as_secs()), (300, 10, 86_400));
}

#[test]
fn places_of_tokens_are_what_they_say() {
    let places = json!([
        {"header": {}}, {"header": {"name": "X-Token"}}, {"header": {"name": "x-auth", "scheme": "Token"}},
        {"header": {"scheme": ""}}, {"cookie": "session.id"}, {"query": "access_token"},
    ]);
    let issuer = json!({"issuer": "c", "any_audience": true, "keys": {"jwks": KEY}});
    let jwt = check(&json!({"issuers": [issuer], "from": places})).unwrap();
    let header = |name: &str, scheme: &str| TokenPlace::Header(name.parse().unwrap(), scheme.into());
    assert_eq!(
        jwt.from,
        [
            header("authorization", "Bearer"),
            header("x-token", ""),
            header("x-auth", "Token"),
            header("authorization", ""),
            TokenPlace::Cookie("session.id".into()),
            TokenPlace::Query("access_token".into()),
        ]
    );
}

#[test]
fn an_id_of_a_consumer_is_of_one_issuer() {
    let with = |consumer: &str| {
        let issuer = json!({"issuer": "https://a#b", "any_audience": true, "keys": {"jwks": KEY}});
        check(&json!({"issuers": [issuer], "consumer": consumer}))
    };
    assert!(with("").is_ok());
    let found = with("sub").unwrap_err();
    assert!(found.len() == 1 && found[0].starts_with("/issuers/0/issuer: in `ids` of consumers"), "{found:?}");
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = |policy: Value, expect: &[&str]| {
        let found = check(&policy).unwrap_err();
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.starts_with(expect), "{found} is not {expect}");
        }
    };
    faults(json!({}), &["/issuers: say whose"]);
    faults(
        json!({
            "issuers": [
                {},
                {"issuer": "a", "audiences": [""], "any_audience": true, "keys": {}},
                {"issuer": "a", "audiences": ["x"], "algorithms": ["none", "HS256", "RS255"], "keys": {"jwks_url": "file:///x"}},
            ],
            "from": [{}, {"header": {"name": "cookie"}}, {"cookie": "a b"}, {"header": {"scheme": "a b"}}],
            "required_claims": [{"claim": "a..b"}],
            "clock_skew": "11m",
            "max_token": "1MiB",
        }),
        &[
            "/issuers/1/keys: a choice is missing",
            "/from/0: a choice is missing",
            "/issuers/2/issuer: two issuers",
            "/issuers/0/issuer: give what",
            "/issuers/0/audiences: say for whom",
            "/issuers/0/keys: say by which",
            "/issuers/1/audiences/0: it has 1",
            "/issuers/1/any_audience: there are",
            "/issuers/2/keys/jwks_url: \"file:///x\" is not a URL",
            "/issuers/2/algorithms/0: a token without a signature",
            "/issuers/2/algorithms/1: it is for a `secret`",
            "/issuers/2/algorithms/2: \"RS255\" is no algorithm of signatures; did you mean",
            "/from/1/header/name: \"cookie\" cannot carry",
            "/from/2/cookie: \"a b\" is not a name",
            "/from/3/header/scheme: it is one word",
            "/required_claims/0/claim: \"a..b\" has an empty name",
            "/clock_skew: clocks that",
            "/max_token: a token has at most",
        ],
    );
    let keys = |keys: Value, algorithms: &[&str], expect: &[&str]| {
        let issuer = json!({"issuer": "a", "any_audience": true, "keys": keys, "algorithms": algorithms});
        faults(json!({"issuers": [issuer]}), expect);
    };
    let secret = json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"}).to_string();
    keys(json!({"jwks": "{}"}), &[], &["/issuers/0/keys/jwks: it has no `keys`"]);
    keys(json!({"jwks": "{\"keys\": []}"}), &[], &["/issuers/0/keys/jwks: there is no key"]);
    keys(json!({"jwks": secret}), &[], &["/issuers/0/keys/jwks: a secret would be seen"]);
    keys(json!({"jwks": KEY}), &["RS256"], &["/issuers/0/algorithms: none of the keys is for RS256"]);
    keys(json!({"jwks": KEY, "refresh": "1m"}), &[], &["/issuers/0/keys/refresh: the keys stand here"]);
    keys(json!({"pem": "x"}), &[], &["/issuers/0/keys/pem: there is no public key"]);
    keys(json!({"secret": {"value": "short"}}), &[], &["/issuers/0/keys/secret: a secret has at least 32"]);
    keys(json!({"secret": {"value": "s".repeat(32)}}), &["HS512"], &["/issuers/0/algorithms: none of the keys is for"]);
    keys(json!({"secret": {"value": "s".repeat(64)}}), &["ES256"], &["/issuers/0/algorithms/0: it is for public"]);
    keys(json!({"discovery": {}}), &[], &["/issuers/0/keys/discovery: the name of the issuer is the place"]);
    let terms = json!({"jwks_url": "https://a/k", "refresh": "1m", "refetch": "2m", "max_age": "30s"});
    keys(terms, &[], &["/issuers/0/keys/refetch: it is not longer", "/issuers/0/keys/max_age: it is not shorter"]);
}
