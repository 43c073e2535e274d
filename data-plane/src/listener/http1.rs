//! HTTP/1.1 with a client: request by request, in order, until one of both has had enough.
//!
//! Strict in what it takes (see [`head`]) and certain in what it says: an answer that was cut off never looks whole, and
//! whoever sent more than the answer waited for gets to read the answer before the connection ends. Exactly four things
//! are waited for, one at a time: a head, an upstream, room to write, the rest of a body.

mod answering;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod head;
mod watch;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzing::decode_head;

use super::{accept::Clients, http2::PREFACE};
use crate::{
    context::{Peer, RequestBody},
    error::Error,
    inbound::{BodyFraming, HEAD_ROOM, Inbound},
    proxy::{self, AnswerBody},
    settings::Settings,
    wire::Wire,
};
use answering::{Answering, Sent};
use bytes::BytesMut;
use encode::{AnswerFraming, Persistence};
use head::{Fields, Head, Limits, Refused};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use watch::Watch;

/// A rest of a body that is read for the sake of the connection, though nobody wants it.
const SMALL_REST: u64 = 64 * 1024;
/// How long, and how many bytes, a client is listened to that has its answer and still sends.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// What the connections of a worker share, so that one on which nothing happens has no memory for it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    fields: RefCell<Fields>,
    inputs: RefCell<Vec<BytesMut>>,
    outputs: RefCell<Vec<Vec<u8>>>,
}

/// How many buffers are kept, and how large they may have grown.
const MAX_BUFFERS: usize = 256;
const MAX_BUFFER: usize = 64 * 1024;

const NOT_WHOLE: &str = "it is not whole";

/// A connection.
struct Connection<'a> {
    clients: &'a Rc<Clients>,
    peer: &'a Rc<Peer>,
    inbound: Rc<Inbound>,
}

/// What follows an answer.
enum After {
    /// The next request.
    Next,
    /// Nothing.
    Close,
    /// The client still sends.
    Linger,
    /// Another protocol.
    Tunnel(Box<AnswerBody>),
}

/// What of a request its answer depends on.
#[derive(Clone, Copy)]
struct Asked {
    version: Version,
    // Whether the client wants the connection to go on.
    keep_alive: bool,
    is_head: bool,
}

/// What comes first on a connection, or next.
#[expect(clippy::large_enum_variant, reason = "nearly each is a head, and none is kept")]
enum Came {
    Head(Head),
    /// The preface of HTTP/2, which is still in the buffer.
    Http2,
    /// The client has no more to say, or took too long to begin.
    Nothing,
}

/// Serves a connection to its end; or gives it back when the client speaks HTTP/2.
pub(super) async fn serve(clients: &Rc<Clients>, peer: &Rc<Peer>, inbound: Inbound) -> Option<Inbound> {
    let connection = Connection { clients, peer, inbound: Rc::new(inbound) };
    loop {
        let after = match connection.head().await {
            Ok(Came::Head(head)) => connection.exchange(head).await,
            Ok(Came::Http2) => return Rc::into_inner(connection.inbound),
            Ok(Came::Nothing) => After::Close,
            Err(refused) => connection.refuse(*refused).await,
        };
        match after {
            After::Next => {}
            After::Close => break,
            After::Linger => {
                connection.linger().await;
                break;
            }
            After::Tunnel(body) => {
                if let Some(inbound) = Rc::into_inner(connection.inbound) {
                    let (socket, read) = inbound.into_parts();
                    // Boxed, so that connections that never become one have no room for it.
                    Box::pin(body.tunnel(socket, read)).await;
                }
                return None;
            }
        }
    }
    // The next connection begins with it.
    connection.inbound.with_buffer(|buffer| connection.clients.scratch.give_input(buffer));
    None
}

/// The head of a request that is here whole, and how its body is framed.
pub(crate) fn read_head(text: &str, settings: &Settings) -> Result<(Request<()>, BodyFraming), Error> {
    match head::decode(&mut BytesMut::from(text), Limits::of(settings), &mut Fields::default()) {
        Ok(Some(head)) => Ok((head.request, head.framing)),
        Ok(None) => Err(Error::Malformed(NOT_WHOLE)),
        Err(refused) => Err(refused.error),
    }
}

