//! base64url without padding (RFC 7515, section 2), as strict as it is written: of one content there is one text.

use aws_lc_rs::error::Unspecified;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NONE: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// The text.
pub fn encode(content: &[u8]) -> String {
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (24 - 8 * chunk.len());
        let digit = move |at: usize| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..=chunk.len()).map(digit).collect::<String>()
    };
    content.chunks(3).map(digits).collect()
}

/// The content; refused are padding, white space, other alphabets and bits that say nothing.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut content = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in chunk {
            let value = VALUES[usize::from(*byte)];
            if value == NONE {
                return Err(Unspecified);
            }
            bits = bits << 6 | u32::from(value);
        }
        let [_, a, b, c] = (bits << (24 - 6 * chunk.len())).to_be_bytes();
        match (chunk.len(), b, c) {
            (4, ..) => content.extend_from_slice(&[a, b, c]),
            (3, _, 0) => content.extend_from_slice(&[a, b]),
            (2, 0, 0) => content.push(a),
            _ => return Err(Unspecified),
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_content_has_one_text() {
        let check = |text: &str, expect: Option<&[u8]>| assert_eq!(decode(text.as_bytes()).ok().as_deref(), expect);
        for content in [&b""[..], b"f", b"fo", b"foo", b"\xfb\xff\xbf\x00"] {
            assert_eq!(decode(encode(content).as_bytes()).as_deref(), Ok(content));
        }
        check("", Some(b""));
        check("Zg", Some(b"f"));
        check("Zm8", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9vYg", Some(b"foob"));
        check("-_-_", Some(b"\xfb\xff\xbf"));
        for bad in ["Z", "Zm9vZ", "Zh", "Zm9", "Zg==", "Zm8=", "Zm9v\n", " Zm9v", "Zm 9v", "+/+/", "Zm9\0", "Zm9\u{e9}"]
        {
            check(bad, None);
        }
    }
}
