//! The body of a request on its way to an upstream: counted and limited, and kept as it goes if it may have to go again.

use super::{RequestBody, strip_untrailable};
use bytes::{Bytes, BytesMut};
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
    // As the client said it: what is left says nothing once something was taken out.
    length: Option<u64>,
    // How many bytes may still come.
    left: Cell<u64>,
    // Given back: it was taken out and has to be sent again.
    back: RefCell<Option<Bytes>>,
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
    begun: bool,
    kept: Option<Box<Kept>>,
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

// All that was taken out of a body so far; it is no more than may be kept.
#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    // How much more may be.
    room: usize,
}

/// How many bytes may come, of a body that has so many at least.
pub(crate) fn room(least: u64, limit: BodyLimit) -> Result<u64, UploadFault> {
    let room = match limit {
        BodyLimit::Bytes(limit) => limit,
        BodyLimit::Unlimited => u64::MAX,
    };
    if least > room { Err(UploadFault::TooLarge) } else { Ok(room) }
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
        let left = room(incoming.size_hint().lower(), limit)?;
        let length = incoming.size_hint().exact();
        let upload = Rc::new(Upload { bytes: Cell::new(0), length, left: Cell::new(left), back: RefCell::default() });
        Ok(Some(UploadBody { incoming, begun: false, kept: None, upload, copy: None }))
    }

    /// Has it kept as it goes, if it is not larger than that.
    pub(crate) fn keep(&mut self, limit: usize) {
        if limit > 0 && self.len().is_none_or(|length| length <= limit as u64) {
            self.kept = Some(Box::new(Kept { bytes: Bytes::new(), room: limit }));
        }
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
        self.upload.length
    }

    /// Whether anything was taken out of it for good, so that it cannot be sent from its beginning.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether all that was taken out is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Has it begin again; whether that can be.
    pub(crate) fn rewind(&mut self) -> bool {
        if self.begun
            && let Some(kept) = &self.kept
        {
            self.upload.back.replace(Some(kept.bytes.clone()).filter(|bytes| !bytes.is_empty()));
            self.begun = false;
        }
        !self.begun
    }

    /// Gives the first piece back.
    pub(crate) fn give_back(&mut self, first: Bytes) {
        self.upload.back.replace(Some(first));
        self.begun = false;
    }

    /// Whether all of it was taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.upload.back.borrow().is_none() && self.incoming.is_end_stream()
    }

    /// The next piece, or the trailers: of those what may be passed on.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        if let Some(data) = self.upload.back.take() {
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
            let Some(left) = self.upload.left.get().checked_sub(len) else {
                return Poll::Ready(Some(Err(UploadFault::TooLarge)));
            };
            self.upload.left.set(left);
            self.kept = self.kept.take().and_then(|kept| kept.with(data));
            if let Some(copy) = &self.copy {
                copy.push(data);
                // One whose length was told ends with its last piece.
                if self.incoming.is_end_stream() {
                    copy.end();
                }
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            self.kept = None;
            strip_untrailable(trailers);
        }
        self.begun = true;
        Poll::Ready(Some(Ok(frame)))
    }
}

// === impl Kept ===

impl Kept {
    // With what follows; `None` when that is too much. The first piece is not copied. Those that follow are, for each may
    // be a few bytes of a large block of memory.
    fn with(mut self: Box<Self>, data: &Bytes) -> Option<Box<Kept>> {
        self.room = self.room.checked_sub(data.len())?;
        self.bytes = match std::mem::take(&mut self.bytes) {
            bytes if bytes.is_empty() => data.clone(),
            bytes => {
                let mut bytes = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
                bytes.extend_from_slice(data);
                bytes.freeze()
            }
        };
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::{BodyFraming, ClientSocket, Inbound};
    use bytes::BytesMut;
    use std::future::poll_fn;
    use tokio::net::{TcpListener, TcpStream};

    // A body of which nothing was taken out.
    async fn fresh(bytes: &str, framing: BodyFraming) -> UploadBody {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        drop(client.unwrap());
        let inbound = Rc::new(Inbound::new(ClientSocket::Plain(server.unwrap().0), BytesMut::from(bytes)));
        let body = RequestBody::Http1(inbound.begin_body(framing, false));
        UploadBody::new(body, BodyLimit::Unlimited).unwrap().unwrap()
    }

    // A body of which everything was read.
    async fn body_of(bytes: &str, framing: BodyFraming) -> UploadBody {
        let mut body = fresh(bytes, framing).await;
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

    #[test]
    fn no_more_is_kept_than_may_be() {
        let piece = Bytes::from_static(b"abc");
        let kept = Box::new(Kept { bytes: Bytes::new(), room: 6 }).with(&piece).unwrap();
        assert_eq!(kept.bytes.as_ptr(), piece.as_ptr(), "a copy");
        let kept = kept.with(&piece).unwrap();
        assert_eq!((&kept.bytes[..], kept.room), (&b"abcabc"[..], 0));
        assert!(kept.with(&Bytes::from_static(b"d")).is_none());
    }

    #[tokio::test]
    async fn what_was_kept_comes_again_and_then_the_rest() {
        let mut body = fresh("5\r\nhello\r\n1\r\n,\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", BodyFraming::Chunked).await;
        body.keep(12);
        for taken in [5, 6, 7, 12] {
            let mut all = Vec::new();
            while all.len() < taken {
                let piece = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
                all.extend_from_slice(&piece);
            }
            assert_eq!(all, b"hello, world"[..taken]);
            assert!(body.rewind());
        }
        let all = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(all, "hello, world");
        assert!(poll_fn(|cx| body.poll_frame(cx)).await.is_none() && body.has_ended());
        assert_eq!(body.upload().bytes(), 12);
    }
}
