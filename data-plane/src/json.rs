//! Text inside a JSON string, written without an allocation.

/// Hands out the text, piece by piece, with what JSON does not allow escaped; what is not UTF-8 becomes U+FFFD.
pub(crate) fn escape(text: &[u8], mut out: impl FnMut(&[u8])) {
    if is_plain(text) {
        return out(text);
    }
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out(b"\\\""),
            '\\' => out(b"\\\\"),
            // Also the controls beyond ASCII, and the two line ends that JavaScript does not take in a string.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let code = u32::from(c);
                out(b"\\u");
                out(&[12, 8, 4, 0].map(|shift| DIGITS[(code >> shift & 15) as usize]));
            }
            c => out(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

// Whether a string can hold it as it is. Most text is, so all of it is looked at, eight bytes at a time, and not up to the
// first that is not.
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\'));
    };
    // The last eight overlap those before them.
    let (chunks, _) = text.as_chunks();
    chunks.iter().fold(special(*last), |special_yet, chunk| special_yet | special(*chunk)) == 0
}

// Not zero if one of the bytes is a control, a quote, a backslash, or not ASCII ("Bit Twiddling Hacks", of zero bytes and
// of bytes below a bound).
fn special(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_ne_bytes(bytes);
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let equal = |byte: u8| {
        let differs = word ^ (ONES * u64::from(byte));
        differs.wrapping_sub(ONES) & !differs
    };
    (word | below_space | equal(b'"') | equal(b'\\') | equal(0x7f)) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
            for (len, at) in (1..20).flat_map(|len| (0..len).map(move |at| (len, at))) {
                let mut text = vec![b'x'; len];
                text[at] = byte;
                assert_eq!(is_plain(&text), plain, "{byte:#x} at {at} of {len}");
            }
        }
        assert!(is_plain(b""));
    }

    #[test]
    fn nothing_breaks_out_of_a_string() {
        let check = |text: &[u8], expect: &str| {
            let mut out = Vec::new();
            escape(text, |piece| out.extend_from_slice(piece));
            assert_eq!(std::str::from_utf8(&out).unwrap(), expect);
        };
        check(b"/a?b", "/a?b");
        check(b"a\"\\\n\x00\x7f", "a\\\"\\\\\\u000a\\u0000\\u007f");
        check("é\u{2028}\u{85}".as_bytes(), "é\\u2028\\u0085");
        check(b"\xff", "\u{fffd}");
    }
}
