//! How values are encoded where they go, so that none becomes syntax.

use crate::path;
use std::fmt::Write;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One segment of a path.
    Segment,
    /// The rest of a path, which keeps its slashes.
    Rest,
    /// The value of a parameter of a query.
    Query,
    /// Text of a header.
    Header,
    /// What stands within a string of JSON.
    Json,
    /// The same, of a request.
    JsonText,
    /// A value of JSON; [`super::json::write`] writes it.
    JsonValue,
    /// What stands between the tags of HTML, or in an attribute.
    Html,
    /// Text as it is.
    Text,
}

// === impl Encoding ===

impl Encoding {
    /// Appends the value; `None` where it cannot stand, and then what was appended is of no use.
    pub(super) fn encode(self, value: &[u8], out: &mut String) -> Option<()> {
        match self {
            Encoding::Segment if value.is_empty() => return None,
            Encoding::Segment => segment(value, out)?,
            Encoding::Rest => {
                for (at, part) in value.split(|byte| *byte == b'/').enumerate() {
                    if at > 0 {
                        out.push('/');
                    }
                    segment(part, out)?;
                }
            }
            Encoding::Query => path::encode_segment(value, out),
            Encoding::Header => {
                let text = std::str::from_utf8(value).ok()?;
                out.push_str(Some(text).filter(|text| http::HeaderValue::from_str(text).is_ok())?);
            }
            Encoding::Json => String::from_utf8_lossy(value).chars().for_each(|c| json(c, out)),
            Encoding::JsonText => super::json::write_within_string(std::str::from_utf8(value).ok()?, out),
            Encoding::JsonValue => super::json::write_string(std::str::from_utf8(value).ok()?, out),
            Encoding::Html => String::from_utf8_lossy(value).chars().for_each(|c| html(c, out)),
            Encoding::Text => out.push_str(&String::from_utf8_lossy(value)),
        }
        Some(())
    }

    /// The same for one of several. In a header a comma would make two of it; elsewhere it is escaped, or means nothing.
    pub(super) fn encode_element(self, value: &[u8], out: &mut String) -> Option<()> {
        let breaks = self == Encoding::Header && value.contains(&b',');
        if breaks { None } else { self.encode(value, out) }
    }

    /// Whether the result goes to people, and is better with a gap than not at all.
    pub(super) fn allows_gaps(self) -> bool {
        matches!(self, Encoding::Json | Encoding::Html | Encoding::Text)
    }
}

// A slash, a backslash, a NUL or a dot segment would change what the path means.
fn segment(segment: &[u8], out: &mut String) -> Option<()> {
    if matches!(segment, b"." | b"..") || segment.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
        return None;
    }
    path::encode_segment(segment, out);
    Some(())
}

// To write into a string cannot fail.
fn json(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        // A page that has JSON in it must not see its own end there.
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
            write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
        }
        c => out.push(c),
    }
}

// All but letters and digits: an attribute without quotes ends at a space.
fn html(c: char, out: &mut String) {
    match c {
        '\0' => out.push('\u{fffd}'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') => out.push(c),
        c => write!(out, "&#x{:x};", u32::from(c)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_where_it_stands() {
        let check = |encoding: Encoding, value: &str, expect: &str| {
            let mut out = String::new();
            encoding.encode(value.as_bytes(), &mut out).unwrap();
            assert_eq!(out, expect);
        };
        check(Encoding::Json, "a\"b\\\n</script>é", "a\\\"b\\\\\\u000a\\u003c/script\\u003eé");
        check(Encoding::Html, "x onload=a('b')<é", "x&#x20;onload&#x3d;a&#x28;&#x27;b&#x27;&#x29;&#x3c;é");
        check(Encoding::Text, "a<b", "a<b");
        check(Encoding::Query, "a&b", "a%26b");
    }
}
