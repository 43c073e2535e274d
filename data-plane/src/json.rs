//! Text inside a JSON string, appended to a buffer without an allocation.

/// Appends the text with what JSON does not allow escaped; what is not UTF-8 becomes U+FFFD.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
    // To look at all of them at once is faster than to stop at the first that is not.
    if text.iter().fold(true, |all, byte| all & plain(*byte)) {
        out.extend_from_slice(text);
        return;
    }
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // Also the controls beyond ASCII, and the two line ends that JavaScript does not take in a string.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let code = u32::from(c);
                out.extend_from_slice(b"\\u");
                out.extend([12, 8, 4, 0].map(|shift| DIGITS[(code >> shift & 15) as usize]));
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_string() {
        let check = |text: &[u8], expect: &str| {
            let mut out = Vec::new();
            escape(text, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expect);
        };
        check(b"/a?b", "/a?b");
        check(b"a\"\\\n\x00\x7f", "a\\\"\\\\\\u000a\\u0000\\u007f");
        check("é\u{2028}\u{85}".as_bytes(), "é\\u2028\\u0085");
        check(b"\xff", "\u{fffd}");
    }
}
