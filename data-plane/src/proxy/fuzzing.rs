//! A door to admission, for fuzzers.

use super::Visit;
use crate::{inbound::BodyFraming, pool::encode_request};
use http::Request;
use proto::matching::Scheme;

/// What an upstream gets of a request of a stranger; none when it is refused.
pub(crate) fn admitted(request: Request<()>) -> Option<Vec<u8>> {
    let client = [127, 0, 0, 1].into();
    let mut visit = Visit::new(request, BodyFraming::Length(0), client, ("http", Scheme::Http));
    visit.admit().ok()?;
    let context = &visit.context;
    Some(encode_request(&context.method, &context.target, &context.headers))
}