impl Connection<'_> {
    fn wire(&self) -> &Wire {
        &self.peer.wire
    }

    async fn head(&self) -> Result<Came, Box<Refused>> {
        let wire = self.wire();
        let is_first = wire.is_fresh();
        if self.inbound.with_buffer(|buffer| buffer.is_empty()) {
            if !poll_fn(|cx| self.poll_idle(cx)).await {
                return Ok(Came::Nothing);
            }
            wire.begin(Instant::now());
        } else {
            // It was sent ahead.
            wire.begin(wire.ended());
        }
        let within = self.clients.local.settings.header_timeout;
        let head = wire.limit(within, poll_fn(|cx| self.poll_head(is_first, cx))).await;
        head.unwrap_or_else(|_| Err(Refused::unknown(Error::HeadTimeout)))
    }

    // Whether a request begins, and its first bytes are there. Meanwhile the connection has no buffer.
    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let wire = self.wire();
        if self.inbound.poll_readable(cx).is_ready() {
            self.inbound.with_buffer(|buffer| self.clients.scratch.take_input(buffer));
            if let Poll::Ready(read) = self.inbound.poll_read(HEAD_ROOM, cx) {
                wire.progress();
                return Poll::Ready(matches!(read, Ok(n) if n > 0));
            }
        }
        self.inbound.with_buffer(|buffer| self.clients.scratch.give_input(buffer));
        let since = wire.ended();
        let patience = match wire.is_fresh() {
            // The first request has to come as soon as the rest of a head.
            true => self.clients.local.settings.header_timeout,
            false => self.clients.local.settings.keep_alive_timeout,
        };
        let drains = self.clients.drain.closes_at(since).unwrap_or(since + patience);
        match wire.wait_until(drains.min(since + patience)) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(false),
        }
    }

    fn poll_head(&self, is_first: bool, cx: &mut Context<'_>) -> Poll<Result<Came, Box<Refused>>> {
        let limits = Limits::of(&self.clients.local.settings);
        let mut fields = self.clients.scratch.fields.borrow_mut();
        let mut looked = 0;
        loop {
            let came = self.inbound.with_buffer(|buffer| -> Result<Option<Came>, Box<Refused>> {
                if is_first && !buffer.is_empty() && PREFACE.starts_with(&buffer[..buffer.len().min(PREFACE.len())]) {
                    return Ok((buffer.len() >= PREFACE.len()).then_some(Came::Http2));
                }
                // Only the end of a line changes what is there.
                let is_news = buffer[looked..].contains(&b'\n') || buffer.len() >= limits.bytes || looked == 0;
                looked = buffer.len();
                let decoded =
                    if is_news && !buffer.is_empty() { head::decode(buffer, limits, &mut fields)? } else { None };
                Ok(decoded.map(Came::Head))
            })?;
            if let Some(came) = came {
                return Poll::Ready(Ok(came));
            }
            match ready!(self.inbound.poll_read(HEAD_ROOM, cx)) {
                Ok(n) if n > 0 => {}
                Ok(_) if self.inbound.with_buffer(|buffer| !buffer.is_empty()) => {
                    return Poll::Ready(Err(Refused::unknown(Error::Malformed(NOT_WHOLE))));
                }
                Ok(_) | Err(_) => return Poll::Ready(Ok(Came::Nothing)),
            }
        }
    }

    async fn exchange(&self, head: Head) -> After {
        let Head { request, framing, keep_alive, expects } = head;
        let asked = Asked { version: request.version(), keep_alive, is_head: request.method() == Method::HEAD };
        let body = match framing {
            BodyFraming::Length(0) => RequestBody::None,
            BodyFraming::Length(_) | BodyFraming::Chunked => {
                RequestBody::Http1(self.inbound.begin_body(framing, expects))
            }
        };
        let (local, peer) = (self.clients.local.clone(), self.peer.clone());
        let mut watch = Watch::default();
        let response = {
            let mut answer = pin!(proxy::answer(local, peer, request.map(|()| body)));
            poll_fn(|cx| {
                if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(response));
                }
                // The drop of what is under way cancels it.
                watch.poll_gone(&self.inbound, asked.version, cx).map(|()| None)
            })
            .await
        };
        match response {
            Some(response) => self.answer(response, asked, &mut watch).await,
            None => After::Close,
        }
    }

    // What cannot be served gets its answer, and is the last on its connection.
    async fn refuse(&self, refused: Refused) -> After {
        let Refused { error, request } = refused;
        let asked = Asked { version: request.version(), keep_alive: false, is_head: request.method() == Method::HEAD };
        let (local, peer) = (self.clients.local.clone(), self.peer.clone());
        let response = proxy::refuse(local, peer, request.map(|()| RequestBody::None), error);
        self.answer(response, asked, &mut Watch::default()).await;
        // Bytes that were not read turn the end of a connection into a reset, which may take the answer with it.
        if self.inbound.is_finished() { After::Close } else { After::Linger }
    }

    async fn answer(&self, response: Response<AnswerBody>, asked: Asked, watch: &mut Watch) -> After {
        let (parts, body) = response.into_parts();
        let framing = framing(parts.status, &body, asked);
        let goes_on = asked.keep_alive
            && framing != AnswerFraming::Close
            && !says_close(parts.headers.get(header::CONNECTION))
            && !self.inbound.is_finished()
            && self.inbound.is_nearly_over(SMALL_REST);
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let persistence = match (switches, goes_on) {
            (true, _) => Persistence::Upgrade,
            (false, false) => Persistence::Close,
            (false, true) if asked.version == Version::HTTP_10 => Persistence::KeepAlive,
            (false, true) => Persistence::Implied,
        };
        let mut out = self.clients.scratch.take_output();
        // Leave to send the body may still be on its way.
        out.extend_from_slice(self.inbound.begin_answer());
        encode::head(&parts, framing, persistence, &self.clients.date.get(), &mut out);
        drop(parts);
        let mut answering = Answering::new(out, (framing != AnswerFraming::None || switches).then_some(body), framing);
        if !goes_on && !switches {
            answering = answering.last();
        }
        let within = self.clients.local.settings.idle_timeout;
        let sent = poll_fn(|cx| {
            match answering.poll(&self.inbound, self.wire(), within, cx) {
                Poll::Ready(sent) => return Poll::Ready(sent),
                Poll::Pending => {}
            }
            watch.poll_left(&self.inbound, &mut answering, cx).map(|()| Sent::Cut)
        })
        .await;
        let (out, body) = answering.into_parts();
        self.clients.scratch.give_output(out);
        match (sent, body) {
            (Sent::Cut, _) => {
                if framing == AnswerFraming::Close {
                    self.inbound.reset();
                }
                After::Close
            }
            (Sent::Whole, Some(body)) if switches => After::Tunnel(Box::new(body)),
            (Sent::Whole, _) if goes_on => self.skip_rest().await,
            (Sent::Whole, _) if self.inbound.is_finished() || self.has_all() => {
                self.inbound.finish();
                After::Close
            }
            (Sent::Whole, _) => After::Linger,
        }
    }

    // Whether nothing that the client sent is left, as far as it was read.
    fn has_all(&self) -> bool {
        self.inbound.has_ended() && self.inbound.with_buffer(|buffer| buffer.is_empty())
    }

    // What is left of a body that nobody wanted.
    async fn skip_rest(&self) -> After {
        if self.inbound.has_ended() {
            return After::Next;
        }
        let skipped = self.wire().limit(LINGER, poll_fn(|cx| self.inbound.poll_skip(cx))).await;
        self.wire().finish(Instant::now());
        if matches!(skipped, Ok(Ok(()))) { After::Next } else { After::Linger }
    }

    // The client has its answer, but may not have read it: what it still sends is taken and thrown away for a while.
    async fn linger(&self) {
        let wire = self.wire();
        if !matches!(wire.limit(LINGER, poll_fn(|cx| self.inbound.poll_shutdown(cx))).await, Ok(Ok(()))) {
            return;
        }
        let mut left = LINGER_BYTES;
        let read = poll_fn(|cx| {
            while left > 0 {
                self.inbound.with_buffer(|buffer| buffer.clear());
                match ready!(self.inbound.poll_read(HEAD_ROOM, cx)) {
                    Ok(n) if n > 0 => left = left.saturating_sub(n),
                    Ok(_) | Err(_) => break,
                }
            }
            Poll::Ready(())
        });
        // Whether it ended or not, this is the end.
        wire.limit(LINGER, read).await.ok();
    }
}

