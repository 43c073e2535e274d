//! One connection to an endpoint: sends a request and yields the response. The only place that knows how.
//!
//! A request is sent and its response read by the task of the client's connection: there is no task, no channel and no
//! wake-up in between. A connection is used again only after a response whose end was beyond doubt, to a request that
//! was sent whole, and with no byte left over.

use super::{
    Seat,
    call::{Call, Outgoing},
    download::DownloadBody,
    head::{self, BadHead, Head, MAX_HEAD, RequestFraming},
    local::{InFlight, LocalEndpoint},
    outbound::{Outbound, OutboundError, Side},
    stream::Stream,
    switch::Switched,
    tls::alert,
};
use crate::{
    context::{UploadBody, UploadFault},
    error::Error,
    wire::Elapsed,
};
use bytes::BytesMut;
use http::{Response, StatusCode};
use std::{
    future::poll_fn,
    io,
    pin::pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncReadExt;

/// How many interim responses may come before the response.
pub(super) const MAX_INTERIM: usize = 16;
/// How much room there is for a read of a head, and so of a small response whole.
const HEAD_ROOM: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// What was read, but not used yet.
    pub(super) buffer: BytesMut,
    // How many interim responses came to the request in hand.
    interim: usize,
    seat: Seat,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// Nothing of the request was sent.
    Unsent(Error),
    /// It may have been received; no byte of a response came.
    Unanswered(Error),
    /// It was received, for all that is known; the response did not come in time.
    Late(Error),
    /// It may have been received, and there is no second try.
    Final(Error),
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(stream: Stream, seat: Seat) -> Connection {
        Connection { stream, buffer: BytesMut::new(), interim: 0, seat }
    }

    /// Whether an idle connection still stands. Nothing is expected on it: what can be read now is its end, or what nobody
    /// asked for.
    pub(super) fn is_open(&mut self) -> bool {
        self.stream.is_quiet()
    }

    pub(super) fn seat_is_wanted(&self) -> bool {
        self.seat.is_wanted()
    }

    /// Sends a request. Afterwards the body is still there if it can be sent from its beginning.
    pub(super) async fn send(
        mut self,
        call: &Call<'_>,
        span: u64,
        body: &mut Option<UploadBody>,
        in_flight: InFlight,
    ) -> Result<Response<DownloadBody>, SendError> {
        self.interim = 0;
        let framing = match body.as_ref().map(UploadBody::len) {
            None => RequestFraming::None,
            Some(Some(len)) => RequestFraming::Length(len),
            Some(None) => RequestFraming::Chunked,
        };
        let mut bytes = call.upstreams.take_buffer();
        head::encode(&call.outgoing, span, framing, &mut bytes);
        let mut outbound = Some(Outbound::new(bytes, body.take(), framing));
        let head = poll_fn(|cx| self.poll_exchange(call, &in_flight.0, &mut outbound, body, cx)).await;
        let head = match (head, outbound.take()) {
            (Ok(head), rest) => {
                outbound = rest;
                head
            }
            (Err(error), Some(unsent)) => {
                let (rest, bytes) = unsent.into_parts();
                *body = rest;
                call.upstreams.give_buffer(bytes);
                return Err(error);
            }
            (Err(error), None) => return Err(error),
        };
        let Head { status, headers, framing, mut keep_alive, .. } = head;
        if call.retry().answers.contain(status)
            && let Some(unsent) = outbound.take_if(|unsent| unsent.is_kept())
        {
            // It has answered before it had heard everything, and somebody else is to hear it.
            (*body, keep_alive) = (unsent.into_parts().0, false);
        }
        let body = match (status, &outbound) {
            (StatusCode::SWITCHING_PROTOCOLS, None) => DownloadBody::switched(Switched::new(self, in_flight)),
            // It agrees to what it has not heard to the end.
            (StatusCode::SWITCHING_PROTOCOLS, Some(_)) => return Err(SendError::Final(Error::BadSwitch)),
            _ => DownloadBody::new(self, framing, keep_alive, outbound, in_flight, call),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    // Sends what is to be sent, and reads what comes: a server may answer before it has heard everything. What is left to
    // be sent when the head of the response is there stays in `outbound`.
    fn poll_exchange(
        &mut self,
        call: &Call<'_>,
        endpoint: &LocalEndpoint,
        outbound: &mut Option<Outbound>,
        body: &mut Option<UploadBody>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, SendError>> {
        let wire = &call.peer.wire;
        let mut within = call.answer_within();
        let mut side = Side::Upstream;
        if let Some(sending) = outbound {
            let poll = sending.poll(&mut self.stream, cx);
            if sending.take_moved() {
                wire.progress();
            }
            match poll {
                // From here on the upstream has its time to answer.
                Poll::Ready(Ok(())) => {
                    if let Some(sent) = outbound.take() {
                        let (rest, bytes) = sent.into_parts();
                        *body = rest;
                        call.upstreams.give_buffer(bytes);
                    }
                }
                Poll::Ready(Err(OutboundError::Upload(fault))) => {
                    return Poll::Ready(Err(SendError::Final(Error::Upload(fault))));
                }
                Poll::Ready(Err(OutboundError::Unsent)) => return Poll::Ready(Err(SendError::Unsent(Error::Closed))),
                Poll::Pending => {
                    side = sending.waits_for();
                    within = match side {
                        Side::Client => call.client_idle,
                        Side::Upstream => call.timeouts.idle,
                    };
                }
            }
        }
        if let Poll::Ready(result) = self.poll_head(&call.outgoing, endpoint, cx) {
            wire.progress();
            return Poll::Ready(result);
        }
        match (wire.wait(within), side) {
            (Ok(()), Side::Client | Side::Upstream) => {
                if outbound.is_none() {
                    call.awaits_answer(within);
                }
                Poll::Pending
            }
            (Err(Elapsed), Side::Client) => Poll::Ready(Err(SendError::Final(Error::Upload(UploadFault::Silent)))),
            (Err(Elapsed), Side::Upstream) if outbound.is_none() => {
                Poll::Ready(Err(SendError::Late(Error::ResponseTimeout)))
            }
            (Err(Elapsed), Side::Upstream) => Poll::Ready(Err(SendError::Final(Error::ResponseTimeout))),
        }
    }

    fn poll_head(
        &mut self,
        outgoing: &Outgoing<'_>,
        endpoint: &LocalEndpoint,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, SendError>> {
        let Outgoing { method, upgrade, .. } = *outgoing;
        loop {
            while !self.buffer.is_empty() {
                let head = match head::decode(&mut self.buffer, method) {
                    Ok(Some(head)) => head,
                    Ok(None) => break,
                    Err(BadHead) => return Poll::Ready(Err(SendError::Final(Error::BadResponse))),
                };
                self.interim += 1;
                match head.status {
                    StatusCode::SWITCHING_PROTOCOLS => {
                        return Poll::Ready(match upgrade {
                            Some(upgrade) if upgrade.is_agreed(&head) => Ok(head),
                            Some(_) => Err(SendError::Final(Error::BadSwitch)),
                            // Nobody asked.
                            None => Err(SendError::Final(Error::BadResponse)),
                        });
                    }
                    status if !status.is_informational() => return Poll::Ready(Ok(head)),
                    _ if self.interim > MAX_INTERIM => return Poll::Ready(Err(SendError::Final(Error::BadResponse))),
                    _ => {}
                }
            }
            let room = if self.buffer.is_empty() { HEAD_ROOM } else { MAX_HEAD / 8 };
            match ready!(self.poll_read(room, cx)) {
                Ok(n) if n > 0 => {}
                Ok(_) if self.buffer.is_empty() => return Poll::Ready(Err(SendError::Unanswered(Error::Closed))),
                Err(error) if self.buffer.is_empty() => {
                    let fault = alert(&error, endpoint).unwrap_or(SendError::Unanswered(Error::Closed));
                    return Poll::Ready(Err(fault));
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(SendError::Final(Error::Closed))),
            }
        }
    }

    /// Reads what there is, into at least so much room; 0 is the end. A read that does not fill the room tells the runtime
    /// that there is nothing more, so that nobody has to ask the kernel again.
    pub(super) fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.reserve(room.max(2 * HEAD_ROOM));
        }
        pin!(self.stream.read_buf(&mut self.buffer)).poll(cx)
    }
}

// === impl SendError ===

impl SendError {
    pub(super) fn error(&self) -> &Error {
        match self {
            SendError::Unsent(error)
            | SendError::Unanswered(error)
            | SendError::Late(error)
            | SendError::Final(error) => error,
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            SendError::Unsent(error)
            | SendError::Unanswered(error)
            | SendError::Late(error)
            | SendError::Final(error) => error,
        }
    }
}
