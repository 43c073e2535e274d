//! Vectors of others: those of the RFCs, and those of Project Wycheproof where they are at hand.

use super::{Jws, KeySet, TokenFault, set};
use proto::jose::Algorithm;
use serde_json::{Value, json};
use std::path::PathBuf;

fn verify(token: &str, keys: &KeySet) -> Result<(), TokenFault> {
    Jws::parse(token.as_bytes())?.verify(keys, &Algorithm::ALL)
}

#[test]
fn the_vectors_of_the_rfcs_hold() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (what, key, header, payload, signature) in [
        (
            "RFC 7515, A.1",
            json!({
                "kty": "oct",
                "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            }),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            claims,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "RFC 7515, A.3",
            json!({
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9",
            claims,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            "RFC 8037, A.4",
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let keys = set(&key);
        assert_eq!(verify(&format!("{header}.{payload}.{signature}"), &keys), Ok(()), "{what}");
        let other = format!("{header}.{}.{signature}", payload.replacen('R', "S", 1).replacen('J', "K", 1));
        assert_eq!(verify(&other, &keys), Err(TokenFault::Signature), "{what}");
    }
}

/// Those that are not met, and why.
const NOT_MET: [(u64, &str); 8] = [
    (346, "the key says that it is for PS256, and the token is of PS384"),
    (350, "the same"),
    (347, "the key says that it is for ES521, which is no algorithm"),
    (351, "the same"),
    (367, "byte for byte what 357 says is valid"),
    (370, "the same"),
    (372, "expected to be valid with a character that is not of base64url; RFC 7515 has it refused"),
    (373, "the same"),
];

/// The vectors of Wycheproof (C2SP/wycheproof, Apache-2.0) for JSON Web Signatures.
#[test]
#[ignore = "WYCHEPROOF names the folder with Wycheproof's testvectors_v1"]
fn the_vectors_of_wycheproof_pass_and_fail_as_they_say() {
    let folder = PathBuf::from(std::env::var_os("WYCHEPROOF").expect("WYCHEPROOF names a folder"));
    let text = std::fs::read(folder.join("json_web_signature_test.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let (mut count, mut broken) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let keys = KeySet::parse(key.to_string().as_bytes()).map_or(KeySet::default(), |(keys, _)| keys);
        for vector in group["tests"].as_array().unwrap() {
            count += 1;
            let expect = vector["result"] == "valid";
            let found = verify(vector["jws"].as_str().unwrap(), &keys);
            let id = vector["tcId"].as_u64().unwrap();
            let is_met = found.is_ok() == expect;
            if is_met == NOT_MET.iter().any(|(not_met, _)| *not_met == id) {
                broken.push(format!("{} {} {}: {found:?}", group["comment"], vector["tcId"], vector["comment"]));
            }
        }
    }
    assert!(broken.is_empty(), "{} of {count}:\n{}", broken.len(), broken.join("\n"));
    assert_eq!(count, 401);
}
