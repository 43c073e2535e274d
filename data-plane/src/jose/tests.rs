use super::{Demands, Jws, TokenFault};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use proto::{
    claims::{ClaimPath, Claims, RequiredClaim},
    jose::{Algorithm, Key, KeySet, base64url::encode as url},
};
use serde_json::{Value, json};

mod vectors;

const SECRET: [u8; 64] = [7; 64];

fn set(jwk: &Value) -> KeySet {
    let (set, wrong) = KeySet::parse(jwk.to_string().as_bytes()).unwrap();
    assert!(wrong.is_empty() && !set.is_empty(), "{wrong:?}");
    set
}

/// A token of that header and payload, signed so.
fn token(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", url(header.as_bytes()), url(payload.as_bytes()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", url(&signature))
}

fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |signed| hmac::sign(&key, signed).as_ref().to_vec()
}

fn verify(token: &str, keys: &KeySet, algorithms: &[Algorithm]) -> Result<(), TokenFault> {
    Jws::parse(token.as_bytes())?.verify(keys, algorithms)
}

#[test]
fn every_algorithm_is_checked_and_none_for_another() {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let modulus = url(public.modulus().big_endian_without_leading_zero());
    let exponent = url(public.exponent().big_endian_without_leading_zero());
    let rsa_keys = set(&json!({"kty": "RSA", "n": modulus, "e": exponent}));
    let by_rsa = |by: &'static dyn signature::RsaEncoding, signed: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(by, &random, signed, &mut signature).unwrap();
        signature
    };
    let curves = [
        (Algorithm::Es256, "P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::Es384, "P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        (Algorithm::Es512, "P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
    ]
    .map(|(algorithm, curve, by)| {
        let pair = EcdsaKeyPair::generate(by).unwrap();
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        (algorithm, set(&json!({"kty": "EC", "crv": curve, "x": url(x), "y": url(y)})), pair)
    });
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_keys = set(&json!({"kty": "OKP", "crv": "Ed25519", "x": url(ed.public_key().as_ref())}));
    let secret = KeySet::of(Key::secret(&SECRET).unwrap());

    for algorithm in Algorithm::ALL {
        let mac = |by| hmac::Key::new(by, &SECRET);
        let header = json!({"alg": algorithm.as_str()}).to_string();
        let sign = |signed: &[u8]| match algorithm {
            Algorithm::Hs256 => hmac::sign(&mac(hmac::HMAC_SHA256), signed).as_ref().to_vec(),
            Algorithm::Hs384 => hmac::sign(&mac(hmac::HMAC_SHA384), signed).as_ref().to_vec(),
            Algorithm::Hs512 => hmac::sign(&mac(hmac::HMAC_SHA512), signed).as_ref().to_vec(),
            Algorithm::Rs256 => by_rsa(&signature::RSA_PKCS1_SHA256, signed),
            Algorithm::Rs384 => by_rsa(&signature::RSA_PKCS1_SHA384, signed),
            Algorithm::Rs512 => by_rsa(&signature::RSA_PKCS1_SHA512, signed),
            Algorithm::Ps256 => by_rsa(&signature::RSA_PSS_SHA256, signed),
            Algorithm::Ps384 => by_rsa(&signature::RSA_PSS_SHA384, signed),
            Algorithm::Ps512 => by_rsa(&signature::RSA_PSS_SHA512, signed),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
                let (.., pair) = curves.iter().find(|(of, ..)| *of == algorithm).unwrap();
                pair.sign(&random, signed).unwrap().as_ref().to_vec()
            }
            Algorithm::EdDsa => ed.sign(signed).as_ref().to_vec(),
        };
        let keys = match algorithm {
            Algorithm::EdDsa => &ed_keys,
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
                &curves.iter().find(|(of, ..)| *of == algorithm).unwrap().1
            }
            _ if algorithm.is_symmetric() => &secret,
            _ => &rsa_keys,
        };
        let good = token(&header, "{}", sign);
        assert_eq!(verify(&good, keys, &Algorithm::ALL), Ok(()), "{algorithm}");
        // What is not configured is not taken, however well it is signed.
        let others: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(verify(&good, keys, &others), Err(TokenFault::Algorithm), "{algorithm}");
        for other in others {
            let header = json!({"alg": other.as_str()}).to_string();
            let lies = token(&header, "{}", sign);
            let fault = verify(&lies, keys, &Algorithm::ALL).unwrap_err();
            assert!(matches!(fault, TokenFault::UnknownKey | TokenFault::Signature), "{algorithm} {other}: {fault}");
        }
        for foreign in [&rsa_keys, &ed_keys, &secret, &curves[0].1, &curves[1].1, &curves[2].1] {
            let is_own = std::ptr::eq(foreign, keys);
            assert_eq!(verify(&good, foreign, &Algorithm::ALL).is_ok(), is_own, "{algorithm}");
        }
    }
}

