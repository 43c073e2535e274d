//! One stream of HTTP/2: a request, made such that it can be told by HTTP/1 in one way only, and its answer.

use super::{super::accept::Clients, tunnel::StreamSide};
use crate::{
    context::{Peer, RequestBody, strip_known, strip_untrailable},
    error::Error,
    proxy::{self, AnswerBody, Wish},
    settings::Settings,
};
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, ext::Protocol, server::SendResponse};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, response::Parts,
};
use http_body::Body;
use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// What a field counts beyond its characters (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// The answer does not go on: it was cut off, or nobody takes it.
struct Cut;

/// A request, as HTTP/1 could have brought it.
struct Admitted {
    request: Request<RequestBody>,
    judged: Result<(), Error>,
    // What comes from the client, if the request is for a tunnel.
    tunnel: Option<RecvStream>,
}

/// The request is for a tunnel.
struct Tunnel;

/// Serves a stream.
pub(super) async fn serve(
    clients: &Rc<Clients>,
    peer: Rc<Peer>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (local, is_head) = (clients.local.clone(), request.method() == Method::HEAD);
    let serving = async {
        let Admitted { request, judged, tunnel } = Admitted::new(request, &clients.local.settings);
        let response = match judged {
            Err(error) => proxy::refuse(local, peer.clone(), request, error),
            Ok(()) => {
                let mut answer = pin!(proxy::answer(local, peer.clone(), request));
                let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
                    Poll::Ready(response) => Poll::Ready(Some(response)),
                    // The drop of what is under way cancels it.
                    Poll::Pending => respond.poll_reset(cx).map(|_| None),
                });
                let Some(response) = answered.await else { return };
                response
            }
        };
        let (mut parts, body) = response.into_parts();
        let status = parts.status;
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(receive)) = (status, tunnel) {
            parts.status = StatusCode::OK;
            parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
            complete(&mut parts, Some(None), &clients.date.get());
            let Ok(send) = respond.send_response(Response::from_parts(parts, ()), false) else { return };
            // Boxed, so that streams that never become one have no room for it.
            return Box::pin(body.tunnel(StreamSide::new(receive, send), BytesMut::new())).await;
        }
        // Nobody asked for it.
        if status.is_informational() {
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
        let bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        complete(&mut parts, (!bodiless).then(|| body.size_hint().exact()), &clients.date.get());
        let is_whole = bodiless || body.is_end_stream();
        let Ok(mut stream) = respond.send_response(Response::from_parts(parts, ()), is_whole) else { return };
        if !is_whole && send(&mut stream, body, clients, &peer).await.is_err() {
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    };
    peer.wire.drive(pin!(serving)).await;
}

// === impl Admitted ===

impl Admitted {
    fn new(request: Request<RecvStream>, settings: &Settings) -> Admitted {
        let (mut parts, body) = request.into_parts();
        let judged = judge(&mut parts.headers, &parts.uri, settings).and_then(|()| wish(&mut parts));
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let (body, tunnel) = match judged {
            Ok(None) => (RequestBody::http2(body, length), None),
            Ok(Some(Tunnel)) => (RequestBody::None, Some(body)),
            Err(_) => (RequestBody::None, None),
        };
        Admitted { request: Request::from_parts(parts, body), judged: judged.map(drop), tunnel }
    }
}

// What asks for a tunnel is a GET with a wish, as it is by HTTP/1.1: so routes and policies need to know of one only.
fn wish(parts: &mut request::Parts) -> Result<Option<Tunnel>, Error> {
    if parts.method != Method::CONNECT {
        return Ok(None);
    }
    let protocol = parts.extensions.remove::<Protocol>().ok_or(Error::Connect)?;
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Error::Framing("a tunnel has no Content-Length"));
    }
    let protocol = HeaderValue::from_str(protocol.as_str()).map_err(|_| Error::Connect)?;
    parts.method = Method::GET;
    parts.extensions.insert(Wish(protocol));
    Ok(Some(Tunnel))
}

// What the codec does not see to: connection-specific headers, characters, lengths that are not the body's and `te` it
// refuses itself.
fn judge(headers: &mut HeaderMap, uri: &Uri, settings: &Settings) -> Result<(), Error> {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if fields + target + uri.authority().map_or(0, |authority| authority.as_str().len()) > settings.max_header_bytes {
        return Err(Error::HeadTooLarge);
    }
    if headers.len() > settings.max_headers {
        return Err(Error::TooManyHeaders);
    }
    // The codec takes a query without a path.
    if uri.path_and_query().is_some_and(|target| target.as_str().starts_with('?')) {
        return Err(Error::Target);
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Error::Framing("several Content-Length headers"));
    }
    match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return Err(Error::HostConflict);
        }
        (Some(authority), None) => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::HostInvalid)?;
            headers.insert(header::HOST, host);
        }
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
    // They may come in crumbs, which HTTP/1 does not know (RFC 9113, 8.2.3).
    let mut crumbs = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let all: Vec<&[u8]> = [first, second].into_iter().chain(crumbs).collect();
        let cookie = HeaderValue::from_bytes(&all.join(&b"; "[..]));
        headers.insert(
            header::COOKIE,
            cookie.map_err(|_| Error::Malformed("a cookie has characters that it may not have"))?,
        );
    }
    Ok(())
}

// What an answer has here, and what it has not. The length is `None` where there is no body to have one.
fn complete(parts: &mut Parts, length: Option<Option<u64>>, date: &[u8]) {
    let headers = &mut parts.headers;
    strip_known(headers);
    match length {
        None => {}
        Some(Some(length)) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        Some(None) => drop(headers.remove(header::CONTENT_LENGTH)),
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_bytes(date)
    {
        headers.insert(header::DATE, date);
    }
}

async fn send(stream: &mut SendStream<Bytes>, body: AnswerBody, clients: &Clients, peer: &Peer) -> Result<(), Cut> {
    let within = clients.local.settings.idle_timeout;
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|_| Err(Cut)),
        });
        let frame = match frame.await? {
            None => return stream.send_data(Bytes::new(), true).map_err(|_| Cut),
            Some(frame) => frame.map_err(|_| Cut)?,
        };
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                send_data(stream, data, is_last, peer, within).await?;
                if is_last {
                    return Ok(());
                }
            }
            Err(frame) => {
                let Ok(mut trailers) = frame.into_trailers() else { continue };
                strip_untrailable(&mut trailers);
                return stream.send_trailers(trailers).map_err(|_| Cut);
            }
        }
    }
}

// As the client takes it, which may not be silent for too long.
async fn send_data(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
    peer: &Peer,
    within: std::time::Duration,
) -> Result<(), Cut> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = peer.wire.limit(within, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let Ok(Some(Ok(room))) = room else { return Err(Cut) };
        let piece = data.split_to(room.min(data.len()));
        if !piece.is_empty() {
            stream.send_data(piece, is_last && data.is_empty()).map_err(|_| Cut)?;
        }
    }
    Ok(())
}
