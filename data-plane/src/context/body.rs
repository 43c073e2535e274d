//! The body of a request, as its protocol brings it.

use super::{UploadFault, streamed::StreamedBody};
use crate::inbound::InboundBody;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// There is none.
    None,
    /// It comes by HTTP/1.
    Http1(InboundBody),
    /// It comes by HTTP/2.
    Http2(StreamedBody),
    /// It is here; `None` once it was taken.
    Whole(Option<Bytes>),
    /// Its beginning was read; `None` once that was taken.
    Begun(Option<Bytes>, Box<RequestBody>),
}

impl RequestBody {
    /// The body of a stream, of that length if the client said so.
    pub(crate) fn http2(stream: RecvStream, length: Option<u64>) -> RequestBody {
        match stream.is_end_stream() {
            true => RequestBody::None,
            false => RequestBody::Http2(StreamedBody::new(stream, length)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        match self.get_mut() {
            RequestBody::None => Poll::Ready(None),
            RequestBody::Http1(body) => Pin::new(body).poll_frame(cx).map_err(|_| UploadFault::Broken),
            RequestBody::Http2(body) => Pin::new(body).poll_frame(cx),
            RequestBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            RequestBody::Begun(begin, rest) => match begin.take() {
                Some(begin) => Poll::Ready(Some(Ok(Frame::data(begin)))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::None => true,
            RequestBody::Http1(body) => body.is_end_stream(),
            RequestBody::Http2(body) => body.is_end_stream(),
            RequestBody::Whole(bytes) => bytes.is_none(),
            RequestBody::Begun(begin, rest) => begin.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::None => SizeHint::with_exact(0),
            RequestBody::Http1(body) => body.size_hint(),
            RequestBody::Http2(body) => body.size_hint(),
            RequestBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            RequestBody::Begun(begin, rest) => {
                let (begin, rest) = (begin.as_ref().map_or(0, |begin| begin.len() as u64), rest.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(begin + rest.lower());
                if let Some(upper) = rest.upper() {
                    hint.set_upper(begin + upper);
                }
                hint
            }
        }
    }
}
