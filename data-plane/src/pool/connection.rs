//! One connection to an endpoint: sends a request and yields the response. The only place that knows how.

use super::{Seat, call::Call, local::InFlight};
use crate::{
    context::{Peer, UploadBody},
    error::Error,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Sending>,
    seat: Seat,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// Nothing of the request was sent.
    Unsent(Error),
    /// It may have been received; no byte of a response came.
    Unanswered(Error),
    /// It may have been received, and there is no second try.
    Final(Error),
}

/// The body of a response.
#[derive(Debug)]
pub(crate) struct DownloadBody {
    incoming: Incoming,
    idle: Duration,
    peer: Rc<Peer>,
    // Goes back to its endpoint when the body ended well, and is closed otherwise.
    lease: Option<(Connection, InFlight)>,
}

/// Why a response did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DownloadFault {
    /// The upstream went silent.
    #[error("the upstream stopped sending the body")]
    Silent,
    /// The upstream closed the connection, or broke the framing.
    #[error("the upstream did not send the body whole")]
    Truncated,
}

#[derive(Debug)]
struct Sending(Option<UploadBody>);

// === impl Connection ===

impl Connection {
    pub(super) async fn start(stream: TcpStream, seat: Seat) -> Result<Connection, Error> {
        let handshake = http1::Builder::new().max_headers(128).max_buf_size(128 * 1024).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|_| Error::ConnectRefused)?;
        tokio::task::spawn_local(connection);
        Ok(Connection { sender, seat })
    }

    pub(super) fn is_open(&mut self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn seat_is_wanted(&self) -> bool {
        self.seat.is_wanted()
    }

    /// Sends a request. Without a response the body is still there if nothing was taken out of it.
    pub(super) async fn send(
        mut self,
        call: &Call<'_>,
        body: &mut Option<UploadBody>,
        in_flight: InFlight,
    ) -> Result<Response<DownloadBody>, SendError> {
        let outgoing = &call.outgoing;
        let mut request = Request::new(Sending(body.take()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = Uri::from(outgoing.target.clone());
        *request.headers_mut() = outgoing.headers.clone();
        let sent = call.peer.wire.limit(call.timeouts.response, self.sender.try_send_request(request)).await;
        let response = match sent {
            Err(_) => return Err(SendError::Final(Error::ResponseTimeout)),
            Ok(Ok(response)) => response,
            Ok(Err(mut failure)) => {
                if let Some(request) = failure.take_message() {
                    *body = request.into_body().0;
                    return Err(SendError::Unsent(Error::Closed));
                }
                let error = failure.into_error();
                return Err(match error.is_parse() || error.is_parse_too_large() {
                    true => SendError::Final(Error::BadResponse),
                    false => SendError::Unanswered(Error::Closed),
                });
            }
        };
        if !is_framed(response.headers()) || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Final(Error::BadResponse));
        }
        Ok(response.map(|incoming| {
            let (idle, peer) = (call.timeouts.idle, call.peer.clone());
            let mut body = DownloadBody { incoming, idle, peer, lease: Some((self, in_flight)) };
            if body.incoming.is_end_stream() {
                body.release();
            }
            body
        }))
    }
}

// === impl SendError ===

impl SendError {
    pub(super) fn is_sent(&self) -> bool {
        match self {
            SendError::Unsent(_) => false,
            SendError::Unanswered(_) | SendError::Final(_) => true,
        }
    }

    pub(super) fn is_unanswered(&self) -> bool {
        match self {
            SendError::Unanswered(_) => true,
            SendError::Unsent(_) | SendError::Final(_) => false,
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            SendError::Unsent(error) | SendError::Unanswered(error) | SendError::Final(error) => error,
        }
    }
}

// === impl DownloadBody ===

impl DownloadBody {
    fn release(&mut self) {
        if let Some((connection, in_flight)) = self.lease.take() {
            in_flight.0.give_back(connection);
        }
    }
}

impl Body for DownloadBody {
    type Data = Bytes;
    type Error = DownloadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadFault>>> {
        let this = self.get_mut();
        let incoming = &mut this.incoming;
        let frame = this.peer.wire.poll_limited(this.idle, cx, |cx| Pin::new(&mut *incoming).poll_frame(cx));
        let frame = match ready!(frame) {
            Err(_) => {
                this.lease = None;
                return Poll::Ready(Some(Err(DownloadFault::Silent)));
            }
            Ok(frame) => frame,
        };
        match frame {
            Some(Err(_)) => {
                this.lease = None;
                Poll::Ready(Some(Err(DownloadFault::Truncated)))
            }
            Some(Ok(frame)) => {
                if this.incoming.is_end_stream() {
                    this.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                this.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = crate::context::UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

// Whether the end of the body is beyond doubt.
fn is_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    }
}
