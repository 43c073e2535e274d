//! A node, clients and upstreams that say exactly what they are told.

use crate::{
    listener,
    pool::Resolver,
    router::{LiveRouter, Router},
    settings::{AccessLog, Listen, Settings},
    snapshot::state::Status,
    telemetry::{Telemetry, counters::Counts},
    upkeep::upkeep,
    worker::Workers,
};
use otel::{Service, Spans, testing::Collector};
use proto::{
    json,
    quantity::Share,
    resource::{Change, Kind},
    snapshot::Snapshot,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take before the test fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A node with one worker.
pub(super) struct Node {
    pub(super) address: SocketAddr,
    workers: Workers,
    live: LiveRouter,
    telemetry: Telemetry,
    dir: TempDir,
    // The upkeep ends with the node.
    _upkeep: DropGuard,
}

/// One end of a connection.
pub(super) struct Conn {
    stream: TcpStream,
    // Read, but not asked for yet.
    rest: Vec<u8>,
}

/// A message: the first line, the headers with names in lower case, and the body without its framing.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An upstream that answers each connection by a function.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
}

/// The settings of a node in tests; each test changes what it is about.
pub(super) fn settings() -> Settings {
    Settings {
        listen: vec![Listen::http("http", ([127, 0, 0, 1], 0).into())],
        workers: 1,
        access_log: AccessLog::Off,
        ..Settings::default()
    }
}

/// A collector, and the settings of a node that sends it everything.
pub(super) fn collected() -> (Runtime, Collector, Settings) {
    let runtime = Runtime::new().unwrap();
    let collector = runtime.block_on(Collector::grpc());
    let endpoint = otel::Endpoint::parse(&collector.url()).unwrap();
    let otel = otel::Settings {
        otlp_endpoint: Some(endpoint),
        otlp_span_delay: Duration::from_millis(1),
        ..Default::default()
    };
    (runtime, collector, Settings { otel, trace_sample: Share::ALL, ..settings() })
}

/// One route for everything to one upstream of these endpoints.
pub(super) fn forward(endpoints: &[SocketAddr]) -> Vec<(Kind, Value)> {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    vec![
        (Kind::Upstream, json!({"name": "back", "endpoints": endpoints})),
        (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
    ]
}

/// One route for everything that answers itself.
pub(super) fn respond() -> Vec<(Kind, Value)> {
    vec![(Kind::Route, json!({"name": "all", "respond": {"body": "here"}}))]
}

/// An address on which nobody listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn snapshot(resources: &[(Kind, Value)]) -> Snapshot {
    let read = |(kind, value): &(Kind, Value)| Change::Put(json::read(*kind, value).unwrap());
    Snapshot::empty().with(resources.iter().map(read)).unwrap()
}

// === impl Node ===

impl Node {
    pub(super) fn start(resources: &[(Kind, Value)]) -> Node {
        Node::with(settings(), resources)
    }

    pub(super) fn with(settings: Settings, resources: &[(Kind, Value)]) -> Node {
        Node::resolving(settings, resources, Resolver::system())
    }

    /// A node that resolves names in another way.
    pub(super) fn resolving(mut settings: Settings, resources: &[(Kind, Value)], resolver: Resolver) -> Node {
        let dir = tempfile::tempdir().unwrap();
        settings.access_log = AccessLog::File(dir.path().join("access.log"));
        let service = Service { name: "portico-node", version: "0", instance: "test".into() };
        let (spans, span_exporter) = Spans::new(&settings.otel, &service).unwrap();
        let telemetry = Telemetry::new(&settings, spans).unwrap();
        let live = LiveRouter::new(Router::build(&snapshot(resources), None, None));
        let listeners = listener::bind(&settings).unwrap();
        let address = listeners[0].listen.address;
        let workers = Workers::start(&settings, listeners, &live, &telemetry).unwrap();
        let stop = CancellationToken::new();
        let kept =
            stop.clone().run_until_cancelled_owned(upkeep(live.clone(), Status::new(telemetry.clone()), resolver));
        let exported = span_exporter.run(stop.clone());
        std::thread::spawn(move || runtime().block_on(async { tokio::join!(kept, exported) }));
        Node { address, workers, live, telemetry, dir, _upkeep: stop.drop_guard() }
    }

    /// Replaces the configuration.
    pub(super) fn change(&self, resources: &[(Kind, Value)]) {
        let router = Router::build(&snapshot(resources), None, Some(&self.live.load_full()));
        self.live.store(Arc::new(router));
    }

