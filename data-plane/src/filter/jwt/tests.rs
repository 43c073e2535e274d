use super::*;
use crate::{consumers::Consumers, filter::Place};
use aws_lc_rs::hmac;
use futures_util::FutureExt;
use http::Method;
use proto::{
    invalid::Faults,
    jose::base64url::encode as url,
    json, pb,
    policy::Policy,
    resource::{Change, Kind},
    snapshot::Snapshot,
};
use serde_json::json;

const SECRET: &str = "a secret of both that has 32 bytes";

fn token(header: &Value, claims: &str, secret: &str) -> String {
    let signed = format!("{}.{}", url(header.to_string().as_bytes()), url(claims.as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", url(signature.as_ref()))
}

fn filter(policy: &Value) -> JwtFilter {
    let mut faults = Faults::default();
    let message: pb::Policy = json::read_as("Policy", &json!({"name": "p", "jwt": policy}), &mut faults);
    let policy = Policy::check(&message, &mut faults).unwrap();
    assert_eq!(faults.count(), 0);
    let attached = Attached { place: Place::Global, owner: None, route: None, asks: None, policy: &policy };
    let proto::policy::PolicyKind::Jwt(jwt) = &policy.kind else { panic!("another kind") };
    JwtFilter::build(&attached, jwt, &States::default())
}

fn one_issuer() -> Value {
    json!({"issuer": "https://a", "audiences": ["api"], "keys": {"secret": {"value": SECRET}}})
}

/// The subject that is known then, or the reason of the refusal.
fn ask(filter: &JwtFilter, context: &mut Context) -> Result<Option<String>, &'static str> {
    let said = match filter.request(context) {
        Verdict::Now(said) => said,
        Verdict::Wait(asking) => asking.now_or_never().expect("nobody is asked"),
    };
    match said {
        Said::Continue => Ok(context.principals.iter().next().map(|principal| principal.subject.to_string())),
        Said::Absent(_) => Err("absent"),
        Said::Refuse(refusal) => Err(refusal.reason),
        Said::Answer(_) => Err("answer"),
    }
}

fn with(headers: &[(&str, &str)]) -> Context {
    let mut context = Context::of_request(Method::GET, "/x");
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        context.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    context
}

fn bearer(token: &str) -> Context {
    with(&[("authorization", &format!("Bearer {token}"))])
}

fn good() -> Value {
    json!({"iss": "https://a", "aud": "api", "sub": "ann", "exp": u32::MAX})
}

#[test]
fn a_token_is_what_its_issuer_is_trusted_with() {
    let other = json!({
        "issuer": "https://b", "any_audience": true, "types": ["AT+JWT"], "may_last": true, "algorithms": ["HS256", "HS384"],
        "keys": {"secret": {"value": "another secret of both, of 48 bytes and a few more"}},
    });
    let policy = json!({
        "issuers": [one_issuer(), other],
        "required_claims": [{"claim": "sub"}, {"claim": "realm.roles", "values": ["read"]}],
    });
    let filter = filter(&policy);
    let header = json!({"alg": "HS256"});
    let mut claims = good();
    claims["realm"] = json!({"roles": ["write", "read"]});
    let mut theirs = claims.clone();
    theirs["iss"] = "https://b".into();
    theirs["exp"] = Value::Null;
    theirs.as_object_mut().unwrap().remove("exp");
    let typed = json!({"alg": "HS256", "typ": "application/at+jwt"});
    let b = "another secret of both, of 48 bytes and a few more";
    let but = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims.to_string()
    };
    let plain = claims.to_string();
    for (what, token, expect) in [
        ("good", token(&header, &plain, SECRET), Ok(Some("ann".into()))),
        ("a type", token(&json!({"alg": "HS256", "typ": "jwt"}), &plain, SECRET), Ok(Some("ann".into()))),
        ("the other's", token(&typed, &theirs.to_string(), b), Ok(Some("ann".into()))),
        ("the other's, of no type", token(&header, &theirs.to_string(), b), Err("token_type")),
        ("by the other's secret", token(&header, &plain, b), Err("token_signature")),
        ("another type", token(&json!({"alg": "HS256", "typ": "dpop+jwt"}), &plain, SECRET), Err("token_type")),
        ("another algorithm", token(&json!({"alg": "HS384"}), &plain, SECRET), Err("token_algorithm")),
        ("none", token(&json!({"alg": "none"}), &plain, SECRET), Err("token_algorithm")),
        ("another issuer", token(&header, &but("iss", "https://c".into()), SECRET), Err("token_issuer")),
        ("no issuer", token(&header, &but("iss", Value::Null), SECRET), Err("token_issuer")),
        ("another audience", token(&header, &but("aud", "web".into()), SECRET), Err("token_audience")),
        ("expired", token(&header, &but("exp", 1.into()), SECRET), Err("token_expired")),
        ("for ever", token(&header, &but("exp", Value::Null), SECRET), Err("token_time")),
        ("not yet", token(&header, &but("nbf", u32::MAX.into()), SECRET), Err("token_not_yet_valid")),
        ("no role", token(&header, &but("realm", json!({})), SECRET), Err("token_claim_missing")),
        ("twice", token(&header, &plain.replacen('{', "{\"sub\":\"root\",", 1), SECRET), Err("token_claims")),
        ("crit", token(&json!({"alg": "HS256", "crit": ["x"]}), &plain, SECRET), Err("token_critical")),
        ("huge", token(&header, &but("x", "x".repeat(9000).into()), SECRET), Err("token_too_large")),
        ("empty", String::new(), Err("token_malformed")),
        ("nothing", "..".into(), Err("token_header")),
    ] {
        for _ in 0..2 {
            // The second time it may have been seen.
            assert_eq!(ask(&filter, &mut bearer(&token)), expect, "{what}");
        }
    }
}

