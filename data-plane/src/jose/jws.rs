//! A signed text: its parts, and whether its signature holds.

use super::TokenFault;
use proto::{
    claims::Claims,
    jose::{Algorithm, Key, KeySet, Limits, base64url, parse_object},
};
use serde_json::Value;

/// How many keys are tried for one token: each costs a check of a signature.
const MAX_TRIES: usize = 8;

/// The longest id of a key that is compared.
const MAX_KID: usize = 256;
/// A header is flat, but for what is not read.
const HEADER: Limits = Limits { depth: 4, members: 64 };
/// Groups and nested roles need room.
const CLAIMS: Limits = Limits { depth: 16, members: 1024 };

/// A token, not believed yet.
pub(crate) struct Jws<'t> {
    /// Its algorithm.
    pub(crate) algorithm: Algorithm,
    /// The key that it names.
    pub(crate) kid: Option<String>,
    typ: Option<String>,
    signed: &'t [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

// === impl Jws ===

impl<'t> Jws<'t> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'t [u8]) -> Result<Jws<'t>, TokenFault> {
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenFault::Malformed);
        };
        let decode = |text: &[u8]| base64url::decode(text).map_err(|_| TokenFault::Malformed);
        let (signed, header) = (&token[..second], decode(&token[..first])?);
        let (payload, signature) = (decode(&token[first + 1..second])?, decode(&token[second + 1..])?);
        let header = parse_object(&header, HEADER).map_err(|_| TokenFault::Header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenFault::Critical);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenFault::Header),
        };
        let algorithm = text("alg")?.ok_or(TokenFault::Header)?;
        let algorithm = Algorithm::named(algorithm).ok_or(TokenFault::Algorithm)?;
        let kid = text("kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(TokenFault::UnknownKey);
        }
        let (kid, typ) = (kid.map(Into::into), text("typ")?.map(Into::into));
        Ok(Jws { algorithm, kid, typ, signed, payload, signature })
    }

    /// What it says it is, without a leading `application/`.
    pub(crate) fn typ(&self) -> Option<&str> {
        let typ = self.typ.as_deref()?;
        let (prefix, rest) = typ.split_at_checked("application/".len()).unwrap_or(("", typ));
        Some(if prefix.eq_ignore_ascii_case("application/") { rest } else { typ })
    }

    /// What it says, which nobody may believe yet: to choose who could have signed it.
    pub(crate) fn unproven(&self) -> Result<Claims, TokenFault> {
        parse_object(&self.payload, CLAIMS).map_err(|_| TokenFault::Claims)
    }

    /// Whether one of the keys signed it, by an algorithm of these.
    pub(crate) fn verify(&self, keys: &KeySet, algorithms: &[Algorithm]) -> Result<(), TokenFault> {
        if !algorithms.contains(&self.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let fits = |key: &&Key| key.algorithms().any(|algorithm| algorithm == self.algorithm);
        let mut fault = TokenFault::UnknownKey;
        for key in keys.candidates(self.kid.as_deref()).filter(fits).take(MAX_TRIES) {
            if key.verify(self.algorithm, self.signed, &self.signature).is_ok() {
                return Ok(());
            }
            fault = TokenFault::Signature;
        }
        Err(fault)
    }
}
