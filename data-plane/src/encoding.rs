//! What HTTP/1.1 writes the same way in requests and in answers: fields, the length of a body, chunks; and base64.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::io::Write;

/// Appends a field.
pub(crate) fn field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    line(name, value.as_bytes(), out);
}

/// Appends a field whose value is known to be one.
pub(crate) fn line(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends how long the body is.
pub(crate) fn content_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the beginning of a chunk; its bytes and an empty line follow.
pub(crate) fn chunk(len: usize, out: &mut Vec<u8>) {
    // To write into memory cannot fail.
    write!(out, "{len:x}\r\n").ok();
}

/// Appends the last chunk and the trailers.
pub(crate) fn last_chunk(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        field(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Bytes in base64, padded; `N` is how long that is.
pub(crate) fn base64<const N: usize>(bytes: &[u8]) -> [u8; N] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; N];
    for (bytes, out) in bytes.chunks(3).zip(text.chunks_exact_mut(4)) {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, digit) in out.iter_mut().enumerate().take(bytes.len() + 1) {
            *digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        // RFC 4648, 10.
        assert_eq!((&base64::<4>(b"f"), &base64::<4>(b"fo"), &base64::<4>(b"foo")), (b"Zg==", b"Zm8=", b"Zm9v"));
        assert_eq!(&base64::<24>(b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }
}
