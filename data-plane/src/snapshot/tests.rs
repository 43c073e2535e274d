mod disk;
mod plane;

use super::{
    assembly::{Assembly, AssemblyError},
    discovery::{Discovery, NodeInfo, Reach},
    disk::{DataDir, Slot},
    keeper::Keeper,
    *,
};
use crate::{
    settings::{AccessLog, Settings},
    telemetry::Telemetry,
};
use plane::{Plane, Stream};
use prost::Message;
use proto::{
    name::Name,
    resource::{Hash, Kind},
};
use std::{fs, thread::JoinHandle};
use tempfile::TempDir;

const HISTORY: [u8; 16] = [7; 16];

// === configurations ===

fn resource(kind: Kind, name: &str, payload: Vec<u8>) -> Resource {
    let key = ResourceKey::new(kind, Name::parse(name).expect("a name"));
    Resource { key, payload: payload.into(), requires: Vec::new() }
}

/// A route to itself.
fn route(name: &str) -> Resource {
    let path = Some(pb::PathMatch { kind: Some(pb::path_match::Kind::Prefix(format!("/{name}"))) });
    let message = pb::Route {
        name: name.into(),
        r#match: Some(pb::Match { path, ..Default::default() }),
        action: Some(pb::route::Action::Respond(pb::Respond::default())),
        ..Default::default()
    };
    resource(Kind::Route, name, message.encode_to_vec())
}

fn snapshot(names: &[&str]) -> Snapshot {
    Snapshot::empty().with(names.iter().map(|name| Change::Put(route(name)))).expect("no faults")
}

fn identity(revision: u64, root: Hash) -> Identity {
    Identity { history: HISTORY, revision, root }
}

fn stored(revision: u64, names: &[&str]) -> Stored {
    let snapshot = snapshot(names);
    Stored { identity: identity(revision, snapshot.root()), snapshot }
}

fn messages(snapshot: &Snapshot) -> Vec<pb::Resource> {
    snapshot.entries().map(|entry| (&entry.resource).into()).collect()
}

/// A chunk for each resource.
fn chunks(identity: Identity, resources: Vec<pb::Resource>) -> Vec<pb::SnapshotChunk> {
    let count = resources.len();
    let chunk = |(at, resource): (usize, pb::Resource)| pb::SnapshotChunk {
        identity: Some((&identity).into()),
        resources: vec![resource],
        last: at + 1 == count,
        ..Default::default()
    };
    resources.into_iter().enumerate().map(chunk).collect()
}

// === a node without workers ===

struct Node {
    live: LiveRouter,
    orders: Mailbox<Order>,
    keep: Mailbox<Stored>,
    threads: Vec<JoinHandle<()>>,
    stream: tokio::task::JoinHandle<()>,
}

fn reach(plane: &Plane) -> Reach {
    Reach { urls: vec![plane.url()], ..Reach::default() }
}

fn telemetry() -> Telemetry {
    let settings = Settings { access_log: AccessLog::Off, ..Settings::default() };
    Telemetry::new(&settings, otel::Spans::off()).expect("there is no log to open")
}

impl Node {
    fn start(dir: &TempDir, plane: &Plane, build: Build) -> Node {
        let (live, status) = (LiveRouter::new(Router::empty()), Status::new(telemetry()));
        let (orders, keep) = (Mailbox::new(), Mailbox::new());
        let data_dir = DataDir::open(dir.path()).expect("a data directory");
        let node = NodeInfo { id: data_dir.node_id().into(), ..NodeInfo::default() };
        let builder = Builder::new(live.clone(), status.clone(), Some(keep.clone()));
        let builder = Builder { build, ..builder };
        let keeper = Keeper::new(data_dir, status.clone(), None);
        let reach = Reach { token: Some("hush".into()), ..reach(plane) };
        let discovery = Discovery::new(reach, node, status, orders.clone()).expect("a URL");
        let threads = vec![
            std::thread::spawn({
                let orders = orders.clone();
                move || builder.run(&orders)
            }),
            std::thread::spawn({
                let keep = keep.clone();
                move || keeper.run(&keep)
            }),
        ];
        let stream = tokio::spawn(Arc::new(discovery).run());
        Node { live, orders, keep, threads, stream }
    }

    fn runs(&self, path: &str) -> bool {
        let headers = http::HeaderMap::new();
        self.live.load_full().find(&head(path, &headers)).is_some()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stream.abort();
        self.orders.close();
        self.keep.close();
        self.threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
    }
}

fn head<'a>(path: &'a str, headers: &'a http::HeaderMap) -> proto::matching::Head<'a> {
    proto::matching::Head {
        listener: "http",
        scheme: proto::matching::Scheme::Http,
        client: [127, 0, 0, 1].into(),
        host: "x",
        method: &http::Method::GET,
        path,
        query: None,
        headers,
    }
}

