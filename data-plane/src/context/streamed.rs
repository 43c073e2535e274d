//! The body of a request as HTTP/2 brings it.

use super::UploadFault;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The body of a request by HTTP/2. A client may send as much ahead as the window of its stream has room for; what is
/// taken out makes room for more.
#[derive(Debug)]
pub(crate) struct StreamedBody {
    stream: RecvStream,
    // What is still to come of it, if the client said so; the codec sees to it that it is true.
    left: Option<u64>,
    data_ended: bool,
}

impl StreamedBody {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> StreamedBody {
        StreamedBody { stream, left: length, data_ended: false }
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let this = self.get_mut();
        if !this.data_ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    // A stream that ended needs no room.
                    this.stream.flow_control().release_capacity(data.len()).ok();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(UploadFault::Broken))),
                None => this.data_ended = true,
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(_) => Poll::Ready(Some(Err(UploadFault::Broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
