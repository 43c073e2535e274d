//! A walk over JSON that was [scanned](super::scan): its members and elements are slices of it, as they were written.
//!
//! What was scanned is well-formed, so nothing is checked a second time. Of anything else a walk may say what it likes,
//! but it ends, and does not panic.

use std::borrow::Cow;

/// The members of an object, in their order: the name as it was written, in its quotes, and the value.
#[derive(Clone, Debug)]
pub(crate) struct Members<'t>(Walk<'t>);

/// The elements of an array.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'t>(Walk<'t>);

#[derive(Clone, Debug)]
struct Walk<'t> {
    text: &'t [u8],
    at: usize,
}

/// The members of an object; none of anything else.
pub(crate) fn members(value: &[u8]) -> Members<'_> {
    Members(Walk::into_container(value, b'{'))
}

/// The elements of an array; none of anything else.
pub(crate) fn elements(value: &[u8]) -> Elements<'_> {
    Elements(Walk::into_container(value, b'['))
}

/// The value of the last member of that name: where there are several, that one counts for most readers.
pub(crate) fn member<'t>(value: &'t [u8], name: &str) -> Option<&'t [u8]> {
    members(value).filter(|(written, _)| is_name(written, name)).last().map(|(_, value)| value)
}

/// Whether a name, as it was written, means this one.
pub(crate) fn is_name(written: &[u8], name: &str) -> bool {
    match inside(written) {
        inside if inside.contains(&b'\\') => *decode(inside) == *name.as_bytes(),
        inside => inside == name.as_bytes(),
    }
}

/// The text that a string means; `None` of what is no string. A half of a surrogate pair is in it as if UTF-8 had it, so
/// that two that differ stay different: such a text is not UTF-8.
pub(crate) fn string(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if value.first() != Some(&b'"') {
        return None;
    }
    match inside(value) {
        inside if inside.contains(&b'\\') => Some(decode(inside)),
        inside => Some(Cow::Borrowed(inside)),
    }
}

// Without the quotes.
fn inside(written: &[u8]) -> &[u8] {
    written.get(1..written.len().saturating_sub(1)).unwrap_or_default()
}

fn decode(inside: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let escaped = rest.get(at + 1).copied().unwrap_or_default();
        rest = rest.get(at + 2..).unwrap_or_default();
        match escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => rest = unicode(rest, &mut out),
            plain => out.push(plain),
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

// The character of one escape, or of two that are a pair; what follows them.
fn unicode<'t>(text: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    let (mut code, mut rest) = (unit(text), text.get(4..).unwrap_or_default());
    if let (0xd800..0xdc00, Some(low)) = (code, rest.strip_prefix(b"\\u"))
        && let second @ 0xdc00..0xe000 = unit(low)
    {
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
        rest = low.get(4..).unwrap_or_default();
    }
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend([0xe0 | code >> 12, 0x80 | code >> 6 & 0x3f, 0x80 | code & 0x3f].map(|byte| byte as u8)),
    }
    rest
}

fn unit(digits: &[u8]) -> u32 {
    let digits = digits.iter().take(4).map(|digit| char::from(*digit).to_digit(16).unwrap_or_default());
    digits.fold(0, |unit, digit| unit << 4 | digit)
}

// === impl Walk ===

impl<'t> Walk<'t> {
    fn into_container(value: &'t [u8], open: u8) -> Walk<'t> {
        let at = if value.first() == Some(&open) { 1 } else { value.len() };
        Walk { text: value, at }
    }

    // The next value, once commas, colons and white space are behind; none where a container ends.
    fn value(&mut self) -> Option<&'t [u8]> {
        while let b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' = self.text.get(self.at)? {
            self.at += 1;
        }
        let begin = self.at;
        self.at = match self.text.get(begin)? {
            b'}' | b']' => return None,
            b'"' => string_end(self.text, begin + 1),
            b'{' | b'[' => container_end(self.text, begin + 1),
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                let rest = self.text.get(begin + 1..).unwrap_or_default();
                rest.iter().position(ends).map_or(self.text.len(), |at| begin + 1 + at)
            }
        };
        self.text.get(begin..self.at)
    }
}

