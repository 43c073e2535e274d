//! One key as JSON (RFC 7517 and 7518, section 6), of which only the public part is read.

use super::{Algorithm, Key, base64url, key::Material};
use serde_json::{Map, Value};

/// The longest id of a key, in bytes.
pub(super) const MAX_KID: usize = 256;

/// Why a key of a set is not used.
pub(super) enum Unused {
    /// It is of a kind that is not known here, or for something else: sets hold such keys too.
    Other,
    /// It is wrong.
    Wrong(String),
}

/// The key of this object.
pub(super) fn parse(object: &Map<String, Value>) -> Result<Key, Unused> {
    let text = |name: &str| match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Unused::Wrong(format!("`{name}` is not a string"))),
    };
    let number = |name: &str| {
        let text = text(name)?.ok_or_else(|| Unused::Wrong(format!("`{name}` is missing")))?;
        base64url::decode(text.as_bytes())
            .map_err(|_| Unused::Wrong(format!("`{name}` is not base64url without padding")))
    };
    if text("use")?.is_some_and(|what| what != "sig") || !may_verify(object.get("key_ops"))? {
        return Err(Unused::Other);
    }
    let alg = text("alg")?.map(|name| Algorithm::named(name).ok_or(Unused::Other)).transpose()?;
    let kid = text("kid")?;
    if kid.is_some_and(|kid| kid.len() > MAX_KID) {
        return Err(Unused::Wrong(format!("its `kid` has more than {MAX_KID} bytes")));
    }
    let build = |material: Material<'_>| Key::build(kid, alg, &material).map_err(Unused::Wrong);
    match text("kty")? {
        Some("oct") => build(Material::Secret(&number("k")?)),
        Some("RSA") => build(Material::Rsa { modulus: &number("n")?, exponent: &number("e")? }),
        Some("EC") => {
            let (len, material): (usize, fn(&[u8]) -> Material<'_>) = match text("crv")? {
                Some("P-256") => (32, |point| Material::P256(point)),
                Some("P-384") => (48, |point| Material::P384(point)),
                Some("P-521") => (66, |point| Material::P521(point)),
                Some(_) | None => return Err(Unused::Other),
            };
            let (x, y) = (number("x")?, number("y")?);
            if x.len() != len || y.len() != len {
                return Err(Unused::Wrong(format!("each coordinate of its curve has {len} bytes")));
            }
            build(material(&[&[4], &x[..], &y[..]].concat()))
        }
        Some("OKP") if text("crv")? == Some("Ed25519") => build(Material::Ed25519(&number("x")?)),
        Some(_) => Err(Unused::Other),
        None => Err(Unused::Wrong("`kty` is missing".into())),
    }
}

fn may_verify(key_ops: Option<&Value>) -> Result<bool, Unused> {
    match key_ops {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err(Unused::Wrong("`key_ops` is not a list".into())),
    }
}
