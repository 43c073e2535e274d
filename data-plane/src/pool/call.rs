//! One call to an upstream: pick an endpoint, take or open a connection, send, and try again where that is safe.
//!
//! Safe is: nothing of the request was sent; or the connection ended before any byte of a response, and the request is
//! idempotent (RFC 9110, 9.2.2) and its body was not touched. A connection that was used before and turns out to be
//! closed costs no attempt: a server may close an idle connection at any time, and that is nobody's fault.

use super::{
    connect::{Dial, connect},
    connection::{DownloadBody, SendError},
    local::{InFlight, LocalEndpoint, LocalPool, Upstreams},
};
use crate::{
    context::{Peer, Upload, UploadBody},
    error::Error,
};
use http::{HeaderMap, Method, Response, uri::PathAndQuery};
use proto::upstream::Timeouts;
use std::{rc::Rc, time::Duration};

/// A request as the upstream sees it.
pub(crate) struct Outgoing<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) target: &'a PathAndQuery,
    /// All headers.
    pub(crate) headers: &'a HeaderMap,
}

/// A call.
pub(crate) struct Call<'a> {
    /// Whom.
    pub(crate) pool: &'a LocalPool,
    /// What.
    pub(crate) outgoing: Outgoing<'a>,
    /// Its deadlines.
    pub(crate) timeouts: Timeouts<Duration>,
    /// On whose behalf; the deadlines are those of the client's connection.
    pub(crate) peer: &'a Rc<Peer>,
    /// What becomes of its body.
    pub(crate) upload: &'a Upload,
}

/// What was tried, for the record.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// How often after the first.
    pub(crate) retries: u32,
    /// The last endpoint.
    pub(crate) endpoint: Option<Rc<LocalEndpoint>>,
}

/// Calls an upstream.
pub(crate) async fn call(
    upstreams: &Upstreams,
    call: &Call<'_>,
    mut body: Option<UploadBody>,
    attempts: &mut Attempts,
) -> Result<Response<DownloadBody>, Error> {
    let spec = &call.pool.pool.spec;
    let has_body = body.is_some();
    let mut tried = Vec::new();
    loop {
        let (index, endpoint) = upstreams.pick(call.pool, &tried).ok_or(Error::NoEndpoint)?;
        attempts.endpoint = Some(endpoint.clone());
        let error = match attempt(upstreams, call, &endpoint, &mut body).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // What the client did wrong is not made good by trying again.
        if let Some(fault) = call.upload.fault() {
            return Err(Error::Upload(fault));
        }
        let whole = body.is_some() == has_body && !call.upload.begun();
        let safe = !error.is_sent() || (error.is_unanswered() && is_idempotent(call.outgoing.method));
        if !(safe && whole) || attempts.retries >= spec.retry_attempts {
            return Err(error.into_error());
        }
        attempts.retries += 1;
        tried.push(index);
    }
}

async fn attempt(
    upstreams: &Upstreams,
    call: &Call<'_>,
    endpoint: &Rc<LocalEndpoint>,
    body: &mut Option<UploadBody>,
) -> Result<Response<DownloadBody>, SendError> {
    let has_body = body.is_some();
    if let Some(connection) = endpoint.take_idle() {
        match connection.send(call, body, InFlight::new(endpoint.clone())).await {
            Ok(response) => return Ok(response),
            Err(error) => {
                let whole = body.is_some() == has_body && !call.upload.begun();
                let safe = !error.is_sent() || (error.is_unanswered() && is_idempotent(call.outgoing.method));
                if !(safe && whole) {
                    return Err(error);
                }
            }
        }
    }
    let dial = Dial {
        upstreams,
        wire: &call.peer.wire,
        max_connections: call.pool.pool.spec.max_connections,
        within: call.timeouts.connect,
    };
    let connection = connect(endpoint, dial).await.map_err(SendError::Unsent)?;
    connection.send(call, body, InFlight::new(endpoint.clone())).await
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::QUERY]
        .contains(method)
}
