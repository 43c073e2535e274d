//! A man in the middle of the control stream: hands messages on between a node and a real control plane, and changes
//! what the control plane says as a test tells it.

use super::wait::eventually;
use proto::pb::{
    ControlMessage, JoinRequest, JoinResponse, NodeMessage,
    discovery_client::DiscoveryClient,
    discovery_server::{Discovery, DiscoveryServer},
};
use std::{net::SocketAddr, pin::Pin, sync::Arc};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

/// What is done to each message of the control plane.
type Meddle = Arc<dyn Fn(&mut ControlMessage) + Send + Sync>;

/// A running man in the middle.
pub(crate) struct Meddler {
    /// Where nodes find it.
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

struct Between {
    control_plane: String,
    meddle: Meddle,
}

impl Meddler {
    /// Starts one before a control plane.
    pub(crate) fn start(
        control_plane: SocketAddr,
        meddle: impl Fn(&mut ControlMessage) + Send + Sync + 'static,
    ) -> Meddler {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let between = Between { control_plane: format!("http://{control_plane}"), meddle: Arc::new(meddle) };
        let server = Server::builder().add_service(DiscoveryServer::new(between));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        eventually("the man in the middle listens", || std::net::TcpStream::connect(address).ok());
        Meddler { address, _runtime: runtime }
    }
}

#[tonic::async_trait]
impl Discovery for Between {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<NodeMessage>>) -> Result<Response<Self::StreamStream>, Status> {
        let channel =
            Channel::from_shared(self.control_plane.clone()).map_err(|error| Status::internal(error.to_string()))?;
        let channel = channel.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let (metadata, _, mut from_node) = request.into_parts();
        let (sender, to_control_plane) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(Ok(message)) = from_node.next().await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        let mut onward = Request::new(ReceiverStream::new(to_control_plane));
        *onward.metadata_mut() = metadata;
        let from_control_plane = DiscoveryClient::new(channel).stream(onward).await?.into_inner();
        let meddle = self.meddle.clone();
        let changed = from_control_plane.map(move |message| {
            message.map(|mut message| {
                meddle(&mut message);
                message
            })
        });
        Ok(Response::new(Box::pin(changed)))
    }

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        Err(Status::unimplemented("there is no authority"))
    }
}
