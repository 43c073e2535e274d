//! OTLP by gRPC.

use super::{Again, SendError, Signal, dial::Dial};
use crate::{settings::Compression, target::Target};
use http::{HeaderMap, Uri, uri::PathAndQuery};
use std::{error::Error, time::Duration};
use tonic::{
    Code, Request, Status, client,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// How often a connection without traffic is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel to a collector.
pub(crate) struct Grpc {
    client: client::Grpc<Channel>,
    metadata: MetadataMap,
    timeout: Duration,
}

// === impl Grpc ===

impl Grpc {
    pub(super) fn new(target: Target) -> Grpc {
        // The connector speaks TLS; an endpoint that is told of https would want to do it itself.
        let url = Uri::builder().scheme("http").path_and_query("/");
        let url = url.authority(target.url.authority().map_or("localhost", |authority| authority.as_str())).build();
        let endpoint = Endpoint::from(url.unwrap_or_default()).origin(target.url.clone());
        let endpoint = endpoint.connect_timeout(target.timeout).http2_keep_alive_interval(KEEP_ALIVE);
        let channel = endpoint.keep_alive_timeout(KEEP_ALIVE).connect_with_connector_lazy(Dial::new(&target));
        let client = client::Grpc::new(channel);
        let client = match target.compression {
            Compression::None => client,
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        };
        let headers: HeaderMap = target.headers.into_iter().collect();
        Grpc { client, metadata: MetadataMap::from_headers(headers), timeout: target.timeout }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn send<S: Signal>(&mut self, message: &S) -> Result<S::Answer, SendError> {
        self.client.ready().await.map_err(|error| SendError::later(told(&error)))?;
        let mut request = Request::new(message.clone());
        *request.metadata_mut() = self.metadata.clone();
        let method = PathAndQuery::from_static(S::METHOD);
        let answer = self.client.unary(request, method, ProstCodec::<S, S::Answer>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(SendError::from)
    }
}

// === impl SendError ===

impl From<Status> for SendError {
    // Which of them help to try again is said by the protocol.
    fn from(status: Status) -> SendError {
        let again = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Again::Later(None),
            // Only when the collector says that it recovers.
            Code::ResourceExhausted if names_a_time(status.details()) => Again::Later(None),
            Code::ResourceExhausted
            | Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::Unauthenticated => Again::Never,
        };
        SendError { why: told(&status), again }
    }
}

// The details are a message of its own kind; that one is in it is enough, our own wait is as good as the one it asks for.
fn names_a_time(details: &[u8]) -> bool {
    const NAME: &[u8] = b"google.rpc.RetryInfo";
    details.windows(NAME.len()).any(|part| part == NAME)
}

// An error with what it comes from, which says more.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