async fn started() -> (TempDir, Plane, Node, Stream) {
    let (dir, mut plane) = (TempDir::new().expect("a folder"), Plane::start().await);
    let node = Node::start(&dir, &plane, Router::build);
    let stream = plane.accept().await;
    (dir, plane, node, stream)
}

// === the control stream ===

#[tokio::test]
async fn what_is_sent_runs_and_is_kept() {
    let (dir, _plane, node, mut stream) = started().await;
    assert_eq!(stream.token.as_deref(), Some("Bearer hush"));
    assert!(stream.hello.running.is_none() && !stream.hello.node_id.is_empty());
    let sent = stored(1, &["a", "b", "c"]);
    stream.send_all(chunks(sent.identity, messages(&sent.snapshot))).await;
    stream.running(sent.identity).await;
    assert!(node.runs("/b") && !node.runs("/d"));
    stream.persisted(sent.identity).await;
    drop(node);
    let kept = DataDir::open(dir.path()).expect("nobody has it").read(Slot::Current).expect("it was kept");
    assert_eq!((kept.identity, kept.resources.len()), (sent.identity, 3));
}

#[tokio::test]
async fn what_is_not_sent_again_is_gone() {
    let (_dir, _plane, node, mut stream) = started().await;
    for (revision, names) in [(1, ["a", "b"]), (2, ["b", "c"])] {
        let sent = stored(revision, &names);
        stream.send_all(chunks(sent.identity, messages(&sent.snapshot))).await;
        stream.running(sent.identity).await;
    }
    assert!(!node.runs("/a") && node.runs("/b") && node.runs("/c"));
    let empty = identity(3, Snapshot::empty().root());
    stream.send(pb::SnapshotChunk { identity: Some((&empty).into()), last: true, ..Default::default() }).await;
    stream.running(empty).await;
    assert!(!node.runs("/b"));
}

#[tokio::test]
async fn what_is_refused_leaves_the_one_before() {
    let (_dir, _plane, node, mut stream) = started().await;
    let good = stored(1, &["a"]);
    stream.send_all(chunks(good.identity, messages(&good.snapshot))).await;
    stream.running(good.identity).await;
    let next = snapshot(&["a", "b"]);
    let mut revision = 1;
    let mut check = async |spoil: &dyn Fn(&mut Vec<pb::Resource>), honest: bool, expect: &str| {
        revision += 1;
        let mut resources = messages(&next);
        spoil(&mut resources);
        let root = match honest {
            true => {
                let resources: Vec<_> =
                    resources.iter().cloned().filter_map(|r| Resource::from_message(r).ok()).collect();
                root_of_unchecked(&resources)
            }
            false => next.root(),
        };
        let identity = identity(revision, root);
        stream.send_all(chunks(identity, resources)).await;
        let refused = stream.refused(identity).await;
        assert!(refused.iter().any(|fault| fault.contains(expect)), "{refused:?} does not say {expect:?}");
        assert!(node.runs("/a") && !node.runs("/b"), "{expect}");
    };
    let flip = |resources: &mut Vec<pb::Resource>, at: usize| {
        let mut payload = resources[1].payload.to_vec();
        payload[at] ^= 1;
        resources[1].payload = payload.into();
    };
    // Whatever a byte that is not the one that was sent may look like.
    for at in 0..messages(&next)[1].payload.len() {
        check(&|resources| flip(resources, at), false, "damaged on the way").await;
    }
    check(&|resources| drop(resources.pop()), false, "damaged on the way").await;
    check(&|resources| resources[1].requires.push("teleport".into()), true, "route/").await;
    check(&|resources| resources[1].requires.push("teleport".into()), true, "\"teleport\"").await;
    check(&|resources| resources[1].kind = "teapot".into(), true, "unknown kind \"teapot\"").await;
    check(&|resources| resources[1].payload = vec![255].into(), true, "the payload is not a route").await;
    check(&|resources| resources.push(resources[1].clone()), true, "stands twice").await;
    let dangling = pb::Route {
        name: "c".into(),
        action: Some(pb::route::Action::Forward(pb::Forward { upstream: "u".into(), ..Default::default() })),
        ..Default::default()
    };
    let dangling = resource(Kind::Route, "c", dangling.encode_to_vec());
    check(&|resources| resources.push((&dangling).into()), true, "route/c/forward/upstream: no upstream is named")
        .await;
}

