//! OTLP by HTTP: a protobuf message is the body of a POST.

use super::{
    Again, SendError, Signal,
    dial::{Dial, Stream},
};
use crate::{settings::Compression, target::Target};
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use prost::Message;
use std::{io, io::Write, time::Duration};

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A connection to a collector.
pub(crate) struct Http1 {
    target: Target,
    // What is left of the exchange before.
    connection: Option<SendRequest<Full<Bytes>>>,
}

// === impl Http1 ===

impl Http1 {
    pub(super) fn new(target: Target) -> Http1 {
        Http1 { target, connection: None }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.target.timeout
    }

    pub(super) async fn send<S: Signal>(&mut self, message: &S) -> Result<S::Answer, SendError> {
        let body = self.body(message).map_err(|error| SendError::never(format!("cannot be compressed: {error}")))?;
        let answer = self.exchange(body).await?;
        let status = answer.status();
        let after = answer.headers().get(header::RETRY_AFTER).and_then(seconds);
        if !status.is_success() {
            let again = match status {
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Again::Later(after),
                _ => Again::Never,
            };
            return Err(SendError { why: format!("it answers {status}"), again });
        }
        let read = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = read.map_err(|error| SendError::later(format!("its answer breaks off: {error}")))?.to_bytes();
        // It took what it was sent; what else it says is not worth a failure.
        Ok(S::Answer::decode(body).unwrap_or_default())
    }

    fn body<S: Signal>(&self, message: &S) -> io::Result<Bytes> {
        let plain = message.encode_to_vec();
        match self.target.compression {
            Compression::None => Ok(plain.into()),
            Compression::Gzip => {
                let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(&plain)?;
                Ok(packed.finish()?.into())
            }
        }
    }

    // On the connection that is there, if it is still good, else on a new one.
    async fn exchange(&mut self, body: Bytes) -> Result<Response<Incoming>, SendError> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
            && let Ok(answer) = connection.send_request(self.request(body.clone())?).await
        {
            self.connection = Some(connection);
            return Ok(answer);
        }
        let stream = Dial::new(&self.target).connect().await.map_err(|error| SendError::later(error.to_string()))?;
        let mut connection = open(stream).await.map_err(|error| SendError::later(error.to_string()))?;
        let answer = connection.send_request(self.request(body)?).await;
        let answer = answer.map_err(|error| SendError::later(error.to_string()))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, SendError> {
        let path = self.target.url.path_and_query().map_or("/", |path| path.as_str());
        let host = self.target.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path).header(header::HOST, host).body(Full::new(body));
        if let Ok(request) = &mut request {
            let headers = request.headers_mut();
            headers.extend(self.target.headers.iter().cloned());
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            match self.target.compression {
                Compression::None => {}
                Compression::Gzip => {
                    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
            }
        }
        request.map_err(|error| SendError::never(error.to_string()))
    }
}

// The connection ends when what it returns is dropped.
async fn open(stream: Stream) -> hyper::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(stream).await?;
    drop(tokio::spawn(connection));
    Ok(sender)
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
