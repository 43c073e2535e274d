//! An answer on its way to the client: the head and what is there of the body in one write, then the rest as it comes.

use super::encode::AnswerFraming;
use crate::{context::strip_untrailable, encoding, inbound::Inbound, pieces::Pieces, proxy::AnswerBody, wire::Wire};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answering {
    pieces: Pieces,
    body: Option<AnswerBody>,
    framing: AnswerFraming,
    // The connection ends with it.
    is_last: bool,
    // It goes no further than what is to be written.
    cut: bool,
    // The body was asked once, so that what was there of it goes with the head.
    asked: bool,
    // The client did not take all that there was.
    stuck: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was written whole.
    Whole,
    /// It was not: the client has to notice.
    Cut,
}

impl Answering {
    /// An answer of that head. What has no body has none left, unless it goes on as another protocol.
    pub(super) fn new(head: Vec<u8>, body: Option<AnswerBody>, framing: AnswerFraming) -> Answering {
        Answering { pieces: Pieces::new(head), body, framing, is_last: false, cut: false, asked: false, stuck: false }
    }

    /// The same, when the connection ends with it.
    pub(super) fn last(self) -> Answering {
        Answering { is_last: true, ..self }
    }

    /// The buffer of the head, and the body if it was not asked for.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<AnswerBody>) {
        (self.pieces.into_buffer(), self.body)
    }

    /// Whether it waits for more of the body, with everything written that there is.
    pub(super) fn is_written(&self) -> bool {
        self.pieces.is_written()
    }

    /// Puts a harmless byte in front of the next chunk, to see whether anybody is there: a zero more before its size.
    pub(super) fn probe(&mut self) {
        if self.framing == AnswerFraming::Chunked && self.body.is_some() && self.is_written() {
            self.pieces.prefix().push(b'0');
        }
    }

    /// Writes it.
    pub(super) fn poll(
        &mut self,
        inbound: &Inbound,
        wire: &Wire,
        within: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Sent> {
        loop {
            let is_written = self.is_written();
            if self.framing != AnswerFraming::None && (is_written || !std::mem::replace(&mut self.asked, true)) {
                let Some(body) = &mut self.body else {
                    return self.poll_end(inbound, cx);
                };
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.frame(frame),
                    Poll::Ready(Some(Err(_))) => self.cut(),
                    Poll::Ready(None) => self.end(),
                    Poll::Pending if is_written => {
                        // What TLS holds back is for the client to see while it waits.
                        return match inbound.poll_flush(cx) {
                            Poll::Ready(Err(_)) => Poll::Ready(Sent::Cut),
                            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                        };
                    }
                    Poll::Pending => {}
                }
                if self.is_written() {
                    continue;
                }
            } else if is_written {
                return self.poll_end(inbound, cx);
            }
            let written = self.pieces.write(|pieces| match self.is_last && self.body.is_none() {
                true => inbound.poll_write_last(pieces, cx),
                false => inbound.poll_write(pieces, cx),
            });
            match written {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.pieces.advance(n);
                    if std::mem::take(&mut self.stuck) {
                        wire.progress();
                    }
                }
                Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Sent::Cut),
                Poll::Pending => {
                    // From now on the client is waited for, and nobody else.
                    if !std::mem::replace(&mut self.stuck, true) {
                        wire.progress();
                    }
                    return match wire.wait(within) {
                        Ok(()) => Poll::Pending,
                        Err(_) => Poll::Ready(Sent::Cut),
                    };
                }
            }
        }
    }

    fn poll_end(&self, inbound: &Inbound, cx: &mut Context<'_>) -> Poll<Sent> {
        match inbound.poll_flush(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !self.cut => Poll::Ready(Sent::Whole),
            Poll::Ready(Ok(()) | Err(_)) => Poll::Ready(Sent::Cut),
        }
    }

    // The next piece of the body, framed.
    fn frame(&mut self, frame: Frame<Bytes>) {
        let is_last = self.body.as_ref().is_none_or(|body| body.is_end_stream());
        let frame = match frame.into_data() {
            Ok(data) => {
                match &mut self.framing {
                    // A chunk without bytes would be the end.
                    AnswerFraming::Chunked if data.is_empty() => {}
                    AnswerFraming::Chunked => {
                        encoding::chunk(data.len(), self.pieces.prefix());
                        (self.pieces.data, self.pieces.suffix) = (data, b"\r\n");
                    }
                    // More than was said is not passed on: it would be taken for the next answer.
                    AnswerFraming::Length(left) if data.len() as u64 > *left => self.cut(),
                    AnswerFraming::Length(left) => {
                        *left -= data.len() as u64;
                        self.pieces.data = data;
                    }
                    AnswerFraming::Close => self.pieces.data = data,
                    AnswerFraming::None => {}
                }
                if is_last {
                    self.end();
                }
                return;
            }
            Err(frame) => frame,
        };
        if let (AnswerFraming::Chunked, Ok(mut trailers)) = (self.framing, frame.into_trailers()) {
            strip_untrailable(&mut trailers);
            encoding::last_chunk(Some(&trailers), self.pieces.prefix());
            self.body = None;
        }
    }

    fn end(&mut self) {
        // Its drop writes the record, if its end did not.
        self.body = None;
        match self.framing {
            AnswerFraming::Chunked if self.pieces.suffix.is_empty() => self.pieces.suffix = LAST_CHUNK,
            AnswerFraming::Chunked => self.pieces.suffix = b"\r\n0\r\n\r\n",
            AnswerFraming::Length(left) => self.cut |= left > 0,
            AnswerFraming::Close | AnswerFraming::None => {}
        }
    }

    fn cut(&mut self) {
        self.body = None;
        self.cut = true;
    }
}
