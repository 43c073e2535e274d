//! One request and its response, as a stream.

use super::{Acquired, Download, Lease, upload::Upload};
use crate::{
    context::{TRACEPARENT, UploadBody, UploadFault, strip_known},
    error::Error,
    pool::{
        attempts::Attempts,
        call::Call,
        connection::{MAX_INTERIM, SendError},
        download::DownloadBody,
        local::{InFlight, LocalEndpoint},
        outbound::Side,
        tls::alert,
    },
    wire::Elapsed,
};
use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, Parts, Scheme},
};
use proto::upstream::Protocol;
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// How long the end of a stream that has nothing more to say is waited for, when its answer is long gone.
const LAST_FRAME: Duration = Duration::from_secs(1);

// A request under way.
struct Exchange {
    response: ResponseFuture,
    upload: Option<Upload>,
    interim: usize,
    lease: Lease,
}

/// Sends a request. Afterwards the body is still there if it can be sent from its beginning.
pub(in crate::pool) async fn send(
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    (protocol, span): (Protocol, u64),
    body: &mut Option<UploadBody>,
    attempts: &mut Attempts,
) -> Result<Response<DownloadBody>, SendError> {
    let has_body = body.is_some();
    loop {
        let acquired = endpoint.shared.acquire(endpoint, protocol, &call.dial()).await.map_err(SendError::Unsent)?;
        let Acquired { sender, lease, fresh } = acquired;
        if fresh {
            attempts.connected();
        }
        let in_flight = InFlight::new(endpoint.clone());
        let load = lease.0.clone();
        match exchange(call, span, (sender, lease), body, in_flight).await {
            // A connection may end at any time: that one did so while it stood by is nobody's fault, and it is not there
            // any more.
            Err(error)
                if !fresh
                    && (load.closed.get() || matches!(error, SendError::Unsent(Error::Closed)))
                    && call.is_repeatable(&error, has_body == body.is_some()) => {}
            Err(error) => {
                return Err(load.failure.get().and_then(|failure| alert(failure, endpoint)).unwrap_or(error));
            }
            Ok(response) => return Ok(response),
        }
    }
}

async fn exchange(
    call: &Call<'_>,
    span: u64,
    (mut sender, lease): (SendRequest<Bytes>, Lease),
    body: &mut Option<UploadBody>,
    in_flight: InFlight,
) -> Result<Response<DownloadBody>, SendError> {
    let request = request(call, span, in_flight.0.endpoint.is_tls(), body.as_ref()).map_err(SendError::Final)?;
    // A stream that was never opened has sent nothing.
    let (response, stream) = sender.send_request(request, body.is_none()).map_err(|error| fault(&error))?;
    let upload = body.take().map(|body| Upload::new(stream, body));
    let mut exchange = Exchange { response, upload, interim: 0, lease };
    match poll_fn(|cx| exchange.poll(call, body, cx)).await.and_then(answer) {
        Ok((response, left)) => {
            let Exchange { mut upload, lease, .. } = exchange;
            let (head, stream) = response.into_parts();
            if call.retry().answers.contain(head.status)
                && let Some(unsent) = upload.take_if(|unsent| unsent.is_kept())
            {
                // It has answered before it had heard everything, and somebody else is to hear it.
                *body = unsent.into_body();
            }
            if is_bodiless(call.outgoing.method, head.status) {
                if !stream.is_end_stream() {
                    tokio::task::spawn_local(timeout(LAST_FRAME, let_end(stream, lease, in_flight)));
                }
                return Ok(Response::from_parts(head, DownloadBody::none()));
            }
            let download = Download::new(stream, left, upload.map(Upload::spawn), lease, in_flight, call);
            Ok(Response::from_parts(head, DownloadBody::of_http2(download)))
        }
        Err(error) => {
            if let Some(unsent) = exchange.upload {
                *body = unsent.into_body();
            }
            Err(error)
        }
    }
}

