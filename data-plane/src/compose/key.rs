//! What makes two values the same for a list join: strings when they mean the same text, numbers when they are written
//! the same, anything else when its bytes are the same. The string `"1"` and the number `1` differ.

use super::{find::find, text::string};
use foldhash::{HashMap, HashMapExt};
use proto::json_path::Step;
use std::borrow::Cow;

/// A value as a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key<'t>(Cow<'t, [u8]>);

/// Items that have the same key are one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distinct<'t> {
    /// The first item that has it.
    pub(crate) item: &'t [u8],
    /// The key as that item has it.
    pub(crate) key: &'t [u8],
}

/// The items by their keys, in the order in which each key comes first. What has no key, or `null`, is left out.
pub(crate) fn distinct<'t>(items: impl IntoIterator<Item = &'t [u8]>, key: &[Step]) -> Vec<Distinct<'t>> {
    let (mut seen, mut distinct) = (HashMap::new(), Vec::new());
    for item in items {
        let Some(written) = find(item, key) else { continue };
        let Some(key) = Key::of(written) else { continue };
        if seen.insert(key, ()).is_none() {
            distinct.push(Distinct { item, key: written });
        }
    }
    distinct
}

// === impl Key ===

impl<'t> Key<'t> {
    /// The key that a value is; `null` is none.
    pub(crate) fn of(value: &'t [u8]) -> Option<Key<'t>> {
        match value {
            b"null" => None,
            // In its quotes, so that it is no number.
            [b'"', inside @ ..] if inside.contains(&b'\\') => {
                string(value).map(|text| Key(Cow::Owned([b"\"", &*text, b"\""].concat())))
            }
            value => Some(Key(Cow::Borrowed(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::text::elements;
    use proto::json_path::JsonPath;

    #[test]
    fn keys_are_equal_when_they_mean_the_same() {
        let key = |value: &'static str| Key::of(value.as_bytes());
        assert_eq!(key(r#""a\/b""#), key(r#""a/b""#));
        assert_eq!(key(r#""\u0061""#), key(r#""a""#));
        assert_ne!(key("1"), key(r#""1""#));
        assert_ne!(key("1"), key("1.0"));
        assert_ne!(key(r#""\ud800""#), key(r#""\ud801""#));
        assert_eq!(key("null"), None);
        assert_ne!(key("{}"), key("[]"));
    }

    #[test]
    fn items_are_distinct_in_order_of_first_appearance() {
        let items = br#"[{"k":"b"},{"k":"a"},{"k":"\u0062","x":1},{"k":null},{},7,{"k":1},{"k":"1"},{"k":"a"}]"#;
        let check = |key: &str, expect: &[&str]| {
            let key = JsonPath::parse(key).unwrap();
            let found = distinct(elements(items), &key.steps);
            let found: Vec<&str> = found.iter().map(|one| std::str::from_utf8(one.key).unwrap()).collect();
            assert_eq!(found, expect);
        };
        check("k", &["\"b\"", "\"a\"", "1", "\"1\""]);
        let items = br#"[1, "a", {"b":1}, 1, "\u0061", {"b": 1}]"#;
        let found: Vec<&[u8]> = distinct(elements(items), &[]).iter().map(|one| one.item).collect();
        assert_eq!(found, [&b"1"[..], b"\"a\"", b"{\"b\":1}", b"{\"b\": 1}"]);
    }
}