#[test]
fn what_a_token_is_not_it_is_refused_for() {
    let keys = KeySet::of(Key::secret(&SECRET).unwrap());
    let sign = hs256(&SECRET);
    let headed = |header: &str| token(header, "{}", &sign);
    let good = headed(r#"{"alg":"HS256"}"#);
    assert_eq!(verify(&good, &keys, &Algorithm::ALL), Ok(()));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let mut flipped = signature.as_bytes().to_vec();
    flipped[0] = if flipped[0] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    // Of the last letter of 32 bytes two bits say nothing.
    let mut trailing = signature.as_bytes().to_vec();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.iter().position(|c| c == trailing.last().unwrap()).unwrap();
    *trailing.last_mut().unwrap() = alphabet[at | 1];
    let trailing = String::from_utf8(trailing).unwrap();
    let nested = format!(r#"{{"alg":"HS256","a":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let many = format!(r#"{{"alg":"HS256","a":[{}1]}}"#, "1,".repeat(100));
    let huge = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(4000));
    for (what, token, expect) in [
        ("none", format!("{}.{payload}.", url(br#"{"alg":"none"}"#)), TokenFault::Algorithm),
        ("None", headed(r#"{"alg":"None"}"#), TokenFault::Algorithm),
        ("nothing signed", format!("{signed}."), TokenFault::Signature),
        ("hs256", headed(r#"{"alg":"hs256"}"#), TokenFault::Algorithm),
        ("no alg", headed("{}"), TokenFault::Header),
        ("alg no string", headed(r#"{"alg":["HS256"]}"#), TokenFault::Header),
        ("alg twice", headed(r#"{"alg":"none","alg":"HS256"}"#), TokenFault::Header),
        ("alg twice, escaped", headed(r#"{"alg":"HS256","\u0061lg":"none"}"#), TokenFault::Header),
        ("crit", headed(r#"{"alg":"HS256","crit":["exp"]}"#), TokenFault::Critical),
        ("crit, empty", headed(r#"{"alg":"HS256","crit":[]}"#), TokenFault::Critical),
        ("b64", headed(r#"{"alg":"HS256","b64":false}"#), TokenFault::Critical),
        ("kid no string", headed(r#"{"alg":"HS256","kid":7}"#), TokenFault::Header),
        ("kid huge", headed(&huge), TokenFault::UnknownKey),
        ("nested", headed(&nested), TokenFault::Header),
        ("many members", headed(&many), TokenFault::Header),
        ("no object", headed(r#"["HS256"]"#), TokenFault::Header),
        ("rest", headed(r#"{"alg":"HS256"} {}"#), TokenFault::Header),
        ("one part", "abc".into(), TokenFault::Malformed),
        ("empty", String::new(), TokenFault::Malformed),
        ("two parts", signed.into(), TokenFault::Malformed),
        ("four parts", format!("{good}.x"), TokenFault::Malformed),
        ("five parts, as if encrypted", format!("{good}.x.x"), TokenFault::Malformed),
        ("dots", "..".into(), TokenFault::Header),
        ("padded", format!("{good}="), TokenFault::Malformed),
        ("a line break", format!("{good}\n"), TokenFault::Malformed),
        ("a space", format!(" {good}"), TokenFault::Malformed),
        ("a space within", good.replacen('.', ". ", 1), TokenFault::Malformed),
        ("bits that say nothing", format!("{signed}.{trailing}"), TokenFault::Malformed),
        ("another signature", format!("{signed}.{flipped}"), TokenFault::Signature),
        ("another payload", format!("{header}.{}.{signature}", url(br#"{"a":1}"#)), TokenFault::Signature),
        ("no payload", format!("{header}..{signature}"), TokenFault::Signature),
        ("JSON", r#"{"payload":"e30","signatures":[]}"#.into(), TokenFault::Malformed),
    ] {
        assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(expect), "{what}");
    }
}

#[test]
fn no_word_of_a_token_brings_a_key() {
    let theirs = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let mine = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let jwk = |pair: &EcdsaKeyPair| {
        let point = pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": url(&point[1..33]), "y": url(&point[33..])})
    };
    let keys = set(&jwk(&theirs));
    let random = SystemRandom::new();
    let sign = |signed: &[u8]| mine.sign(&random, signed).unwrap().as_ref().to_vec();
    for more in [
        json!({}),
        json!({"jwk": jwk(&mine)}),
        json!({"jku": "https://attacker.example/keys"}),
        json!({"x5u": "https://attacker.example/chain"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let mut header = more;
        header["alg"] = "ES256".into();
        header["kid"] = "k".into();
        let token = token(&header.to_string(), "{}", sign);
        assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(TokenFault::Signature), "{header}");
    }
    for kid in ["../../dev/null", "/proc/self/environ", "k' UNION SELECT 'x", "k\0", "K", "", "k ", "http://k"] {
        let header = json!({"alg": "ES256", "kid": kid});
        let token = token(&header.to_string(), "{}", sign);
        assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(TokenFault::UnknownKey), "{kid:?}");
    }
    // The public key as the secret of an HMAC, in each form that somebody could have of it.
    let point = theirs.public_key().as_ref().to_vec();
    for secret in [point.clone(), point[1..].to_vec(), jwk(&theirs).to_string().into_bytes()] {
        let token = token(r#"{"alg":"HS256","kid":"k"}"#, "{}", hs256(&secret));
        assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(TokenFault::UnknownKey));
    }
    // A signature of zeros, which some once took (CVE-2022-21449).
    for zeros in [vec![0; 64], vec![0; 63], Vec::new()] {
        let token = token(r#"{"alg":"ES256","kid":"k"}"#, "{}", |_| zeros.clone());
        assert_eq!(verify(&token, &keys, &Algorithm::ALL), Err(TokenFault::Signature));
    }
}

#[test]
fn few_keys_are_tried_for_a_token_that_names_none() {
    let keys: Vec<Value> = (0..20).map(|n| json!({"kty": "oct", "k": url(&[n; 32])})).collect();
    let keys = set(&json!({"keys": keys}));
    let signed_by = |n: u8| token(r#"{"alg":"HS256"}"#, "{}", hs256(&[n; 32]));
    assert_eq!(verify(&signed_by(7), &keys, &Algorithm::ALL), Ok(()));
    assert_eq!(verify(&signed_by(8), &keys, &Algorithm::ALL), Err(TokenFault::Signature));
}

#[test]
fn the_type_is_read_with_and_without_its_prefix() {
    for (header, expect) in [
        (r#"{"alg":"HS256"}"#, None),
        (r#"{"alg":"HS256","typ":"JWT"}"#, Some("JWT")),
        (r#"{"alg":"HS256","typ":"Application/at+jwt"}"#, Some("at+jwt")),
        (r#"{"alg":"HS256","typ":"äpplication/jwt"}"#, Some("äpplication/jwt")),
    ] {
        let token = token(header, "{}", hs256(&SECRET));
        assert_eq!(Jws::parse(token.as_bytes()).unwrap().typ(), expect, "{header}");
    }
}

#[test]
fn claims_are_read_within_limits() {
    let read = |payload: &str| {
        let token = token(r#"{"alg":"HS256"}"#, payload, hs256(&SECRET));
        Jws::parse(token.as_bytes()).unwrap().unproven()
    };
    assert_eq!(read(r#"{"sub":"ann","a":{"b":[1]}}"#).unwrap()["sub"], "ann");
    for bad in [
        r#"{"sub":"ann","sub":"root"}"#,
        r#"{"a":{"sub":1,"sub":2}}"#,
        "[]",
        "foo",
        "",
        &format!("{{\"a\":{}1{}}}", "[".repeat(20), "]".repeat(20)),
        &format!("{{\"a\":[{}1]}}", "1,".repeat(2000)),
    ] {
        assert_eq!(read(bad), Err(TokenFault::Claims), "{bad}");
    }
}

#[test]
fn claims_are_what_is_demanded() {
    const NOW: u64 = 1_000_000;
    let required = [
        RequiredClaim { path: ClaimPath::parse("realm.roles").unwrap(), values: vec!["read".into(), "write".into()] },
        RequiredClaim { path: ClaimPath::parse("\"https://x.example/tenant\"").unwrap(), values: Vec::new() },
    ];
    let audiences = ["api".to_string(), "other".to_string()];
    let demands =
        Demands { issuer: "https://i", audiences: &audiences, may_last: false, skew: 30, required: &required };
    let good = json!({
        "iss": "https://i", "aud": ["x", "api"], "exp": NOW + 60, "nbf": NOW, "iat": NOW - 5,
        "realm": {"roles": ["write"]}, "https://x.example/tenant": "t",
    });
    let check = |change: Value, expect: Result<u64, TokenFault>| {
        let mut claims: Claims = good.as_object().unwrap().clone();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.clone(), value.clone())),
            }
        }
        assert_eq!(demands.check(&claims, NOW), expect, "{change}");
    };
    check(json!({}), Ok(NOW + 90));
    check(json!({"aud": "other"}), Ok(NOW + 90));
    check(json!({"exp": NOW - 29}), Ok(NOW + 1));
    check(json!({"exp": NOW as f64 + 0.5}), Ok(NOW + 30));
    check(json!({"nbf": NOW + 30, "iat": null}), Ok(NOW + 90));
    check(json!({"exp": u64::MAX}), Ok(u64::MAX));
    for (change, fault) in [
        (json!({"iss": "https://i/"}), TokenFault::Issuer),
        (json!({"iss": "HTTPS://i"}), TokenFault::Issuer),
        (json!({"iss": ["https://i"]}), TokenFault::Issuer),
        (json!({"iss": null}), TokenFault::Issuer),
        (json!({"aud": "API"}), TokenFault::Audience),
        (json!({"aud": []}), TokenFault::Audience),
        (json!({"aud": null}), TokenFault::Audience),
        (json!({"aud": [["api"]]}), TokenFault::Audience),
        (json!({"exp": null}), TokenFault::NoExpiry),
        (json!({"exp": NOW - 30}), TokenFault::Expired),
        (json!({"exp": 0}), TokenFault::Expired),
        (json!({"exp": -1}), TokenFault::Time),
        (json!({"exp": (NOW + 60).to_string()}), TokenFault::Time),
        (json!({"exp": 1e300}), TokenFault::Time),
        (json!({"nbf": NOW + 31}), TokenFault::NotYet),
        (json!({"iat": NOW + 31}), TokenFault::NotYet),
        (json!({"nbf": "now"}), TokenFault::Time),
        (json!({"realm": {"roles": ["admin"]}}), TokenFault::Required),
        (json!({"realm": {}}), TokenFault::Required),
        (json!({"realm": null}), TokenFault::Required),
        (json!({"https://x.example/tenant": null}), TokenFault::Required),
    ] {
        check(change, Err(fault));
    }
    let lasting = Demands { may_last: true, audiences: &[], required: &[], ..demands };
    let claims = json!({"iss": "https://i"});
    assert_eq!(lasting.check(claims.as_object().unwrap(), NOW), Ok(u64::MAX));
}