impl Exchange {
    // As by HTTP/1: an endpoint may answer before it has heard everything.
    fn poll(
        &mut self,
        call: &Call<'_>,
        body: &mut Option<UploadBody>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, SendError>> {
        let wire = &call.peer.wire;
        let (mut within, mut side) = (call.answer_within(), Side::Upstream);
        if let Some(upload) = &mut self.upload {
            let poll = upload.poll(cx);
            if upload.take_moved() {
                wire.progress();
            }
            match poll {
                Poll::Ready(Ok(())) => {
                    // From here on the endpoint has its time to answer.
                    wire.progress();
                    *body = self.upload.take().and_then(Upload::into_body);
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(SendError::Final(Error::Upload(fault)))),
                Poll::Pending => {
                    side = upload.waits_for();
                    within = match side {
                        Side::Client => call.client_idle,
                        Side::Upstream => call.timeouts.idle,
                    };
                }
            }
        }
        if let Poll::Ready(result) = self.poll_head(cx) {
            wire.progress();
            return Poll::Ready(result);
        }
        match (wire.wait(within), side) {
            (Ok(()), Side::Client | Side::Upstream) => {
                if self.upload.is_none() {
                    call.awaits_answer(within);
                }
                Poll::Pending
            }
            (Err(Elapsed), Side::Client) => Poll::Ready(Err(SendError::Final(Error::Upload(UploadFault::Silent)))),
            (Err(Elapsed), Side::Upstream) => {
                self.lease.doubt();
                Poll::Ready(Err(match &self.upload {
                    None => SendError::Late(Error::ResponseTimeout),
                    Some(_) => SendError::Final(Error::ResponseTimeout),
                }))
            }
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, SendError>> {
        while let Poll::Ready(Some(Ok(_))) = self.response.poll_informational(cx) {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(SendError::Final(Error::BadResponse)));
            }
        }
        Pin::new(&mut self.response).poll(cx).map_err(|error| fault(&error))
    }
}

fn request(call: &Call<'_>, span: u64, tls: bool, body: Option<&UploadBody>) -> Result<Request<()>, Error> {
    let outgoing = &call.outgoing;
    let mut headers = outgoing.headers.clone();
    let host = headers.remove(header::HOST).ok_or(Error::HostCount)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Error::HostInvalid)?;
    let mut parts = Parts::default();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = Some(outgoing.target.clone());
    if let Ok(traceparent) = HeaderValue::from_bytes(&outgoing.trace.traceparent(span)) {
        headers.insert(TRACEPARENT, traceparent);
    }
    if let Some(body) = body {
        headers.remove(header::CONTENT_LENGTH);
        if let Some(length) = body.len() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    let mut request = Request::new(());
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Error::Target)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

// The response without what belongs to the connection, and its length if it says so. The frames say where it ends, but the
// next to read it may go by what its head says: that must not be in doubt either.
fn answer(mut response: Response<RecvStream>) -> Result<(Response<RecvStream>, Option<u64>), SendError> {
    let status = response.status();
    let headers = response.headers_mut();
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(SendError::Final(Error::BadResponse));
    }
    strip_known(headers);
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    let left = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((response, left))
}

// Whether there is no body, whatever comes.
fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

// The end may be said in a frame of its own, and that is no reason to reset the stream; anything else is.
async fn let_end(mut stream: RecvStream, lease: Lease, in_flight: InFlight) {
    while let Some(Ok(data)) = stream.data().await {
        if !data.is_empty() {
            break;
        }
    }
    drop((stream, lease, in_flight));
}

// Why there is no response, and whether the request may be sent again.
fn fault(error: &h2::Error) -> SendError {
    let (remote, reason) = (error.is_remote(), error.reason());
    if error.is_go_away() && remote {
        // The endpoint said that it went only as far as a request before this one.
        SendError::Unsent(Error::Closed)
    } else if error.is_reset() && remote && reason == Some(Reason::REFUSED_STREAM) {
        SendError::Unsent(Error::Reset)
    } else if error.is_reset() && remote {
        SendError::Final(Error::Reset)
    } else if error.is_io() {
        SendError::Unanswered(Error::Closed)
    } else {
        tracing::debug!(%error, "a response by HTTP/2 that cannot be understood");
        SendError::Final(Error::BadResponse)
    }
}
