//! A control plane that says what a test tells it to say.

use proto::{
    identity::Identity,
    pb::{
        self,
        control_message::Message as Said,
        discovery_server::{Discovery, DiscoveryServer},
        node_message::Message as Report,
    },
};
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Longer than anything that a test waits for takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Plane {
    address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    server: JoinHandle<()>,
    refused: Arc<AtomicUsize>,
}

/// One stream of a node; the control plane ends it when it is dropped.
pub(super) struct Stream {
    pub(super) token: Option<String>,
    pub(super) hello: pb::Hello,
    reports: Streaming<pb::NodeMessage>,
    say: mpsc::Sender<Result<pb::ControlMessage, Status>>,
}

struct Service {
    streams: mpsc::Sender<Stream>,
    refusal: Option<Status>,
    refused: Arc<AtomicUsize>,
}

impl Plane {
    pub(super) async fn start() -> Plane {
        Plane::serve(None).await
    }

    /// One that lets nobody in.
    pub(super) async fn refusing(refusal: Status) -> Plane {
        Plane::serve(Some(refusal)).await
    }

    /// How often a node was not let in.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    async fn serve(refusal: Option<Status>) -> Plane {
        let refused = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, streams) = mpsc::channel(4);
        let server = Server::builder().add_service(DiscoveryServer::new(Service {
            streams: sender,
            refusal,
            refused: refused.clone(),
        }));
        let server = server.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.expect("it serves") });
        Plane { address, streams, server, refused }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream of a node.
    pub(super) async fn accept(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv()).await.expect("a node comes in time").expect("it serves")
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl Discovery for Service {
    type StreamStream = Pin<Box<ReceiverStream<Result<pb::ControlMessage, Status>>>>;

    async fn stream(
        &self,
        request: Request<Streaming<pb::NodeMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        if let Some(refusal) = &self.refusal {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(refusal.clone());
        }
        let token = request.metadata().get("authorization").map(|value| value.to_str().expect("text").to_string());
        let mut reports = request.into_inner();
        let Some(pb::NodeMessage { message: Some(Report::Hello(hello)) }) = reports.message().await? else {
            return Err(Status::invalid_argument("a node says hello first"));
        };
        let (say, said) = mpsc::channel(4);
        let _ = self.streams.send(Stream { token, hello, reports, say }).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn join(&self, _: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        Err(Status::unimplemented("it gives no certificates"))
    }
}

impl Stream {
    async fn say(&self, message: Said) {
        let _ = self.say.send(Ok(pb::ControlMessage { message: Some(message) })).await;
    }

    pub(super) async fn send(&self, chunk: pb::SnapshotChunk) {
        self.say(Said::Snapshot(chunk)).await;
    }

    pub(super) async fn send_all(&self, chunks: Vec<pb::SnapshotChunk>) {
        for chunk in chunks {
            self.send(chunk).await;
        }
    }

    pub(super) async fn in_sync(&self, head: Identity) {
        self.say(Said::InSync(pb::InSync { head: Some((&head).into()) })).await;
    }

    pub(super) async fn heartbeat(&self, head: Identity) {
        self.say(Said::Heartbeat(pb::ControlHeartbeat { head: Some((&head).into()) })).await;
    }

    /// Waits for the report that the configuration runs.
    pub(super) async fn running(&mut self, identity: Identity) {
        self.wait(|report| match report {
            Report::Running(running) => (running.identity == Some((&identity).into())).then_some(()),
            Report::Hello(_) | Report::Heartbeat(_) | Report::Health(_) | Report::Refused(_) => None,
        })
        .await
    }

    /// Waits for the report that the configuration is on the disk.
    pub(super) async fn persisted(&mut self, identity: Identity) {
        self.wait(|report| match report {
            Report::Running(running) => {
                (running.persisted && running.identity == Some((&identity).into())).then_some(())
            }
            Report::Hello(_) | Report::Heartbeat(_) | Report::Health(_) | Report::Refused(_) => None,
        })
        .await
    }

    /// Waits for a refusal of the configuration; its faults.
    pub(super) async fn refused(&mut self, identity: Identity) -> Vec<String> {
        let text = |fault: &pb::Fault| format!("{}{}: {}", fault.resource, fault.pointer, fault.detail);
        self.wait(|report| match report {
            Report::Refused(refused) if refused.identity == Some((&identity).into()) => {
                Some(refused.faults.iter().map(text).collect())
            }
            Report::Running(running) if running.identity == Some((&identity).into()) => panic!("it runs"),
            Report::Refused(_) | Report::Running(_) | Report::Hello(_) | Report::Heartbeat(_) | Report::Health(_) => {
                None
            }
        })
        .await
    }

    /// Waits for the node to say that it ends.
    pub(super) async fn draining(&mut self) {
        self.wait(|report| match report {
            Report::Heartbeat(heartbeat) => heartbeat.draining.then_some(()),
            Report::Hello(_) | Report::Running(_) | Report::Refused(_) | Report::Health(_) => None,
        })
        .await
    }

    async fn wait<T>(&mut self, look: impl Fn(&Report) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let message = self.reports.message().await.expect("the stream stands").expect("the stream goes on");
                if let Some(found) = look(&message.message.expect("a message says something")) {
                    return found;
                }
            }
        });
        found.await.expect("the node reports in time")
    }
}
