use super::{Algorithm, Key, KeySet, MAX_JWKS, base64url::encode as url};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};

const PEM_SIZE: usize = 64;

fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (24 - 8 * chunk.len());
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(PEM_SIZE).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn algorithms(set: &KeySet) -> Vec<&'static str> {
    set.keys().iter().flat_map(Key::algorithms).map(Algorithm::as_str).collect()
}

#[track_caller]
fn one(jwk: &str) -> Result<KeySet, String> {
    let (set, wrong) = KeySet::parse(format!(r#"{{"keys": [{jwk}]}}"#).as_bytes()).unwrap();
    match wrong.as_slice() {
        [] => Ok(set),
        [why] => Err(why.clone()),
        more => panic!("{more:?}"),
    }
}

#[test]
fn a_key_fits_its_own_algorithms_only() {
    let point = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = point.public_key().as_ref();
    let (x, y) = (url(&point[1..33]), url(&point[33..]));
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let modulus = url(rsa.public_key().modulus().big_endian_without_leading_zero());
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed = url(ed.public_key().as_ref());
    let check = |jwk: &str, expect: &[&str]| assert_eq!(algorithms(&one(jwk).unwrap()), expect, "{jwk}");
    let ec = |more: &str| format!(r#"{{"kty": "EC", "crv": "P-256", "x": "{x}", "y": "{y}" {more}}}"#);
    check(&ec(""), &["ES256"]);
    check(&ec(r#", "use": "sig", "key_ops": ["verify"], "x5c": ["MII"], "d": "AA""#), &["ES256"]);
    check(&ec(r#", "use": "enc""#), &[]);
    check(&ec(r#", "key_ops": ["sign"]"#), &[]);
    check(&ec(r#", "alg": "ECDH-ES""#), &[]);
    check(&format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{ed}"}}"#), &["EdDSA"]);
    check(&format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{ed}", "alg": "Ed25519"}}"#), &["EdDSA"]);
    check(r#"{"kty": "OKP", "crv": "X25519", "x": "AA"}"#, &[]);
    check(r#"{"kty": "EC", "crv": "secp256k1", "x": "AA"}"#, &[]);
    check(r#"{"kty": "AKP", "pub": "AA"}"#, &[]);
    let key = |more: &str| format!(r#"{{"kty": "RSA", "n": "{modulus}", "e": "AQAB" {more}}}"#);
    check(&key(""), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]);
    check(&key(r#", "alg": "PS384""#), &["PS384"]);
    let secret = |len: usize| format!(r#"{{"kty": "oct", "k": "{}"}}"#, url(&vec![7; len]));
    check(&secret(32), &["HS256"]);
    check(&secret(63), &["HS256", "HS384"]);
    check(&secret(64), &["HS256", "HS384", "HS512"]);

    let wrong = |jwk: &str, expect: &str| {
        let why = one(jwk).unwrap_err();
        assert!(why.contains(expect), "{jwk}: {why}");
    };
    wrong(&secret(31), "at least 32 bytes");
    wrong(r#"{"kty": "oct", "alg": "HS256"}"#, "`k` is missing");
    wrong(&key(r#", "alg": "ES256""#), "does not fit its own `alg` ES256");
    wrong(&key(r#", "alg": "HS256""#), "does not fit its own `alg` HS256");
    wrong(&key(r#", "use": 1"#), "`use` is not a string");
    wrong(&key(r#", "key_ops": "verify""#), "`key_ops` is not a list");
    wrong(&key(&format!(r#", "kid": "{}""#, "k".repeat(257))), "`kid` has more than");
    wrong(&format!(r#"{{"kty": "RSA", "n": "{}", "e": "AQAB"}}"#, url(&[0xff; 128])), "and this one 1024");
    wrong(&format!(r#"{{"kty": "RSA", "n": "{}", "e": "AQAB"}}"#, url(&[0xff; 1025])), "and this one 8200");
    wrong(&format!(r#"{{"kty": "EC", "crv": "P-384", "x": "{x}", "y": "{y}"}}"#), "has 48 bytes");
    wrong(&format!(r#"{{"kty": "EC", "crv": "P-256", "x": "{y}", "y": "{x}"}}"#), "no point of its curve");
    wrong(&format!(r#"{{"kty": "EC", "crv": "P-256", "x": "{x}=", "y": "{y}"}}"#), "without padding");
    wrong("{}", "`kty` is missing");
    wrong("7", "not an object");
}

#[test]
fn a_set_is_bounded_and_keeps_what_it_knows() {
    let refuse = |text: &str, expect: &str| {
        let why = KeySet::parse(text.as_bytes()).unwrap_err();
        assert!(why.contains(expect), "{why}");
    };
    refuse("", "no set of keys");
    refuse("[]", "no set of keys");
    refuse("{}", "no `keys`");
    refuse(r#"{"keys": {}}"#, "not a list");
    refuse(r#"{"keys": [{"kty": "oct", "kty": "RSA"}]}"#, "twice");
    refuse(&format!(r#"{{"keys": [{}]}}"#, vec!["{}"; 101].join(",")), "at most 100 keys");
    refuse(&" ".repeat(MAX_JWKS + 1), "at most 256 KiB");
    refuse(&format!(r#"{{"a": {}1{}}}"#, "[".repeat(100), "]".repeat(100)), "too deep");

    let secret = url(&[7; 32]);
    let key = |kid: &str| format!(r#"{{"kty": "oct", "k": "{secret}", "kid": "{kid}"}}"#);
    let text = format!(r#"{{"keys": [{}, {{"kty": "new"}}, 7, {}]}}"#, key("a"), key("b"));
    let (set, wrong) = KeySet::parse(text.as_bytes()).unwrap();
    assert_eq!((set.keys().len(), wrong.len()), (2, 1));
    assert_eq!(set.candidates(Some("a")).count(), 1);
    assert_eq!(set.candidates(Some("c")).count(), 0);
    assert_eq!(set.candidates(None).count(), 2);
    assert_eq!(KeySet::of(Key::secret(&[7; 32]).unwrap()).candidates(Some("c")).count(), 1);
    assert_eq!(KeySet::parse(key("a").as_bytes()).unwrap().0.keys().len(), 1, "one key alone");
}

#[test]
fn public_keys_come_as_pem() {
    let point = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let mut text = String::new();
    let spki: [PublicKeyX509Der<'_>; 3] =
        [point.public_key().as_der().unwrap(), rsa.public_key().as_der().unwrap(), ed.public_key().as_der().unwrap()];
    for der in &spki {
        text.push_str(&pem(der.as_ref()));
    }
    let set = KeySet::parse_pem(&text).unwrap();
    let expect = ["ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];
    assert_eq!(algorithms(&set), expect);

    let random = SystemRandom::new();
    let verify = |algorithm, signature: &[u8]| {
        set.candidates(Some("any")).any(|key| key.verify(algorithm, b"message", signature).is_ok())
    };
    let signature = point.sign(&random, b"message").unwrap();
    assert!(verify(Algorithm::Es256, signature.as_ref()));
    assert!(verify(Algorithm::EdDsa, ed.sign(b"message").as_ref()));
    let mut signature = vec![0; 256];
    rsa.sign(&RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap();
    assert!(verify(Algorithm::Rs256, &signature) && !verify(Algorithm::Ps256, &signature));
    rsa.sign(&RSA_PSS_SHA256, &random, b"message", &mut signature).unwrap();
    assert!(verify(Algorithm::Ps256, &signature) && !verify(Algorithm::Rs256, &signature));
    // The oldest trick: a public key is no secret, and so makes no HMAC.
    let secrets = [text.as_bytes(), spki[1].as_ref(), spki[0].as_ref()];
    for secret in secrets {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"message");
        assert!(!verify(Algorithm::Hs256, tag.as_ref()));
    }

    let refuse = |text: &str, expect: &str| {
        let why = KeySet::parse_pem(text).unwrap_err();
        assert!(why.contains(expect), "{why}");
    };
    refuse("", "no public key");
    refuse(&text.replace("PUBLIC KEY", "PRIVATE KEY"), "private key");
    refuse(&text.replace("PUBLIC KEY", "CERTIFICATE"), "more than public keys");
    refuse(&pem(b"nothing"), "no public key");
}
