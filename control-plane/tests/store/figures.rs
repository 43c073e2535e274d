//! Figures, not tests: `cargo test -p control-plane --test store figures -- --ignored --nocapture --test-threads 1`.

use crate::{
    front::{Running, Told},
    harness::{Database, route},
};
use proto::pb::{self, node_message};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const ROUNDS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn commit_latency() {
    for database in databases().await {
        let instance = database.instance().await;
        let mut took = Vec::new();
        for round in 0..ROUNDS {
            let started = Instant::now();
            instance.put([route("a", &round.to_string())]).await.unwrap();
            took.push(started.elapsed());
        }
        report("one change committed", &database, took);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn a_write_to_the_report_of_an_idle_node() {
    for database in databases().await {
        let running = Running::ready(&database).await;
        let mut admin = running.admin().await;
        let mut node = running.node("node", None).await;
        let (identity, _) = node.whole().await;
        node.runs(&identity).await;
        let (told, mut received) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Told::Whole(identity, _)) = node.told().await {
                told.send(Instant::now()).await.unwrap();
                node.runs(&identity).await;
            }
        });
        let (mut reached, mut reported) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let started = Instant::now();
            let answer = admin.put("a", &round.to_string(), "?wait=all").await;
            assert!(answer.status.is_success(), "{answer:?}");
            reported.push(started.elapsed());
            reached.push(received.recv().await.unwrap() - started);
            // Idle: longer than the pause between two configurations.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        report("admin write, the node has it", &database, reached);
        report("admin write, the node runs it and the writer knows", &database, reported);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn one_change_among_ten_thousand_resources() {
    for database in databases().await {
        let instance = database.instance().await;
        instance.put((0..10_000).map(|at| route(&format!("r-{at}"), "1"))).await.unwrap();
        let mut took = Vec::new();
        for round in 0..ROUNDS / 5 {
            let started = Instant::now();
            instance.put([route("r-1", &format!("other {round}"))]).await.unwrap();
            took.push(started.elapsed());
        }
        report("one change committed among 10,000 resources", &database, took);
    }
}

const NODES: usize = 1_000;

/// The statements about what nodes report that a control plane has made, all but those that read.
async fn written(running: &Running) -> u64 {
    let text = running.admin().await.text("/metrics").await;
    let lines = text.lines().filter(|line| line.starts_with("portico_node_status_statements_total"));
    let writes = lines.filter(|line| !line.contains("\"read\""));
    writes.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A node that takes whatever it is given, and says when it did.
async fn willing(plane: &Running, id: String, done: mpsc::Sender<(u64, Instant)>) {
    let mut node = plane.node(&id, None).await;
    let say = node.say.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let heartbeat = node_message::Message::Heartbeat(pb::NodeHeartbeat::default());
            if say.send(pb::NodeMessage { message: Some(heartbeat) }).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok(told) = node.told().await {
            let (Told::Whole(identity, _) | Told::InSync(identity)) = told;
            node.runs(&identity).await;
            let _ = done.send((identity.revision, Instant::now())).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn a_wait_for_a_node_at_another_control_plane() {
    for database in databases().await {
        let planes = [Running::ready(&database).await, Running::ready(&database).await];
        let (done, mut ran) = mpsc::channel(1);
        willing(&planes[1], "node".into(), done).await;
        ran.recv().await.unwrap();
        let mut admin = planes[0].admin().await;
        while admin.get("/v1/nodes/node").await.body["running"]["revision"] != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (mut runs, mut knows) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS / 2 {
            let started = Instant::now();
            let answer = admin.put("a", &round.to_string(), "?wait=all").await;
            assert_eq!(answer.headers["portico-wait"], "reached; running=1; live=1", "{answer:?}");
            knows.push(started.elapsed());
            runs.push(ran.recv().await.unwrap().1 - started);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        report("admin write, a node at another control plane has it", &database, runs);
        report("admin write, it runs it and the writer knows", &database, knows);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure"]
async fn a_wait_for_a_thousand_nodes_at_two_control_planes() {
    for database in databases().await {
        let planes = [Running::ready(&database).await, Running::ready(&database).await];
        let (done, mut ran) = mpsc::channel(NODES * 2);
        for at in 0..NODES {
            willing(&planes[at % 2], format!("node-{at:04}"), done.clone()).await;
        }
        for _ in 0..NODES {
            ran.recv().await.unwrap();
        }
        let before = [written(&planes[0]).await, written(&planes[1]).await];
        let idle = Duration::from_secs(30);
        tokio::time::sleep(idle).await;
        let after = [written(&planes[0]).await, written(&planes[1]).await];
        let statements = after.iter().sum::<u64>() - before.iter().sum::<u64>();
        let kind = if database.is_postgres() { "postgres" } else { "sqlite" };
        let rate = statements as f64 / idle.as_secs_f64();
        eprintln!("{NODES} idle nodes at two control planes, {kind}: {rate:.2} statements a second write of them");

        let mut admins = [planes[0].admin().await, planes[1].admin().await];
        let (mut knows, mut runs) = (Vec::new(), Vec::new());
        let before = [written(&planes[0]).await, written(&planes[1]).await];
        for round in 0..ROUNDS / 5 {
            let started = Instant::now();
            let answer = admins[round % 2].put("a", &round.to_string(), "?wait=all&timeout=60s").await;
            knows.push(started.elapsed());
            let expect = format!("reached; running={NODES}; live={NODES}");
            assert_eq!(answer.headers["portico-wait"], expect.as_str(), "{answer:?}");
            let mut last = started;
            for _ in 0..NODES {
                let (revision, at) = ran.recv().await.unwrap();
                assert_eq!(revision, round as u64 + 1);
                last = last.max(at);
            }
            runs.push(last - started);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let after = [written(&planes[0]).await, written(&planes[1]).await];
        let statements = (after.iter().sum::<u64>() - before.iter().sum::<u64>()) as f64 / (ROUNDS / 5) as f64;
        eprintln!("a change that all of them report: {statements:.1} statements write of it");
        report("admin write, the last of 1,000 nodes at two control planes has it", &database, runs);
        report("admin write, all of them run it and the writer knows", &database, knows);
    }
}

async fn databases() -> Vec<Database> {
    [Some(Database::sqlite()), Database::postgres().await].into_iter().flatten().collect()
}

fn report(what: &str, database: &Database, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let kind = if database.is_postgres() { "postgres" } else { "sqlite" };
    eprintln!("{what}, {kind}: p50 {:?}, p99 {:?}, max {:?} of {}", at(0.5), at(0.99), at(1.0), took.len());
}
