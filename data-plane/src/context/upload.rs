//! The body of a request on its way to an upstream: counted and limited.

use super::{RequestBody, strip_untrailable};
use bytes::Bytes;
use http_body::{Body, Frame};
use proto::route::BodyLimit;
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// What became of a body, for the record.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: Cell<u64>,
}

/// Why a body did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadFault {
    /// It is larger than it may be.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The client went silent.
    #[error("the client stopped sending the body")]
    Silent,
    /// The client went away, or broke the framing.
    #[error("the client did not send the body whole")]
    Broken,
}

/// The body.
#[derive(Debug)]
pub(crate) struct UploadBody {
    incoming: RequestBody,
    // As the client said it: what is left says nothing once something was taken out.
    length: Option<u64>,
    // How many bytes may still come.
    left: u64,
    // Given back: it was taken out and could not be sent.
    back: Option<Bytes>,
    begun: bool,
    upload: Rc<Upload>,
    // Another gets it too. The other end is who sends that.
    copy: Option<Rc<BodyCopy>>,
}

/// A copy of a body, made while that is sent.
#[derive(Debug)]
pub(crate) struct BodyCopy {
    max: usize,
    state: RefCell<Copied>,
}

#[derive(Debug)]
enum Copied {
    Part(Vec<u8>),
    Whole(Vec<u8>),
    TooLarge,
}

// === impl Upload ===

impl Upload {
    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

// === impl BodyCopy ===

impl BodyCopy {
    /// The copy, if all of the body came and was not too large; otherwise whether it was.
    pub(crate) fn take(&self) -> Result<Vec<u8>, bool> {
        match self.state.replace(Copied::TooLarge) {
            Copied::Whole(bytes) => Ok(bytes),
            Copied::Part(_) => Err(false),
            Copied::TooLarge => Err(true),
        }
    }

    fn push(&self, data: &[u8]) {
        let mut state = self.state.borrow_mut();
        match &mut *state {
            Copied::Part(bytes) if bytes.len() + data.len() <= self.max => bytes.extend_from_slice(data),
            Copied::Part(_) => *state = Copied::TooLarge,
            // Who took the copy has what there was.
            Copied::Whole(_) | Copied::TooLarge => {}
        }
    }

    fn end(&self) {
        let mut state = self.state.borrow_mut();
        if let Copied::Part(bytes) = &mut *state {
            *state = Copied::Whole(std::mem::take(bytes));
        }
    }
}

// === impl UploadBody ===

impl UploadBody {
    /// The body, if there is one; an error when it says itself that it is too large.
    pub(crate) fn new(incoming: RequestBody, limit: BodyLimit) -> Result<Option<UploadBody>, UploadFault> {
        if incoming.is_end_stream() {
            return Ok(None);
        }
        let left = match limit {
            BodyLimit::Bytes(limit) => limit,
            BodyLimit::Unlimited => u64::MAX,
        };
        if incoming.size_hint().lower() > left {
            return Err(UploadFault::TooLarge);
        }
        let length = incoming.size_hint().exact();
        Ok(Some(UploadBody { incoming, length, left, back: None, begun: false, upload: Rc::default(), copy: None }))
    }

    /// What becomes of it.
    pub(crate) fn upload(&self) -> Rc<Upload> {
        self.upload.clone()
    }

    /// Has it copied, up to so many bytes. Nothing of it was taken yet.
    pub(crate) fn copy(&mut self, max: usize) -> Rc<BodyCopy> {
        let copy = Rc::new(BodyCopy { max, state: RefCell::new(Copied::Part(Vec::new())) });
        self.copy = Some(copy.clone());
        copy
    }

    /// Its length, if the client said so.
    pub(crate) fn len(&self) -> Option<u64> {
        self.length
    }

    /// Whether anything was taken out of it for good, so that it cannot be sent from its beginning.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Gives the first piece back.
    pub(crate) fn give_back(&mut self, first: Bytes) {
        self.back = Some(first);
        self.begun = false;
    }

    /// Whether all of it was taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.back.is_none() && self.incoming.is_end_stream()
    }

    /// The next piece, or the trailers: of those what may be passed on.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        if let Some(data) = self.back.take() {
            self.begun = true;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(frame) = ready!(Pin::new(&mut self.incoming).poll_frame(cx)) else {
            self.copy.iter().for_each(|copy| copy.end());
            return Poll::Ready(None);
        };
        let mut frame = frame?;
        if let Some(data) = frame.data_ref() {
            let len = data.len() as u64;
            self.upload.bytes.set(self.upload.bytes.get() + len);
            if len > self.left {
                return Poll::Ready(Some(Err(UploadFault::TooLarge)));
            }
            self.left -= len;
            if let Some(copy) = &self.copy {
                copy.push(data);
                // One whose length was told ends with its last piece.
                if self.incoming.is_end_stream() {
                    copy.end();
                }
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            strip_untrailable(trailers);
        }
        self.begun = true;
        Poll::Ready(Some(Ok(frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::{BodyFraming, ClientSocket, Inbound};
    use bytes::BytesMut;
    use std::future::poll_fn;
    use tokio::net::{TcpListener, TcpStream};

    // A body of which everything was read.
    async fn body_of(bytes: &str, framing: BodyFraming) -> UploadBody {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        drop(client.unwrap());
        let inbound = Rc::new(Inbound::new(ClientSocket::Plain(server.unwrap().0), BytesMut::from(bytes)));
        let body = RequestBody::Http1(inbound.begin_body(framing, false));
        let mut body = UploadBody::new(body, BodyLimit::Unlimited).unwrap().unwrap();
        let first = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "hello");
        body.give_back(first);
        body
    }

    #[tokio::test]
    async fn a_body_that_is_sent_again_is_as_long_as_before() {
        let mut body = body_of("hello", BodyFraming::Length(5)).await;
        assert_eq!((body.len(), body.has_begun()), (Some(5), false));
        assert_eq!(poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert_eq!(body_of("5\r\nhello\r\n0\r\n\r\n", BodyFraming::Chunked).await.len(), None);
    }

    #[tokio::test]
    async fn a_copy_is_whole_or_none() {
        let copied = async |max: usize, pieces: &[&'static str], end: bool| {
            let body = RequestBody::Whole(Some(Bytes::from_static(b"first")));
            let mut body = UploadBody::new(body, BodyLimit::Unlimited).unwrap().unwrap();
            let copy = body.copy(max);
            for piece in pieces {
                copy.push(piece.as_bytes());
            }
            if end {
                poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap();
            }
            copy.take()
        };
        assert_eq!(copied(8, &["abc"], true).await, Ok(b"abcfirst".to_vec()));
        assert_eq!(copied(7, &["abc"], true).await, Err(true));
        assert_eq!(copied(8, &["abc"], false).await, Err(false));
    }
}
