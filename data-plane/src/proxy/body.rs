//! The body of an answer, with the record of its request: what is recorded is what was sent.

use super::{passage::Passage, record::Record};
use crate::{
    pool::{DownloadBody, DownloadFault},
    tunnel::Side,
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Flow {
    /// They are all here; `None` when there are none, or they were taken.
    Whole(Option<Bytes>),
    /// They come from the upstream.
    Stream(DownloadBody),
}

/// The body of an answer. The record is written when it ended, or when it is dropped before.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    flow: Flow,
    record: Option<Box<Record>>,
}

// === impl Flow ===

impl Flow {
    pub(super) fn whole(bytes: Bytes) -> Flow {
        Flow::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    pub(super) fn new(flow: Flow, record: Box<Record>) -> AnswerBody {
        AnswerBody { flow, record: Some(record) }
    }

    /// After an answer with status 101: what comes on the client's connection from now on, and what of it was read
    /// already, belongs to the protocol that was switched to.
    pub(crate) async fn tunnel(mut self, client: impl Side, read: BytesMut) {
        let switched = match std::mem::replace(&mut self.flow, Flow::Whole(None)) {
            Flow::Stream(body) => body.into_switched(),
            Flow::Whole(_) => None,
        };
        // Only an upstream answers so.
        if let (Some(upstream), Some(record)) = (switched, self.record.take()) {
            Passage::new(record, (client, read), *upstream).run().await;
        }
    }

    fn end(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.ended();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = DownloadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadFault>>> {
        let this = self.get_mut();
        let frame = match &mut this.flow {
            Flow::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Flow::Stream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        match &frame {
            None => this.end(),
            Some(Err(fault)) => {
                if let Some(mut record) = this.record.take() {
                    record.cut_off(*fault);
                }
            }
            Some(Ok(frame)) => {
                if let (Some(data), Some(record)) = (frame.data_ref(), &mut this.record) {
                    record.sent += data.len() as u64;
                }
                if this.is_end_stream() {
                    this.end();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.flow {
            Flow::Whole(bytes) => bytes.is_none(),
            Flow::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Flow::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Flow::Stream(body) => body.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // A body without bytes is never asked for one.
        if self.is_end_stream() {
            self.end();
        }
    }
}
