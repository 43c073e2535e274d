//! The API through its front door: a real listener, a real database.

mod access;
mod audit;
mod certificates;
mod conditions;
mod credentials;
mod description;
mod explain;
mod faults;
mod life_cycle;
mod lists;
mod log_level;
mod outage;
mod waiting;
mod whole;

use super::{refusals::Refusals, router, state::ApiState};
use crate::{
    access::Access,
    commit::Committer,
    explain::Explainer,
    fleet::Fleet,
    nodes::Nodes,
    publisher::Publisher,
    settings::Token,
    store::{Seal, Store},
    telemetry::Telemetry,
};
use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proto::{
    explain::Description,
    invalid::Invalid,
    log_level::LogLevel,
    name::Name,
    pb,
    resource::{Kind, ResourceKey},
    snapshot::Snapshot,
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "correct-horse";
const MAX_BODY: usize = 256 * 1024;

/// A control plane's admin port on a database of its own.
struct Api {
    address: SocketAddr,
    state: ApiState,
    nodes: Arc<Nodes>,
    // Both end with the test.
    running: JoinSet<()>,
    _directory: TempDir,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Stands for the node's code: it tells the path that it was asked about.
struct Echo;

impl Explainer for Echo {
    fn explain(&self, _snapshot: &Snapshot, request: &Description) -> pb::Explanation {
        let path = request.head().split(' ').nth(1).unwrap().to_owned();
        let request = pb::AdmittedRequest { path, ..Default::default() };
        pb::Explanation { request: Some(request), ..Default::default() }
    }

    // Whoever calls a test so has it broken.
    fn broken_tests(&self, snapshot: &Snapshot) -> Vec<Invalid> {
        let broken = snapshot.tests().keys().filter(|name| name.as_str().starts_with("broken"));
        let key = |name: &Name| ResourceKey::new(Kind::Test, name.clone());
        broken
            .map(|name| Invalid { resource: Some(key(name)), pointer: "/expect".into(), detail: "x".into() })
            .collect()
    }
}

/// Stands for the program's log.
#[derive(Default)]
struct Level(Mutex<String>);

impl LogLevel for Level {
    fn get(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, text: &str) -> Result<(), String> {
        if text == "loud" {
            return Err("\"loud\" is no level".into());
        }
        *self.0.lock().unwrap() = text.into();
        Ok(())
    }
}

// === impl Api ===

impl Api {
    async fn start() -> Api {
        let directory = TempDir::new().unwrap();
        let seal = Seal::new(["a key for tests, long enough to be one"]).unwrap();
        let url = format!("sqlite:{}", directory.path().join("p.db").display());
        let store = Store::open(&url, 10_000, seal).await.unwrap();
        let telemetry = Arc::new(Telemetry::default());
        let publisher = Arc::new(Publisher::open(store.clone(), telemetry.clone()).await.unwrap());
        let access = Access::open(store.clone(), Token::new(TOKEN), telemetry.clone()).await.unwrap();
        let access = Arc::new(access);
        let nodes = Arc::new(Nodes::new("here".into(), telemetry.clone()));
        let fleet = Arc::new(Fleet::new(nodes.clone(), access.clone(), store.clone(), telemetry.clone()));
        let state = ApiState {
            committer: Arc::new(Committer::new(store.clone(), publisher.clone(), telemetry.clone(), Arc::new(Echo))),
            fleet: fleet.clone(),
            access: access.clone(),
            refusals: Arc::new(Refusals::new(telemetry.clone())),
            explainer: Arc::new(Echo),
            log_level: Arc::new(Level::default()),
            max_body: MAX_BODY,
            publisher: publisher.clone(),
            store,
            telemetry,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = JoinSet::new();
        let router = router(state.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        running.spawn(async move { axum::serve(listener, service).await.unwrap() });
        let asked = publisher.asks();
        running.spawn(async move { publisher.run().await });
        running.spawn(async move { access.run(asked).await });
        running.spawn(async move { fleet.run(CancellationToken::new()).await });
        Api { address, state, nodes, running, _directory: directory }
    }

    /// The same with another router.
    async fn with_router(mut self, router: Router) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        self
    }

    /// Sends a request as it is.
    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driving = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        driving.abort();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Sends a request with the token and these headers.
    async fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.call("GET", target, &[], "").await
    }

    async fn delete(&self, target: &str) -> Answer {
        self.call("DELETE", target, &[], "").await
    }

    async fn put(&self, target: &str, body: &Value) -> Answer {
        self.call("PUT", target, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn post(&self, target: &str, body: &Value) -> Answer {
        self.call("POST", target, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn patch(&self, target: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/merge-patch+json")];
        self.call("PATCH", target, &headers, body.to_string()).await
    }
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    fn revision(&self) -> u64 {
        self.header("portico-revision").parse().unwrap()
    }

    #[track_caller]
    fn check(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Checks that it is a whole problem of that kind.
    #[track_caller]
    fn check_problem(self, status: u16, slug: &str) -> Value {
        let answer = self.check(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:portico:problem:{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        problem
    }
}

fn upstream() -> Value {
    serde_json::json!({"endpoints": [{"address": "127.0.0.1:9000"}]})
}

fn route(path: &str, upstream: &str) -> Value {
    serde_json::json!({"match": {"path": {"prefix": path}}, "forward": {"upstream": upstream}})
}

/// Waits until something holds, at most 10 s.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come to hold in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