/// Behind the quote that ends a string which began before `at`.
fn string_end(text: &[u8], mut at: usize) -> usize {
    loop {
        at += plain(text.get(at..).unwrap_or_default());
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}

// Behind the bracket that ends a container which began before `at`.
fn container_end(text: &[u8], mut at: usize) -> usize {
    let mut depth = 1usize;
    loop {
        match text.get(at) {
            None => return text.len(),
            Some(b'"') => {
                at = string_end(text, at + 1);
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => depth -= 1,
            Some(_) => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
}

/// How many bytes there are before a quote, a backslash or a control character: eight at a time, for most of what is in
/// most texts is between quotes.
pub(super) fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Borrows can only say too much, and behind the first that is meant.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & HIGHS;
    let mut at = 0;
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        let found =
            below(word, 0x20) | below(word ^ (ONES * u64::from(b'"')), 1) | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t [u8], &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.value()?, self.0.value()?))
    }
}

impl<'t> Iterator for Elements<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.0.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_gives_what_was_written() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let members =
            |value: &str| members(value.as_bytes()).map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>();
        let check = |value: &str, expect: &[(&str, &str)]| {
            let expect: Vec<_> = expect.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(members(value), expect, "{value}");
        };
        check("{}", &[]);
        check("{ }", &[]);
        check("[1]", &[]);
        check("7", &[]);
        check(
            r#"{"a":1.50,"a" : "\"}" , "b":{"c":[{}]}}"#,
            &[(r#""a""#, "1.50"), (r#""a""#, r#""\"}""#), (r#""b""#, r#"{"c":[{}]}"#)],
        );
        let elements: Vec<String> = elements(br#"[1 ,"a,b]",[2,[]],null,{"x":"]"}]"#).map(text).collect();
        assert_eq!(elements, ["1", r#""a,b]""#, "[2,[]]", "null", r#"{"x":"]"}"#]);
    }

    #[test]
    fn names_mean_what_they_decode_to() {
        for (written, name) in [
            (r#""a""#, "a"),
            (r#""\u0061""#, "a"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""é\n\/\\\"""#, "é\n/\\\""),
            (r#""""#, ""),
        ] {
            assert!(is_name(written.as_bytes(), name), "{written}");
        }
        assert!(!is_name(br#""A""#, "a"));
        let half = |written: &'static str| string(written.as_bytes()).unwrap();
        assert_ne!(half(r#""\ud800""#), half(r#""\ud801""#));
        assert!(std::str::from_utf8(&half(r#""\ud800""#)).is_err());
        assert_eq!(half(r#""\ud800\u0061""#), half(r#""\ud800a""#));
        assert_eq!(string(b"7"), None);
    }

    #[test]
    fn the_last_of_several_members_counts() {
        assert_eq!(member(br#"{"a":1,"b":2,"\u0061":3}"#, "a"), Some(&b"3"[..]));
        assert_eq!(member(br#"{"b":2}"#, "a"), None);
        assert_eq!(member(b"[]", "a"), None);
    }

    #[test]
    fn eight_at_a_time_find_what_one_at_a_time_finds() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut text = vec![0xe9; len];
                    text[at] = byte;
                    let found = matches!(byte, b'"' | b'\\' | 0..0x20);
                    assert_eq!(plain(&text), if found { at } else { len }, "{byte} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_walk_over_anything_ends() {
        for text in ["{", "{\"", "{\"a\\", "[", "[[", "[}", "{\"a\":", "[\"\\u", "", "x", "{,:,", "[1,,2"] {
            members(text.as_bytes()).for_each(drop);
            elements(text.as_bytes()).for_each(drop);
            string(text.as_bytes());
            is_name(text.as_bytes(), "a");
        }
    }
}
