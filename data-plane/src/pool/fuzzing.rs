//! Doors to the heads of HTTP/1, for fuzzers.

use super::{
    call::Outgoing,
    head::{Framing, RequestFraming, decode, encode},
};
use crate::context::Trace;
use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, uri::PathAndQuery};

/// An answer: its status, what of its headers travels on, how its body is framed, and how long its head is.
pub(crate) fn decode_answer(bytes: &[u8], method: &Method) -> Option<(StatusCode, HeaderMap, String, usize)> {
    let mut buffer = BytesMut::from(bytes);
    let head = decode(&mut buffer, method).ok()??;
    let framing = match head.framing {
        Framing::Length(length) => format!("length {length}"),
        Framing::Chunked => "chunked".into(),
        Framing::Close => "close".into(),
    };
    Some((head.status, head.headers, framing, bytes.len() - buffer.len()))
}

/// A request without a body as an upstream gets it.
pub(crate) fn encode_request(method: &Method, target: &PathAndQuery, headers: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    let trace = Trace::new(1, 1);
    encode(&Outgoing { method, target, headers, upgrade: None, trace: &trace }, 1, RequestFraming::None, &mut out);
    out
}
