//! One normal form of a path, for routes, policies and upstreams alike (RFC 3986, 6.2.2).
//!
//! Two parsers that read one path differently are how a policy is escaped. So the form is made once, at admission, and
//! everything after it sees only that: unreserved characters decoded, other escapes in upper case, characters that may
//! not stand in a path encoded, dot segments resolved, `//` kept. What servers are known to disagree on is refused: an
//! encoded or plain backslash, an encoded slash, an encoded NUL, a broken escape, parameters on a dot segment (`..;`).

use std::borrow::Cow;

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    Relative,
    /// `%` without two hexadecimal digits.
    #[error("the path has a percent sign without two hexadecimal digits")]
    Escape,
    /// `%2F`, `%5C`, `%00` or a backslash.
    #[error("the path has an encoded slash, a backslash or an encoded NUL")]
    Ambiguous,
    /// A dot segment with parameters.
    #[error("the path has a dot segment with parameters")]
    DotParameters,
}

/// The normal form; borrowed when the path is in it already.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathFault> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathFault::Relative);
    }
    // The one pass that nearly every request needs: is there anything to do?
    let mut before = 0;
    let mut plain = true;
    for &byte in bytes {
        // A dot at the beginning of a segment may be a dot segment.
        plain &= PCHAR[usize::from(byte)] && !(byte == b'.' && before == b'/');
        before = byte;
    }
    if plain {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(bytes)?;
    let resolved = resolve(&decoded)?;
    if resolved == bytes {
        return Ok(Cow::Borrowed(path));
    }
    // Only ASCII was written.
    Ok(Cow::Owned(String::from_utf8(resolved).map_err(|_| PathFault::Escape)?))
}

/// Decodes every escape, for values that leave the path. Malformed escapes stay as they are.
pub fn percent_decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escape_at(bytes, at) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Appends the value as one path segment: all but unreserved characters escaped.
pub fn encode_segment(value: &[u8], out: &mut String) {
    for &byte in value {
        if UNRESERVED[usize::from(byte)] { out.push(char::from(byte)) } else { push_escape(byte, out) }
    }
}

// The characters of RFC 3986, 2.3.
const UNRESERVED: [bool; 256] = table(b"-._~");
// What may stand in a path as it is: unreserved, sub-delims, `:`, `@` and the slash.
const PCHAR: [bool; 256] = table(b"-._~!$&'()*+,;=:@/");

const fn table(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut out = String::with_capacity(bytes.len() + 8);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'%' {
            match escape_at(bytes, at).ok_or(PathFault::Escape)? {
                b'/' | b'\\' | 0 => return Err(PathFault::Ambiguous),
                byte if UNRESERVED[usize::from(byte)] => out.push(char::from(byte)),
                byte => push_escape(byte, &mut out),
            }
            at += 3;
            continue;
        }
        match byte {
            b'\\' | 0 => return Err(PathFault::Ambiguous),
            byte if PCHAR[usize::from(byte)] => out.push(char::from(byte)),
            byte => push_escape(byte, &mut out),
        }
        at += 1;
    }
    Ok(out.into_bytes())
}

/// Removes dot segments (RFC 3986, 5.2.4); `..` at the root stays at the root.
fn resolve(path: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            _ => {
                let dots = segment.iter().take_while(|byte| **byte == b'.').count();
                if (dots == 1 || dots == 2) && segment.get(dots) == Some(&b';') {
                    return Err(PathFault::DotParameters);
                }
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            out.push(b'/');
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    Some((digit(at + 1)? * 16 + digit(at + 2)?) as u8)
}

fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expect: Result<&str, PathFault>) {
        assert_eq!(normalise(path).as_deref().map_err(|e| *e), expect, "{path}");
    }

    #[test]
    fn a_path_has_one_form() {
        for same in ["/", "/a", "/a/", "/a//b", "/a.b/..c", "/a;v=1/b", "/%20", "/...", "/a/%C3%A9"] {
            check(same, Ok(same));
        }
        check("/%61%2d%7E", Ok("/a-~"));
        check("/%e4", Ok("/%E4"));
        check("/a/./b", Ok("/a/b"));
        check("/a/../b", Ok("/b"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e/b", Ok("/b"));
        check("/a/..", Ok("/"));
        check("/a/b/..", Ok("/a/"));
        check("/a/.", Ok("/a/"));
        check("/../../a", Ok("/a"));
        check("/a//../b", Ok("/a/b"));
        check("/.", Ok("/"));
        check("/\"{}|^`<>", Ok("/%22%7B%7D%7C%5E%60%3C%3E"));
        check("/é", Ok("/%C3%A9"));
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for path in ["/a%2fb", "/a%2Fb", "/a%5Cb", "/a\\b", "/a%00", "/%2e%2e%2fetc"] {
            check(path, Err(PathFault::Ambiguous));
        }
        for path in ["/%", "/%2", "/%zz", "/a%"] {
            check(path, Err(PathFault::Escape));
        }
        for path in ["/a/..;/b", "/.;x/b", "/%2e%2e;/b"] {
            check(path, Err(PathFault::DotParameters));
        }
        for path in ["", "a", "*"] {
            check(path, Err(PathFault::Relative));
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_stable(path in "/[-a-zA-Z0-9./%;~ {}é]{0,24}") {
            if let Ok(once) = normalise(&path) {
                let again = normalise(&once).expect("a normal form is one");
                prop_assert_eq!(again.as_ref(), once.as_ref());
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
