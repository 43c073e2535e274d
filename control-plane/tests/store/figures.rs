//! Figures, not tests: `cargo test -p control-plane --test store figures -- --ignored --nocapture --test-threads 1`.

use crate::{
    front::{Running, Told},
    harness::{Database, route},
};
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

async fn databases() -> Vec<Database> {
    [Some(Database::sqlite()), Database::postgres().await].into_iter().flatten().collect()
}

fn report(what: &str, database: &Database, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let kind = if database.is_postgres() { "postgres" } else { "sqlite" };
    eprintln!("{what}, {kind}: p50 {:?}, p99 {:?}, max {:?} of {}", at(0.5), at(0.99), at(1.0), took.len());
}
