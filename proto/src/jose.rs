//! The keys that tokens are signed with (JWK, RFC 7517), and what both a key and a token are written in.
//!
//! A key has one check for each algorithm that it fits and for no other: an RSA key none for HS256, a key of P-256 none
//! for ES384, and one that says its `alg` only that. So no word of a token can have a key used for what it is not. It is
//! aws-lc-rs that checks, with keys parsed once; no library of tokens stands between, whose settings could be forgotten.

mod algorithm;
pub mod base64url;
mod json;
mod jwk;
mod key;
mod key_set;

pub use algorithm::Algorithm;
pub use json::{JsonFault, Limits, parse_object, parse_value};
pub use key::Key;
pub use key_set::{KeySet, MAX_JWKS, MAX_KEYS};

#[cfg(test)]
mod tests;