#[test]
fn a_token_is_found_where_it_may_be_and_taken_out_by_option() {
    let token = token(&json!({"alg": "HS256"}), &good().to_string(), SECRET);
    let from = json!([{"header": {"name": "x-token"}}, {"header": {}}, {"cookie": "t"}]);
    let keeps = filter(&json!({"issuers": [one_issuer()], "from": from}));
    let strips = filter(&json!({"issuers": [one_issuer()], "from": from, "strip": true}));
    let known = || Ok(Some("ann".to_string()));
    for (name, value) in [
        ("x-token", token.clone()),
        ("authorization", format!("BEARER   {token}")),
        ("cookie", format!("a=b; t={token}")),
        ("cookie", format!("t=\"{token}\"")),
    ] {
        let mut context = with(&[(name, &value)]);
        assert_eq!(ask(&keeps, &mut context), known(), "{name}");
        assert_eq!(context.headers[name], value);
        assert!(name == "cookie" || context.headers[name].is_sensitive());
        let mut context = with(&[(name, &value), ("x-other", "1")]);
        assert_eq!(ask(&strips, &mut context), known(), "{name}");
        let left: Vec<_> = context.headers.values().map(|value| value.to_str().unwrap()).collect();
        assert!(!left.iter().any(|value| value.contains(&token)) && left.contains(&"1"), "{left:?}");
    }
    let wrong = [("authorization", "Bearer x".to_string()), ("x-token", token.clone())];
    let both: Vec<(&str, &str)> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(ask(&keeps, &mut with(&both)), known(), "the first place counts");
    for absent in [
        with(&[]),
        with(&[("authorization", "Basic YTpi")]),
        with(&[("authorization", &format!("Bearer{token}"))]),
        with(&[("authorization", &format!("Bearerx {token}"))]),
        with(&[("authorization", "Bearer")]),
        with(&[("cookie", &format!("tt={token}"))]),
    ] {
        assert_eq!(ask(&keeps, &mut absent.clone()), Err("absent"));
        let optional = filter(&json!({"issuers": [one_issuer()], "from": from, "optional": true}));
        assert_eq!(ask(&optional, &mut absent.clone()), Ok(None));
        assert_eq!(ask(&optional, &mut bearer("wrong")), Err("token_malformed"));
    }
    let several = with(&[("x-token", &token), ("x-token", &token)]);
    assert_eq!(ask(&keeps, &mut several.clone()), Err("token_repeated"));
}

#[test]
fn a_token_is_the_consumers_whom_its_own_issuer_calls_so() {
    let put = |kind, value: Value| Change::Put(json::read(kind, &value).unwrap());
    let consumer = put(Kind::Consumer, json!({"name": "acme", "ids": ["https://a#ann"]}));
    let snapshot = Snapshot::empty().with([consumer]).unwrap();
    let mut other = one_issuer();
    other["issuer"] = "https://b".into();
    let whose = |policy: Value, claims: &Value| {
        let mut context = bearer(&token(&json!({"alg": "HS256"}), &claims.to_string(), SECRET));
        context.consumers = Consumers::of(snapshot.directory());
        assert_eq!(ask(&filter(&policy), &mut context), Ok(Some(claims["sub"].as_str().unwrap().into())));
        context.consumer().map(|consumer| consumer.name.to_string())
    };
    let policy = |claim: &str| json!({"issuers": [one_issuer(), other.clone()], "consumer": claim});
    assert_eq!(whose(policy("sub"), &good()), Some("acme".into()));
    assert_eq!(whose(policy("azp"), &good()), None);
    assert_eq!(whose(json!({"issuers": [one_issuer()]}), &good()), None);
    for (claim, value) in [("iss", "https://b"), ("sub", "bob"), ("sub", "https://a#ann")] {
        let mut claims = good();
        claims[claim] = value.into();
        assert_eq!(whose(policy("sub"), &claims), None, "{claims}");
    }
}