#[tokio::test]
async fn an_empty_database_takes_nothing_away() {
    let (_dir, _plane, node, mut stream) = started().await;
    let send = async |stream: &mut Stream, history: [u8; 16], revision, names: &[&str]| {
        let sent = stored(revision, names);
        let identity = Identity { history, ..sent.identity };
        let resources = messages(&sent.snapshot);
        stream
            .send(pb::SnapshotChunk { identity: Some((&identity).into()), resources, last: true, ..Default::default() })
            .await;
        identity
    };
    // A node that has nothing yet takes it.
    for (revision, names) in [(0, &[][..]), (7, &["a"])] {
        let sent = send(&mut stream, HISTORY, revision, names).await;
        stream.running(sent).await;
    }
    let other = [8; 16];
    let sent = send(&mut stream, other, 0, &[]).await;
    let refused = stream.refused(sent).await;
    assert!(refused[0].contains("restore it"), "{refused:?}");
    assert!(node.runs("/a"));
    let sent = send(&mut stream, other, 1, &["b"]).await;
    stream.running(sent).await;
    assert!(node.runs("/b") && !node.runs("/a"));
}

#[tokio::test]
async fn what_was_damaged_is_asked_for_again() {
    let (_dir, mut plane, node, mut stream) = started().await;
    let sent = stored(1, &["a", "b"]);
    let mut damaged = messages(&sent.snapshot);
    damaged.pop();
    stream.send_all(chunks(sent.identity, damaged)).await;
    stream.refused(sent.identity).await;
    stream.heartbeat(sent.identity).await;
    let mut stream = plane.accept().await;
    stream.send_all(chunks(sent.identity, messages(&sent.snapshot))).await;
    stream.running(sent.identity).await;
    assert!(node.runs("/b"));
}

#[tokio::test]
async fn chunks_of_two_configurations_are_not_mixed() {
    let (_dir, mut plane, node, stream) = started().await;
    let (one, two) = (stored(1, &["a", "b"]), stored(2, &["c", "d"]));
    let (first, second) =
        (chunks(one.identity, messages(&one.snapshot)), chunks(two.identity, messages(&two.snapshot)));
    stream.send(first[0].clone()).await;
    stream.send(second[1].clone()).await;
    let mut stream = plane.accept().await;
    assert!(stream.hello.running.is_none());
    let refused = stream.refused(two.identity).await;
    assert!(refused[0].contains("mixed"), "{refused:?}");
    stream.send_all(second).await;
    stream.running(two.identity).await;
    assert!(node.runs("/c") && !node.runs("/a"));
}

#[tokio::test]
async fn a_node_comes_back_with_what_it_runs() {
    let (_dir, mut plane, node, mut stream) = started().await;
    let sent = stored(5, &["a"]);
    stream.send_all(chunks(sent.identity, messages(&sent.snapshot))).await;
    stream.persisted(sent.identity).await;
    drop(stream);
    let mut stream = plane.accept().await;
    assert_eq!(stream.hello.running, Some((&sent.identity).into()));
    stream.in_sync(sent.identity).await;
    stream.persisted(sent.identity).await;
    assert!(node.runs("/a"));
}

#[tokio::test]
async fn a_panic_over_a_configuration_is_a_refusal() {
    fn build(snapshot: &Snapshot, identity: Option<Identity>, previous: Option<&Router>) -> Router {
        assert!(!snapshot.routes().any(|route| route.name.as_str() == "poison"), "the cup is poisoned");
        Router::build(snapshot, identity, previous)
    }
    let (dir, mut plane) = (TempDir::new().expect("a folder"), Plane::start().await);
    let node = Node::start(&dir, &plane, build);
    let mut stream = plane.accept().await;
    let (good, poison, better) = (stored(1, &["a"]), stored(2, &["a", "poison"]), stored(3, &["a", "b"]));
    stream.send_all(chunks(good.identity, messages(&good.snapshot))).await;
    stream.running(good.identity).await;
    stream.send_all(chunks(poison.identity, messages(&poison.snapshot))).await;
    let refused = stream.refused(poison.identity).await;
    assert!(refused[0].contains("the cup is poisoned"), "{refused:?}");
    assert!(node.runs("/a") && !node.runs("/poison"));
    stream.send_all(chunks(better.identity, messages(&better.snapshot))).await;
    stream.running(better.identity).await;
    assert!(node.runs("/b"));
}

