use super::*;
use crate::settings::{AccessLog, Listen};
use std::fs;
use tempfile::TempDir;

// Nobody asks what is logged.
struct Silent;

impl LogLevel for Silent {
    fn get(&self) -> String {
        String::new()
    }

    fn set(&self, _text: &str) -> Result<(), String> {
        Ok(())
    }
}

fn settings(dir: &TempDir) -> Settings {
    Settings {
        listen: vec![Listen::http("http", ([127, 0, 0, 1], 0).into())],
        status_listen: ([127, 0, 0, 1], 0).into(),
        data_dir: dir.path().join("node"),
        access_log: AccessLog::Off,
        workers: 1,
        shutdown_delay: Duration::ZERO,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_node_runs_from_a_file_and_ends_when_told() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("portico.json");
    fs::write(&file, r#"{"routes": [{"name": "a", "respond": {}}]}"#).expect("written");
    let app = build(Settings { config: Some(file), ..settings(&dir) }, Arc::new(Silent)).await.expect("it is bound");
    assert_ne!(app.status_address().port(), 0);
    app.run(async {}).await.expect("it drains");
}

#[tokio::test]
async fn a_file_with_faults_is_told_apart() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("portico.json");
    fs::write(&file, r#"{"routes": [{"name": "a"}]}"#).expect("written");
    let error =
        build(Settings { config: Some(file), ..settings(&dir) }, Arc::new(Silent)).await.err().expect("it has faults");
    let told = error.downcast::<InvalidConfiguration>().expect("a bad configuration").to_string();
    assert!(told.contains("/routes/0"), "{told}");
}

#[tokio::test]
async fn a_node_needs_a_source() {
    let dir = TempDir::new().expect("a folder");
    assert!(build(settings(&dir), Arc::new(Silent)).await.is_err());
}

#[tokio::test]
async fn a_node_starts_without_anybody_from_the_newest_good_slot() {
    use crate::snapshot::disk::{DataDir, Slot, Stored};
    use proto::{identity::Identity, snapshot::Snapshot};
    let dir = TempDir::new().expect("a folder");
    // Nothing listens there.
    let settings = Settings { control_plane: vec!["http://127.0.0.1:1".into()], ..settings(&dir) };
    let stored = |revision| {
        let snapshot = Snapshot::empty();
        Stored { identity: Identity { history: [1; 16], revision, root: snapshot.root() }, snapshot }
    };
    let running = async || {
        let app = build(settings.clone(), Arc::new(Silent)).await.expect("it needs nobody");
        app.status.watch().borrow().running.map(|identity| identity.revision)
    };
    assert_eq!(running().await, None);
    let keep = |slot, revision| {
        DataDir::open(&settings.data_dir).expect("it is free").write(slot, &stored(revision)).expect("written");
    };
    keep(Slot::Proven, 1);
    assert_eq!(running().await, Some(1));
    keep(Slot::Current, 2);
    assert_eq!(running().await, Some(2));
    fs::write(settings.data_dir.join("snapshot.current"), "rubbish").expect("written");
    assert_eq!(running().await, Some(1));
    fs::write(settings.data_dir.join("snapshot.proven"), "rubbish").expect("written");
    assert_eq!(running().await, None);
}

/// What a node answers on a connection of its own.
async fn get(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[tokio::test]
async fn what_was_kept_is_served_without_anybody() {
    use crate::snapshot::disk::{DataDir, Slot, Stored};
    use prost::Message;
    use proto::{
        identity::Identity,
        name::Name,
        pb,
        resource::{Change, Kind, Resource, ResourceKey},
        snapshot::Snapshot,
    };
    let dir = TempDir::new().expect("a folder");
    let settings = Settings { control_plane: vec!["http://127.0.0.1:1".into()], ..settings(&dir) };
    let respond = pb::Respond { body: "kept".into(), ..Default::default() };
    let action = Some(pb::route::Action::Respond(respond));
    let payload = pb::Route { name: "a".into(), action, ..Default::default() }.encode_to_vec().into();
    let key = ResourceKey::new(Kind::Route, Name::parse("a").expect("a name"));
    let snapshot = Snapshot::empty().with([Change::Put(Resource { key, payload, requires: Vec::new() })]);
    let snapshot = snapshot.expect("no faults");
    let identity = Identity { history: [1; 16], revision: 4, root: snapshot.root() };
    let data_dir = DataDir::open(&settings.data_dir).expect("it is free");
    data_dir.write(Slot::Current, &Stored { identity, snapshot }).expect("written");
    drop(data_dir);
    let app = build(settings, Arc::new(Silent)).await.expect("it needs nobody");
    let (_, address) = app.addresses().remove(0);
    let answer = get(address, "/anything").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("kept"), "{answer}");
    assert!(get(app.status_address(), "/readyz").await.starts_with("HTTP/1.1 200"));
    app.run(async {}).await.expect("it drains");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
