//! A door to the codec, for fuzzers.

use super::head::{Fields, Limits, decode};
use crate::inbound::BodyFraming;
use bytes::BytesMut;
use http::Request;

/// The head at the beginning of the bytes, how the body behind it is framed, and how long the head is.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<(Request<()>, BodyFraming, usize)> {
    let limits = Limits { bytes: 1 << 20, headers: crate::settings::MOST_HEADERS };
    let mut buffer = BytesMut::from(bytes);
    let head = decode(&mut buffer, limits, &mut Fields::default()).ok()??;
    Some((head.request, head.framing, bytes.len() - buffer.len()))
}
