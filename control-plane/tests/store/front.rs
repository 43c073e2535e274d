//! A whole control plane with its ports, whoever administers it, and nodes that do as a case tells them.

use crate::harness::{Database, PATIENCE};
use clap::Parser;
use control_plane::{app, explain::Explainer, settings::Settings};
use http::{HeaderMap, Method, Request, StatusCode, response::Parts};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use proto::{
    explain::Description,
    identity::Identity,
    invalid::Invalid,
    log_level::LogLevel,
    pb::{self, control_message, discovery_client::DiscoveryClient, node_message},
    resource::{Change, Resource},
    snapshot::Snapshot,
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-a-case";
pub(crate) const JOIN_TOKEN: &str = "join-token-of-a-case";

/// A control plane that runs.
pub(crate) struct Running {
    pub(crate) admin: SocketAddr,
    pub(crate) discovery: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<anyhow::Result<()>>,
    _directory: TempDir,
}

/// A connection to the admin API.
pub(crate) struct Admin {
    sender: SendRequest<Full<bytes::Bytes>>,
}

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A node that does as it is told.
pub(crate) struct Node {
    pub(crate) say: mpsc::Sender<pb::NodeMessage>,
    stream: Streaming<pb::ControlMessage>,
}

/// What a node was sent.
#[derive(Debug)]
pub(crate) enum Told {
    InSync(Identity),
    Whole(Identity, Snapshot),
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

// === impl Running ===

/// Nobody asks what a node would do, or what is logged.
pub(crate) struct NoNode;

impl Explainer for NoNode {
    fn explain(&self, _snapshot: &Snapshot, _request: &Description) -> pb::Explanation {
        pb::Explanation::default()
    }

    fn broken_tests(&self, _snapshot: &Snapshot) -> Vec<Invalid> {
        Vec::new()
    }
}

impl LogLevel for NoNode {
    fn get(&self) -> String {
        String::new()
    }

    fn set(&self, _text: &str) -> Result<(), String> {
        Ok(())
    }
}

impl Running {
    pub(crate) async fn start(database: &Database) -> Running {
        Running::listening(database, "127.0.0.1:0", &[]).await
    }

    /// Started with the discovery port there, and more settings.
    pub(crate) async fn listening(database: &Database, discovery: &str, more: &[&str]) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().to_str().unwrap();
        let usual = [
            "control-plane",
            "--database",
            &database.url,
            "--data-dir",
            data_dir,
            "--admin-listen",
            "127.0.0.1:0",
            "--discovery-listen",
            discovery,
            "--admin-token",
            ADMIN_TOKEN,
            "--join-token",
            JOIN_TOKEN,
        ];
        let settings = CommandLine::parse_from(usual.iter().chain(more));
        let app = app::build(settings.settings, Arc::new(NoNode), Arc::new(NoNode)).await.unwrap();
        let (admin, discovery) = (app.admin_address(), app.discovery_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(app.run(async { drop(stopped.await) }));
        Running { admin, discovery, stop: Some(stop), task, _directory: directory }
    }

    /// Started, and the configuration is loaded.
    pub(crate) async fn ready(database: &Database) -> Running {
        let running = Running::start(database).await;
        running.until_ready().await;
        running
    }

    pub(crate) async fn until_ready(&self) {
        let started = Instant::now();
        while Admin::connect(self.admin).await.get("/readyz").await.status != StatusCode::OK {
            assert!(started.elapsed() < PATIENCE, "not ready in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(self.admin).await
    }

    pub(crate) async fn node(&self, id: &str, has: Option<Identity>) -> Node {
        Node::join(self.discovery, JOIN_TOKEN, id, has).await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(PATIENCE, &mut self.task).await;
        ended.expect("it does not end").unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Admin ===

impl Admin {
    pub(crate) async fn connect(address: SocketAddr) -> Admin {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Admin { sender }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// Puts a route that answers itself.
    pub(crate) async fn put(&mut self, name: &str, body: &str, query: &str) -> Answer {
        let route = serde_json::json!({
            "name": name, "match": {"path": {"exact": format!("/{name}")}}, "respond": {"body": body},
        });
        self.call(Method::PUT, &format!("/v1/routes/{name}{query}"), Some(route)).await
    }

    /// An answer that is no JSON.
    pub(crate) async fn text(&mut self, path: &str) -> String {
        let (_, body) = self.send(Method::GET, path, None).await;
        String::from_utf8(body.into()).unwrap()
    }

    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let (parts, body) = self.send(method, path, body).await;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> (Parts, bytes::Bytes) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "admin")
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }
}

// === impl Node ===

impl Node {
    pub(crate) async fn join(
        address: SocketAddr,
        token: &str,
        id: &str,
        has: Option<Identity>,
    ) -> Result<Node, Status> {
        let hello = pb::Hello { node_id: id.into(), running: has.as_ref().map(Into::into), ..Default::default() };
        Node::begin(address, token, node_message::Message::Hello(hello)).await
    }

    pub(crate) async fn begin(address: SocketAddr, token: &str, first: node_message::Message) -> Result<Node, Status> {
        let mut client = DiscoveryClient::connect(format!("http://{address}")).await.unwrap();
        let (say, said) = mpsc::channel(16);
        say.send(pb::NodeMessage { message: Some(first) }).await.unwrap();
        let mut request = tonic::Request::new(ReceiverStream::new(said));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = client.stream(request).await?.into_inner();
        Ok(Node { say, stream })
    }

    /// The next thing that is not a heartbeat.
    pub(crate) async fn told(&mut self) -> Result<Told, Status> {
        let mut resources = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("nothing is sent")?;
            let message = message.ok_or_else(|| Status::ok("the stream has ended"))?;
            match message.message.unwrap() {
                control_message::Message::InSync(in_sync) => return Ok(Told::InSync(read(in_sync.head))),
                control_message::Message::Heartbeat(_) => assert!(resources.is_empty(), "nothing comes between pieces"),
                control_message::Message::Snapshot(chunk) => {
                    let put = |resource| Change::Put(Resource::from_message(resource).unwrap());
                    resources.extend(chunk.resources.into_iter().map(put));
                    if chunk.last {
                        let (identity, snapshot) = (read(chunk.identity), Snapshot::empty().with(resources).unwrap());
                        assert_eq!(snapshot.root(), identity.root);
                        return Ok(Told::Whole(identity, snapshot));
                    }
                }
            }
        }
    }

    /// The next whole configuration.
    pub(crate) async fn whole(&mut self) -> (Identity, Snapshot) {
        match self.told().await.unwrap() {
            Told::Whole(identity, snapshot) => (identity, snapshot),
            Told::InSync(identity) => panic!("in sync with {identity}"),
        }
    }

    pub(crate) async fn runs(&self, identity: &Identity) {
        let running = pb::Running { identity: Some(identity.into()), persisted: true };
        self.say.send(pb::NodeMessage { message: Some(node_message::Message::Running(running)) }).await.unwrap();
    }

    pub(crate) async fn refuses(&self, identity: &Identity, resource: &str, detail: &str) {
        let faults = vec![pb::Fault { resource: resource.into(), pointer: "/match".into(), detail: detail.into() }];
        let refused = pb::Refused { identity: Some(identity.into()), faults };
        self.say.send(pb::NodeMessage { message: Some(node_message::Message::Refused(refused)) }).await.unwrap();
    }
}

fn read(identity: Option<pb::Identity>) -> Identity {
    Identity::from_message(&identity.unwrap()).unwrap()
}
