//! What HTTP/1.1 writes the same way in requests and in answers: fields, the length of a body, chunks.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::io::Write;

/// Appends a field.
pub(crate) fn field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
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
