//! No acknowledged write is lost: 32 writers go on while the control plane and Postgres are killed and restarted.

use crate::harness::{
    admin::{Admin, revision},
    postgres::Postgres,
    stack::ControlPlane,
    wait::eventually,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

const WRITERS: usize = 32;

/// What one writer knows of its own route: what it last wrote and got an answer for, and what it last sent.
#[derive(Default)]
struct Ledger {
    acknowledged: Option<u64>,
    sent: u64,
    /// The content of each revision that was acknowledged.
    revisions: BTreeMap<u64, u64>,
}

fn body(writer: usize, number: u64) -> Value {
    json!({"match": {"path": {"exact": format!("/writer/{writer}")}}, "respond": {"body": format!("{number}")}})
}

fn write_until_stopped(admin: Admin, writer: usize, ledger: &Mutex<Ledger>, stop: &AtomicBool, written: &AtomicU64) {
    let target = format!("/v1/routes/writer-{writer}");
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        number += 1;
        ledger.lock().unwrap().sent = number;
        match admin.try_send("PUT", &target, Some(&body(writer, number))) {
            Ok(response) if matches!(response.status, 200 | 201) => {
                let mut ledger = ledger.lock().unwrap();
                ledger.acknowledged = Some(number);
                ledger.revisions.insert(revision(&response), number);
                written.fetch_add(1, Ordering::AcqRel);
            }
            // Not acknowledged: it may stand or not.
            Ok(response) => assert_eq!(response.status, 503, "{}", response.text()),
            Err(_) => thread::yield_now(),
        }
    }
}

/// Runs the writers while `faults` does its worst; it is handed a function that waits for so many more writes.
fn try_hard(mut control_plane: ControlPlane, mut faults: impl FnMut(&mut ControlPlane, &dyn Fn(u64))) {
    let admin = control_plane.admin;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let ledgers: Vec<Arc<Mutex<Ledger>>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let threads: Vec<_> = ledgers
        .iter()
        .cloned()
        .enumerate()
        .map(|(writer, ledger)| {
            let (stop, written) = (stop.clone(), written.clone());
            thread::spawn(move || write_until_stopped(admin, writer, &ledger, &stop, &written))
        })
        .collect();
    let more = |count: u64| {
        let wanted = written.load(Ordering::Acquire) + count;
        eventually("writes go on", || (written.load(Ordering::Acquire) >= wanted).then_some(()));
    };
    more(100);
    faults(&mut control_plane, &more);
    more(100);
    stop.store(true, Ordering::Release);
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    check(&control_plane, &ledgers);
    // And once more from nothing but the database.
    control_plane.kill();
    control_plane.restart();
    check(&control_plane, &ledgers);
}

fn check(control_plane: &ControlPlane, ledgers: &[Arc<Mutex<Ledger>>]) {
    let admin = control_plane.admin;
    let export = admin.get("/v1/export");
    for (writer, ledger) in ledgers.iter().enumerate() {
        let ledger = ledger.lock().unwrap();
        let routes = export["routes"].as_array().unwrap();
        let route = routes.iter().find(|route| route["name"] == format!("writer-{writer}"));
        let stands: u64 = route.map_or(0, |route| route["respond"]["body"].as_str().unwrap().parse().unwrap());
        let acknowledged = ledger.acknowledged.unwrap_or(0);
        assert!(
            (acknowledged..=ledger.sent).contains(&stands),
            "writer {writer}: {stands} stands, {acknowledged} was acknowledged, {} was sent",
            ledger.sent
        );
    }

    let revisions = all_revisions(&admin);
    let numbers: Vec<u64> = revisions.iter().map(|revision| revision["revision"].as_u64().unwrap()).collect();
    let newest = numbers[0];
    let oldest = *numbers.last().unwrap();
    assert!(oldest <= 1, "the history begins at {oldest}");
    assert_eq!(numbers, (oldest..=newest).rev().collect::<Vec<_>>(), "revisions are not contiguous");

    // The history, replayed, is what stands.
    let difference = admin.get(&format!("/v1/revisions/0/diff?to={newest}"));
    let mut replayed: Vec<Value> =
        difference["changes"].as_array().unwrap().iter().map(|c| c["after"].clone()).collect();
    let mut stands = export["routes"].as_array().unwrap().clone();
    let by_name = |a: &Value, b: &Value| a["name"].as_str().cmp(&b["name"].as_str());
    replayed.sort_by(by_name);
    stands.sort_by(by_name);
    assert_eq!(replayed, stands);

    // Each acknowledged revision is of the write that it was the answer to.
    let (writer, ledger) = (0, ledgers[0].lock().unwrap());
    for (revision, number) in ledger.revisions.iter().rev().take(5) {
        let change = &admin.get(&format!("/v1/revisions/{revision}/diff"))["changes"];
        assert_eq!(change[0]["resource"], format!("route/writer-{writer}"), "{change:#}");
        assert_eq!(change[0]["after"]["respond"]["body"], number.to_string(), "{change:#}");
    }
}

fn all_revisions(admin: &Admin) -> Vec<Value> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let page = admin.get(&format!("/v1/revisions?page_size=1000&page_token={token}"));
        all.extend(page["revisions"].as_array().unwrap().clone());
        token = page["next_page_token"].as_str().unwrap_or_default().to_string();
        if token.is_empty() {
            return all;
        }
    }
}

#[test]
fn no_acknowledged_write_is_lost_when_both_are_killed_on_postgres() {
    let Some(mut postgres) = Postgres::start() else { return };
    try_hard(ControlPlane::start_on(postgres.url()), |control_plane, more| {
        for _ in 0..2 {
            control_plane.kill();
            control_plane.restart();
            more(50);
            postgres.kill();
            postgres.restart();
            more(50);
        }
        postgres.kill();
        control_plane.kill();
        control_plane.spawn();
        postgres.restart();
    });
}

#[test]
fn no_acknowledged_write_is_lost_when_the_control_plane_is_killed_on_sqlite() {
    try_hard(ControlPlane::start(), |control_plane, more| {
        for _ in 0..3 {
            control_plane.kill();
            control_plane.restart();
            more(50);
        }
    });
}