/// An answer of the gateway's own to a client that was not even asked what it wants.
pub(super) fn unasked(clients: &Clients, error: &Error) -> Vec<u8> {
    let (parts, body) = error.answer(&clients.local.identify().0).into_parts();
    let mut out = Vec::with_capacity(1024);
    let framing = AnswerFraming::Length(body.len() as u64);
    encode::head(&parts, framing, Persistence::Close, &clients.date.get(), &mut out);
    out.extend_from_slice(&body);
    out
}

fn framing(status: StatusCode, body: &AnswerBody, asked: Asked) -> AnswerFraming {
    let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match body.size_hint().exact() {
        _ if bodiless || asked.is_head => AnswerFraming::None,
        Some(length) => AnswerFraming::Length(length),
        None if asked.version == Version::HTTP_10 => AnswerFraming::Close,
        None => AnswerFraming::Chunked,
    }
}

fn says_close(connection: Option<&HeaderValue>) -> bool {
    connection.is_some_and(|options| options.as_bytes().eq_ignore_ascii_case(b"close"))
}

// === impl Scratch ===

impl Scratch {
    fn take_input(&self, buffer: &mut BytesMut) {
        if let Some(input) = self.inputs.borrow_mut().pop() {
            *buffer = input;
        }
    }

    fn give_input(&self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0 && buffer.is_empty() {
            return;
        }
        let mut input = std::mem::take(buffer);
        // What a client sent beyond its last answer is nobody else's.
        input.clear();
        let mut inputs = self.inputs.borrow_mut();
        // Only memory that nothing of the last request holds any more.
        if inputs.len() < MAX_BUFFERS && input.try_reclaim(HEAD_ROOM) && input.capacity() <= MAX_BUFFER {
            inputs.push(input);
        }
    }

    fn take_output(&self) -> Vec<u8> {
        self.outputs.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    fn give_output(&self, mut output: Vec<u8>) {
        let mut outputs = self.outputs.borrow_mut();
        if outputs.len() < MAX_BUFFERS && output.capacity() <= MAX_BUFFER {
            output.clear();
            outputs.push(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty() {
        let scratch = Scratch::default();
        let mut buffer = BytesMut::with_capacity(HEAD_ROOM);
        buffer.extend_from_slice(b"GET / HTTP/1.1");
        let memory = buffer.as_ptr();
        scratch.give_input(&mut buffer);
        let mut next = BytesMut::new();
        scratch.take_input(&mut next);
        assert_eq!((next.as_ptr(), next.len(), buffer.capacity()), (memory, 0, 0));
    }
}
