//! The gRPC service, by hand where the generated one would encode each message anew for each node.

use super::{Discovery, join::JoinMethod};
use bytes::{BufMut, Bytes};
use prost::Message;
use proto::pb::{self, discovery_server};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body as HttpBody, BoxFuture, Service, StdError},
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

/// The largest message that a node may send.
const MAX_NODE_MESSAGE: usize = 256 * 1024;

/// The largest request to join: an id and a request for a certificate.
const MAX_JOIN: usize = 16 * 1024;

const STREAM_PATH: &str = "/portico.v1.Discovery/Stream";
const JOIN_PATH: &str = "/portico.v1.Discovery/Join";

#[derive(Clone)]
pub(super) struct DiscoveryService(Arc<Discovery>);

struct StreamMethod(Arc<Discovery>);

/// Messages of nodes are decoded; those to nodes are encoded already.
#[derive(Default)]
struct EncodedCodec;

struct NodeMessageDecoder;

struct EncodedEncoder;

// === impl DiscoveryService ===

impl DiscoveryService {
    pub(super) fn new(discovery: Discovery) -> DiscoveryService {
        DiscoveryService(Arc::new(discovery))
    }
}

impl NamedService for DiscoveryService {
    const NAME: &'static str = discovery_server::SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for DiscoveryService
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let discovery = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                STREAM_PATH => {
                    let mut grpc = Grpc::new(EncodedCodec).max_decoding_message_size(MAX_NODE_MESSAGE);
                    grpc.streaming(StreamMethod(discovery), request).await
                }
                JOIN_PATH => {
                    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_JOIN);
                    grpc.unary(JoinMethod(discovery), request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

// === impl StreamMethod ===

impl StreamingService<pb::NodeMessage> for StreamMethod {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<pb::NodeMessage>>) -> Self::Future {
        let begun = self.0.clone().stream(request);
        Box::pin(std::future::ready(begun.map(Response::new)))
    }
}

// === impl EncodedCodec ===

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = pb::NodeMessage;
    type Encoder = EncodedEncoder;
    type Decoder = NodeMessageDecoder;

    fn encoder(&mut self) -> EncodedEncoder {
        EncodedEncoder
    }

    fn decoder(&mut self) -> NodeMessageDecoder {
        NodeMessageDecoder
    }
}

impl Encoder for EncodedEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, frame: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(frame.len());
        to.put(frame);
        Ok(())
    }
}

impl Decoder for NodeMessageDecoder {
    type Item = pb::NodeMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<pb::NodeMessage>, Status> {
        let message = pb::NodeMessage::decode(from);
        message.map(Some).map_err(|error| Status::invalid_argument(format!("no message of a node: {error}")))
    }
}
