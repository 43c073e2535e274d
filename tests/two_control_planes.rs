//! Two control planes on one Postgres are one: whichever is asked, and whichever is killed.

use crate::harness::{
    admin::{Admin, revision, route, upstream},
    load::{Load, Plan, Target},
    meddler::Meddler,
    postgres::Postgres,
    stack::{ControlPlane, Node},
    upstream::Upstream,
    wait::{eventually, within},
};
use proto::{
    identity::{Identity, hex},
    pb::control_message::Message,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Two control planes.
struct Pair {
    // Before the database, so that they are dropped first.
    a: ControlPlane,
    b: ControlPlane,
    postgres: Postgres,
}

/// Connections of Postgres that are held still, until it is dropped.
struct Still(Vec<Pid>);

/// What a node was given over one stream after the other: which control plane it was, and which configuration.
type Given = Arc<Mutex<Vec<(char, Identity)>>>;

impl Pair {
    fn start() -> Option<Pair> {
        let postgres = Postgres::start()?;
        let (a, b) = (ControlPlane::start_on(postgres.url()), ControlPlane::start_on(postgres.url()));
        Some(Pair { a, b, postgres })
    }

    fn admins(&self) -> [Admin; 2] {
        [self.a.admin, self.b.admin]
    }

    /// A node that knows both, and is told all by way of someone who writes down what it is given.
    fn watched_node(&self) -> (Node, Given, [Meddler; 2]) {
        let given = Given::default();
        let between = [('a', &self.a), ('b', &self.b)].map(|(name, plane)| {
            let given = given.clone();
            Meddler::start(plane.discovery, move |message| {
                if let Some(Message::Snapshot(chunk)) = &message.message
                    && chunk.last
                {
                    let identity = Identity::from_message(chunk.identity.as_ref().unwrap()).unwrap();
                    given.lock().unwrap().push((name, identity));
                }
            })
        });
        let mut node = node_of(&between.each_ref().map(|between| between.address));
        node.restart();
        (node, given, between)
    }

    /// Waits until both tell the same of these many live nodes, which all run the head, and returns the nodes.
    #[track_caller]
    fn agree(&self, count: usize) -> Vec<Value> {
        eventually("both control planes tell the same of the nodes", || {
            let [of_a, of_b] = self.admins().map(|admin| live_nodes(&admin));
            let head = head(&self.a.admin)["revision"].clone();
            let settled = |node: &Value| node["running"]["revision"] == head && node["connected"] == true;
            let same = |a: &Value, b: &Value| a["id"] == b["id"] && a["control_plane"] == b["control_plane"];
            let agree = of_a.len() == count
                && of_b.len() == count
                && of_a.iter().chain(&of_b).all(settled)
                && of_a.iter().zip(&of_b).all(|(a, b)| same(a, b));
            agree.then_some(of_a)
        })
    }
}

impl Still {
    /// Holds the listeners of all control planes: their connections stand, and tell nothing.
    fn listeners(postgres: &Postgres, count: usize) -> Still {
        let held = eventually("all control planes listen", || {
            let listening = "select pid from pg_stat_activity where query ilike 'listen %' and state = 'idle'";
            let pids = postgres.ask(listening);
            (pids.len() == count).then_some(pids)
        });
        let held: Vec<Pid> = held.into_iter().map(|pid| Pid::from_raw(pid).unwrap()).collect();
        held.iter().for_each(|pid| kill_process(*pid, Signal::STOP).unwrap());
        Still(held)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

fn node_of(planes: &[SocketAddr]) -> Node {
    let urls: Vec<String> = planes.iter().map(|address| format!("http://{address}")).collect();
    Node::of(&urls.iter().flat_map(|url| ["--control-plane", url.as_str()]).collect::<Vec<_>>())
}

fn live_nodes(admin: &Admin) -> Vec<Value> {
    let nodes = admin.get("/v1/nodes")["nodes"].as_array().unwrap().clone();
    nodes.into_iter().filter(|node| node["live"] == true).collect()
}

fn head(admin: &Admin) -> Value {
    admin.get("/v1/revisions?page_size=1")["revisions"][0].clone()
}

fn answers(number: usize) -> Value {
    json!({"match": {"path": {"exact": "/n"}}, "respond": {"body": number.to_string()}})
}

fn is_at(node: &Value, plane: &ControlPlane) -> bool {
    node["control_plane"].as_str().unwrap().ends_with(&format!(":{}", plane.discovery.port()))
}

/// The root of each revision, which are contiguous.
fn history(admin: &Admin) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    let mut token = String::new();
    loop {
        let page = admin.get(&format!("/v1/revisions?page_size=1000&page_token={token}"));
        for revision in page["revisions"].as_array().unwrap() {
            all.insert(revision["revision"].as_u64().unwrap(), revision["root"].as_str().unwrap().to_string());
        }
        token = page["next_page_token"].as_str().unwrap_or_default().to_string();
        if token.is_empty() {
            break;
        }
    }
    let numbers: Vec<u64> = all.keys().copied().collect();
    assert_eq!(numbers, (0..=head(admin)["revision"].as_u64().unwrap()).collect::<Vec<_>>(), "not contiguous");
    all
}

/// Every configuration that a node was given is one of the history, and newer than the one before; only another control
/// plane may give again what the node had not said to run when its stream broke.
fn check_given(given: &Given, history: &BTreeMap<u64, String>) {
    let given = given.lock().unwrap();
    for (_, identity) in given.iter() {
        assert_eq!(history.get(&identity.revision), Some(&hex(&identity.root)), "{identity} is not of the history");
    }
    for pair in given.windows(2) {
        let [(before_at, before), (after_at, after)] = pair else { unreachable!("windows of two") };
        let again = before_at != after_at && before == after;
        assert!(after.revision > before.revision || again, "{before} at {before_at}, and then {after} at {after_at}");
    }
    let (_, last) = given.last().expect("it was given something");
    assert_eq!(Some(&last.revision), history.keys().last(), "it was not given the head");
}

#[test]
fn writes_at_one_are_served_by_nodes_of_the_other_and_a_wait_is_for_all() {
    let Some(pair) = Pair::start() else { return };
    let (first, mut second) = (pair.a.node(), pair.b.node());
    pair.agree(2);
    for (number, admin) in pair.admins().into_iter().cycle().take(6).enumerate() {
        let written = admin.put("/v1/routes/n?wait=all", &answers(number));
        assert_eq!(written.header("portico-wait"), Some("reached; running=2; live=2"), "{}", written.text());
        for node in [&first, &second] {
            assert_eq!(node.get("/n").text(), number.to_string());
        }
    }
    let nodes = pair.agree(2);
    let of_b = nodes.iter().find(|node| is_at(node, &pair.b)).expect("one is there")["id"].clone();

    // One of the other control plane stands still.
    second.process().signal(Signal::STOP);
    for (number, admin) in pair.admins().into_iter().enumerate() {
        let written = admin.put("/v1/routes/n?wait=all&timeout=1s", &answers(90 + number));
        assert_eq!(written.status, 202, "{}", written.text());
        assert_eq!(written.header("portico-wait"), Some("not-reached; running=1; live=2"));
        let lagging = written.json()["wait"]["lagging"].clone();
        assert_eq!(lagging.as_array().unwrap().len(), 1, "{lagging:#}");
        assert_eq!((&lagging[0]["id"], &lagging[0]["live"]), (&of_b, &json!(true)));
    }
    second.process().signal(Signal::CONT);
    let written = pair.a.admin.put("/v1/routes/n?wait=all", &answers(100));
    assert_eq!(written.header("portico-wait"), Some("reached; running=2; live=2"), "{}", written.text());
    assert_eq!(second.get("/n").text(), "100");
}

#[test]
fn changes_arrive_by_the_poll_when_no_notification_does() {
    let Some(pair) = Pair::start() else { return };
    let (first, second) = (pair.a.node(), pair.b.node());
    pair.agree(2);
    let still = Still::listeners(&pair.postgres, 2);
    let mut slowest = Duration::ZERO;
    for number in 0..6 {
        let (admin, far) = if number % 2 == 0 { (pair.a.admin, &second) } else { (pair.b.admin, &first) };
        let began = Instant::now();
        admin.put("/v1/routes/n", &answers(number));
        within(Duration::from_secs(5), "the change is there", || {
            (far.get("/n").text() == number.to_string()).then_some(())
        });
        slowest = slowest.max(began.elapsed());
    }
    println!("without notifications the slowest change took {slowest:?}");
    let written = pair.a.admin.put("/v1/routes/n?wait=all", &answers(7));
    assert_eq!(written.header("portico-wait"), Some("reached; running=2; live=2"), "{}", written.text());
    drop(still);

    // And when the listeners are ended, again and again.
    for number in 10..14 {
        pair.postgres.ask("select pg_terminate_backend(pid)::int from pg_stat_activity where query ilike 'listen %'");
        pair.b.admin.put("/v1/routes/n", &answers(number));
        within(Duration::from_secs(5), "the change is there", || {
            (first.get("/n").text() == number.to_string()).then_some(())
        });
    }
}

#[test]
fn no_request_fails_and_nodes_move_when_a_control_plane_is_killed_under_load() {
    let Some(mut pair) = Pair::start() else { return };
    let echo = Upstream::echo("echo");
    pair.a.admin.route("all", "/", echo.address);
    let watched = [pair.watched_node(), pair.watched_node(), pair.watched_node()];
    pair.agree(3);
    let targets = watched.iter().map(|(node, ..)| Target { traffic: node.traffic, status: node.status }).collect();
    let (paths, pause) = (vec!["/a".into(), "/b/c".into()], Duration::from_millis(2));
    let load = Load::start(Plan { targets, paths, connections: 8, pause });

    let number = Cell::new(0);
    let change = |admins: &[Admin]| {
        for admin in admins.iter().cycle().take(20) {
            let number = number.replace(number.get() + 1);
            let mut body = upstream(&[echo.address]);
            body["timeouts"] = json!({"response": format!("{}ms", 5_000 + number)});
            admin.put("/v1/upstreams/all", &body);
            admin.put("/v1/routes/other", &route(&format!("/other/{number}"), "all"));
        }
    };
    let admins = pair.admins();
    for _ in 0..2 {
        change(&admins);
        // The one that has the most of them.
        let nodes = pair.agree(3);
        let of_a = nodes.iter().filter(|node| is_at(node, &pair.a)).count();
        let (dies, lives) = if of_a >= 2 { (&mut pair.a, &pair.b) } else { (&mut pair.b, &pair.a) };
        dies.kill();
        change(&[lives.admin]);
        let written = lives.admin.put("/v1/routes/n?wait=all&timeout=30s", &answers(number.get()));
        assert_eq!(written.header("portico-wait"), Some("reached; running=3; live=3"), "{}", written.text());
        let nodes = live_nodes(&lives.admin);
        assert!(nodes.len() == 3 && nodes.iter().all(|node| is_at(node, lives)), "{nodes:#?}");
        load.more(200);
        dies.restart();
        let written = dies.admin.put("/v1/routes/n?wait=all", &answers(number.get() + 1_000));
        assert_eq!(written.header("portico-wait"), Some("reached; running=3; live=3"), "{}", written.text());
        pair.agree(3);
    }
    change(&admins);
    pair.agree(3);
    let outcome = load.stop();
    println!("{} requests in {:?}, slowest {:?}", outcome.requests, outcome.lasted, outcome.slowest);
    outcome.assert_none_failed();
    let histories = admins.map(|admin| history(&admin));
    assert_eq!(histories[0], histories[1]);
    watched.iter().for_each(|(_, given, _)| check_given(given, &histories[0]));
}

#[test]
fn writers_at_both_make_one_history_while_postgres_is_killed() {
    let Some(mut pair) = Pair::start() else { return };
    let (node_of_a, node_of_b) = (pair.a.node(), pair.b.node());
    let (watched, given, _between) = pair.watched_node();
    pair.agree(3);
    let stop = Arc::new(AtomicBool::new(false));
    let counts: [Arc<AtomicU64>; 2] = Default::default();
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let writers = (0..4).map(|writer| {
        let (admin, written) = (pair.admins()[writer % 2], counts[writer % 2].clone());
        let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
        thread::spawn(move || {
            let target = format!("/v1/routes/writer-{writer}");
            let mut number = 0;
            while !stop.load(Ordering::Acquire) {
                number += 1;
                let body = json!({
                    "match": {"path": {"exact": format!("/writer/{writer}")}}, "respond": {"body": number.to_string()},
                });
                match admin.try_send("PUT", &target, Some(&body)) {
                    Ok(response) if matches!(response.status, 200 | 201) => {
                        let before = acknowledged.lock().unwrap().insert(revision(&response), (writer, number));
                        assert_eq!(before, None, "two writes were told the same revision");
                        written.fetch_add(1, Ordering::AcqRel);
                    }
                    // Not acknowledged: it may stand or not.
                    Ok(response) => assert_eq!(response.status, 503, "{}", response.text()),
                    Err(_) => thread::yield_now(),
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let more = |count: u64| {
        for written in &counts {
            let wanted = written.load(Ordering::Acquire) + count;
            eventually("writes go on at both", || (written.load(Ordering::Acquire) >= wanted).then_some(()));
        }
    };
    more(25);
    for _ in 0..2 {
        pair.postgres.kill();
        pair.postgres.restart();
        // Nobody is forgotten for the time that the database was away.
        let waited = eventually("a write is taken", || {
            let written = pair.a.admin.try_send("PUT", "/v1/routes/n?wait=all", Some(&answers(1))).ok()?;
            matches!(written.status, 200 | 201).then(|| written.header("portico-wait").unwrap_or_default().to_string())
        });
        assert_eq!(waited, "reached; running=3; live=3");
        more(25);
    }
    stop.store(true, Ordering::Release);
    writers.into_iter().for_each(|writer| writer.join().unwrap());

    let [of_a, of_b] = pair.admins().map(|admin| history(&admin));
    assert_eq!(of_a, of_b);
    let acknowledged = acknowledged.lock().unwrap();
    for (revision, (writer, number)) in acknowledged.iter().rev().take(10) {
        for admin in pair.admins() {
            let change = &admin.get(&format!("/v1/revisions/{revision}/diff"))["changes"][0];
            assert_eq!(change["resource"], format!("route/writer-{writer}"), "{change:#}");
            assert_eq!(change["after"]["respond"]["body"], number.to_string(), "{change:#}");
        }
    }
    let written = pair.b.admin.put("/v1/routes/n?wait=all", &answers(2));
    assert_eq!(written.header("portico-wait"), Some("reached; running=3; live=3"), "{}", written.text());
    let exports = pair.admins().map(|admin| admin.get("/v1/export"));
    assert_eq!(exports[0], exports[1]);
    for node in [&node_of_a, &node_of_b, &watched] {
        assert_eq!(node.get("/n").text(), "2");
    }
    pair.agree(3);
    check_given(&given, &history(&pair.a.admin));
}