#[tokio::test]
async fn a_node_that_is_not_let_in_does_not_insist() {
    let stranger = Plane::refusing(tonic::Status::unauthenticated("the join token is wrong")).await;
    let status = Status::new(telemetry());
    let node = NodeInfo { id: "n".into(), ..NodeInfo::default() };
    let discovery = Discovery::new(reach(&stranger), node, status, Mailbox::new()).expect("a URL");
    let running = tokio::spawn(Arc::new(discovery).run());
    let asked = async {
        while stranger.refused() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it asks");
    // The next try is 7 s away at least; had it insisted, it would have come many times by then.
    let insisted = tokio::time::timeout(Duration::from_millis(500), async {
        while stranger.refused() == 1 {
            tokio::task::yield_now().await;
        }
    });
    assert!(insisted.await.is_err(), "it does not insist");
    running.abort();
}

#[test]
fn the_url_of_a_control_plane_is_checked() {
    let check = |url: &str| {
        let node = NodeInfo::default();
        let reach = Reach { urls: vec![url.into()], ..Reach::default() };
        Discovery::new(reach, node, Status::new(telemetry()), Mailbox::new()).is_ok()
    };
    assert!(check("http://127.0.0.1:7081") && check("http://[::1]:7081/") && check("http://control-plane:7081"));
    assert!(check("https://control-plane:7081") && check("https://[::1]:7081") && check("https://10.0.0.1"));
    for bad in ["127.0.0.1:7081", "ftp://a:1", "http://a:1/x", "http://a:1/?x", "https://", "", "a b"] {
        assert!(!check(bad), "{bad}");
    }
}

#[tokio::test]
async fn a_node_that_ends_says_so() {
    let (dir, mut plane) = (TempDir::new().expect("a folder"), Plane::start().await);
    let status = Status::new(telemetry());
    let node = NodeInfo { id: "n".into(), ..NodeInfo::default() };
    let discovery = Discovery::new(reach(&plane), node, status.clone(), Mailbox::new()).expect("a URL");
    let running = tokio::spawn(Arc::new(discovery).run());
    let mut stream = plane.accept().await;
    assert!(stream.token.is_none());
    stream.in_sync(identity(0, Snapshot::empty().root())).await;
    status.draining();
    stream.draining().await;
    running.abort();
    drop(dir);
}

// === chunks ===

#[test]
fn a_configuration_has_an_end() {
    let sent = stored(1, &["a"]);
    let mut huge = chunks(sent.identity, messages(&sent.snapshot)).remove(0);
    huge.last = false;
    huge.resources[0].payload = vec![0; 64 << 20].into();
    let mut assembly = Assembly::default();
    let refused = (0..17).find_map(|_| assembly.add(huge.clone()).err());
    assert_eq!(refused, Some(AssemblyError::TooLarge(sent.identity)));
}

// === a file ===

fn builder() -> (Builder, LiveRouter) {
    let live = LiveRouter::new(Router::empty());
    (Builder::new(live.clone(), Status::new(telemetry()), None), live)
}

#[test]
fn a_file_is_run_and_read_again() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("portico.yaml");
    let (mut builder, live) = builder();
    fs::write(&path, "routes:\n  - name: a\n    match: {path: {prefix: /a}}\n    respond: {status: 204}\n")
        .expect("written");
    builder.load(&path).expect("nothing is wrong");
    let runs = |path: &str| live.load_full().find(&head(path, &http::HeaderMap::new())).is_some();
    assert!(runs("/a") && live.load_full().revision() == 1);
    fs::write(&path, r#"{"routes": [{"name": "b", "match": {"path": {"prefix": "/b"}}, "respond": {}}]}"#)
        .expect("written");
    builder.load(&path).expect("nothing is wrong");
    assert!(runs("/b") && !runs("/a") && live.load_full().revision() == 2);
    fs::write(&path, "routes: [{name: c}]").expect("written");
    builder.load(&path).expect_err("no action");
    assert!(runs("/b"));
}

#[test]
fn all_faults_of_a_file_come_at_once() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("portico.yaml");
    let check = |text: &str, expect: &[&str]| {
        fs::write(&path, text).expect("written");
        let told = builder().0.load(&path).expect_err("it has faults").to_string();
        for part in expect {
            assert!(told.contains(part), "{told}\n does not say {part:?}");
        }
        assert_eq!(told.lines().count(), expect.len() + 1, "{told}");
    };
    let text = "
routes:
  - {name: a, forward: {upstream: nobody}}
  - {name: a, respond: {}}
  - {name: b, match: {path: {prefix: /b}}, responf: {}}
  - {respond: {}}
upstreams:
  - {name: u, endpoints: [{address: nowhere}]}
route: []
";
    check(
        text,
        &[
            "/routes/0/forward/upstream (route/a): no upstream is named \"nobody\"",
            "/routes/1/name: a is the name of /routes/0 already",
            "/routes/2/responf (route/b): ",
            "/routes/3/name: a name is missing",
            "/upstreams/0/endpoints/0/address (upstream/u): ",
            "/route: unknown field; did you mean \"routes\"?",
        ],
    );
    check("routes: {}", &["/routes: this is a list"]);
    check("- 1", &["a configuration is an object"]);
}
