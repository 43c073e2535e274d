//! Names of resources: short, plain, safe in a URL, a file name and a metric label.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The longest name, in bytes.
pub const MAX_LEN: usize = 63;

/// The name of a resource, unique within its kind: 1 to 63 of `a-z`, `0-9`, `-`, `.`, beginning and ending with a letter
/// or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Parses a name; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Name, String> {
        if text.is_empty() {
            return Err("a name is missing; give 1 to 63 of a-z, 0-9, - and .".into());
        }
        if text.len() > MAX_LEN {
            return Err(format!("a name has at most {MAX_LEN} characters; this one has {}", text.len()));
        }
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        if let Some(c) = text.chars().find(|c| !c.is_ascii() || !(plain(*c as u8) || matches!(c, '-' | '.'))) {
            return Err(format!("{c:?} cannot stand in a name; use a-z, 0-9, - and ."));
        }
        if !plain(bytes[0]) || !plain(bytes[bytes.len() - 1]) {
            return Err("a name begins and ends with a letter or digit".into());
        }
        Ok(Name(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Name ===

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "orders", "orders-v2", "a.b", "0"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", ".a", "A", "a/b", "a b", "ä", "a_b", long.as_str()] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }
}