    pub(super) fn connect(&self) -> Conn {
        Conn::new(TcpStream::connect(self.address).unwrap())
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Message {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    /// The router now.
    pub(super) fn router(&self) -> Arc<Router> {
        self.live.load_full()
    }

    /// Whether it is short of memory.
    pub(super) fn overload(&self, overloaded: bool) {
        self.telemetry.memory().looked(2, 1, overloaded);
    }

    /// Which endpoints are healthy, in the order of the upstream `back`.
    pub(super) fn healthy(&self) -> Vec<bool> {
        let router = self.live.load_full();
        let pool = router.pools().find(|pool| pool.name().as_str() == "back").unwrap();
        pool.endpoints().iter().map(|endpoint| endpoint.is_healthy()).collect()
    }

    /// Waits until those are.
    pub(super) fn await_healthy(&self, expect: &[bool]) {
        let start = Instant::now();
        while self.healthy() != expect {
            assert!(start.elapsed() < DEADLINE, "{:?} and not {expect:?}", self.healthy());
            std::thread::yield_now();
        }
    }

    pub(super) fn counts(&self) -> Counts {
        runtime().block_on(self.telemetry.scrape())
    }

    /// Waits until the counts are as they should be.
    pub(super) fn await_counts(&self, mut hold: impl FnMut(&Counts) -> bool) -> Counts {
        let start = Instant::now();
        loop {
            let counts = self.counts();
            if hold(&counts) {
                return counts;
            }
            assert!(start.elapsed() < DEADLINE, "{counts:?}");
            std::thread::yield_now();
        }
    }

    /// Begins the drain; the thread ends with it.
    pub(super) fn drain(self, deadline: Duration) -> JoinHandle<Vec<Value>> {
        std::thread::spawn(move || {
            let log = self.log_text(deadline);
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        })
    }

    /// Ends the node; what it logged.
    pub(super) fn log(self) -> Vec<Value> {
        self.drain(DEADLINE).join().unwrap()
    }

    /// Ends the node; what it logged, as it stands there.
    pub(super) fn log_text(self, deadline: Duration) -> String {
        runtime().block_on(self.workers.drain(deadline));
        std::fs::read_to_string(self.dir.path().join("access.log")).unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// === impl Conn ===

impl Conn {
    pub(super) fn new(stream: TcpStream) -> Conn {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Conn { stream, rest: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends, whatever becomes of it.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the other end closed the connection, and sent nothing before.
    pub(super) fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !self.fill()
    }

    /// Whether the other end reset the connection, and sent nothing before.
    pub(super) fn is_reset(&mut self) -> bool {
        let read = self.stream.read(&mut [0]);
        self.rest.is_empty() && matches!(read, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(super) fn request(&mut self) -> Option<Message> {
        self.message()
    }

    pub(super) fn response(&mut self) -> Message {
        self.message().expect("a response")
    }

    /// The response to HEAD.
    pub(super) fn response_head(&mut self) -> Message {
        self.head().expect("a response")
    }

    /// All that is sent from now on to the end of the connection.
    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.rest)
    }

    /// So many bytes.
    pub(super) fn read(&mut self, len: usize) -> Vec<u8> {
        while self.rest.len() < len {
            assert!(self.fill(), "closed after {:?}", String::from_utf8_lossy(&self.rest));
        }
        self.rest.drain(..len).collect()
    }

    /// So many bytes; `None` when the end comes first.
    pub(super) fn try_read(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.rest.len() < len {
            if !self.fill() {
                return None;
            }
        }
        Some(self.rest.drain(..len).collect())
    }

    /// A line without its end.
    pub(super) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.rest.windows(2).position(|end| end == b"\r\n") {
                let line = self.read(at + 2);
                return Some(String::from_utf8(line[..at].to_vec()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// First line and headers.
    pub(super) fn head(&mut self) -> Option<Message> {
        let line = self.line()?;
        let mut headers = Vec::new();
        loop {
            let field = self.line()?;
            if field.is_empty() {
                return Some(Message { line, headers, body: Vec::new() });
            }
            let (name, value) = field.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_string()));
        }
    }

    fn message(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let len = usize::from_str_radix(&self.line()?, 16).unwrap();
                if len == 0 {
                    // Trailers are passed over.
                    while !self.line()?.is_empty() {}
                    break;
                }
                message.body.extend(self.read(len));
                assert_eq!(self.line()?, "");
            }
        } else if let Some(len) = message.header("content-length") {
            let len = len.parse().unwrap();
            message.body = self.read(len);
        }
        Some(message)
    }

    // False at the end; a reset is an end.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.rest.extend_from_slice(&bytes[..n]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came in time: {error}"),
        }
    }
}

// === impl Message ===

impl Message {
    pub(super) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The label of the gateway's own error.
    pub(super) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap().to_string()
    }
}

// === impl Backend ===

impl Backend {
    /// Gives each connection, with its number, to the function, in a thread of its own.
    pub(super) fn start(serve: impl Fn(usize, Conn) + Send + Sync + 'static) -> Backend {
        Backend::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    /// The same where somebody listens already.
    pub(super) fn on(listener: TcpListener, serve: impl Fn(usize, Conn) + Send + Sync + 'static) -> Backend {
        let address = listener.local_addr().unwrap();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (serve, conn) = (serve.clone(), Conn::new(stream.unwrap()));
                std::thread::spawn(move || serve(number, conn));
            }
        });
        Backend { address }
    }

    /// Says when it was asked, and answers `done` when it is told to.
    pub(super) fn held() -> (Backend, Receiver<()>, Sender<()>) {
        let (asked, wait) = channel();
        let (go, going) = channel();
        let going = Mutex::new(going);
        let backend = Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                asked.send(()).unwrap();
                going.lock().unwrap().recv().unwrap();
                conn.send(ok("done"));
            }
        });
        (backend, wait, go)
    }

    /// Hands over each connection with the first request on it.
    pub(super) fn handing() -> (Backend, Receiver<(Message, Conn)>) {
        let (sender, receiver) = channel();
        let backend = Backend::start(move |_, mut conn| {
            if let Some(request) = conn.request() {
                sender.send((request, conn)).ok();
            }
        });
        (backend, receiver)
    }

    /// Answers every request with what came: the head as text in the body.
    pub(super) fn echo() -> Backend {
        Backend::start(|_, mut conn| {
            while let Some(request) = conn.request() {
                let body = format!("{}\n{:?}\n{}", request.line, request.headers, request.text());
                conn.send(ok(&body));
            }
        })
    }

    /// Answers every request on every connection with these bytes.
    pub(super) fn answering(bytes: &'static str) -> Backend {
        Backend::start(move |_, mut conn| {
            while conn.request().is_some() {
                conn.send(bytes);
            }
        })
    }
}

/// A response with this body.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
