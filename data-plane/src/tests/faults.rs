//! What an upstream does wrong, and what becomes of it: for the client, for the connection, and on record.
//!
//! Each row is tried by a client of HTTP/1 and by one of HTTP/2. The upstream does it on its first connection, to the
//! first request; whatever is asked next is answered with the number of the connection, which shows whether the one with
//! the fault was used again, and that nothing of the fault reached whoever came next.

mod client;
mod http1;
mod http2;
mod reach;

pub(super) use client::{Client, Protocol};

use super::harness::{Backend, Node, settings};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, Sender, channel};

const GET: &str = "GET";
const HEAD: &str = "HEAD";

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The upstream's answer, whole.
    Whole(u16, String),
    /// An answer that does not look whole.
    Cut,
    /// The gateway's own, with its reason.
    Refused(u16, String),
}

/// What a row expects: what the client gets, and the reason on record.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Whole(u16, &'static str),
    Cut(&'static str),
    Refused(u16, &'static str),
}

/// What becomes of the connection to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Closed,
    /// Kept if it answers a ping before the next request comes, which takes another.
    Doubted,
}

/// One fault, ready to be tried.
struct Trial {
    name: String,
    method: &'static str,
    upstream: Value,
    expect: Expect,
    fate: Fate,
}

/// How an upstream waits until the client has seen the head of its answer.
type HeadSeen = Receiver<()>;

/// One of these for each row: says that the client has seen the head of an answer.
type HeadSeens = Vec<Sender<()>>;

// Every fault, one after another, through one node: each has a route and an upstream of its own.
fn try_all(protocol: Protocol, trials: &[Trial], seens: &HeadSeens) {
    let resources: Vec<(Kind, Value)> = trials
        .iter()
        .enumerate()
        .flat_map(|(at, trial)| {
            let mut upstream = trial.upstream.clone();
            upstream["name"] = json!(format!("u{at}"));
            let matches = json!({"path": {"exact": format!("/{at}")}});
            let route = json!({"name": format!("r{at}"), "match": matches, "forward": {"upstream": format!("u{at}")}});
            [(Kind::Upstream, upstream), (Kind::Route, route)]
        })
        .collect();
    let node = Node::with(settings(), &resources);
    let mut client = Client::new(protocol, node.address);
    let mut wrong = Vec::new();
    for (at, trial) in trials.iter().enumerate() {
        let what = format!("{} by {protocol:?}", trial.name);
        let path = format!("/{at}");
        let seen = client.ask(trial.method, &path, &what, || {
            seens[at].send(()).ok();
        });
        let expect = match trial.expect {
            Expect::Whole(status, body) => Seen::Whole(status, body.into()),
            Expect::Cut(_) => Seen::Cut,
            Expect::Refused(status, reason) => Seen::Refused(status, reason.into()),
        };
        if seen != expect {
            wrong.push(format!("{what}: {seen:?} and not {expect:?}"));
        }
        let next = client.ask(GET, &path, &what, || {});
        let numbers: &[&str] = match trial.fate {
            Fate::Kept => &["0"],
            Fate::Closed => &["1"],
            Fate::Doubted => &["0", "1"],
        };
        if !numbers.iter().any(|number| next == Seen::Whole(200, number.to_string())) {
            wrong.push(format!("after {what}: {next:?} and not one of {numbers:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(client);
    let log = node.log();
    assert_eq!(log.len(), 2 * trials.len());
    for (trial, lines) in trials.iter().zip(log.chunks(2)) {
        let (status, reason) = match trial.expect {
            Expect::Whole(status, _) => (Some(status), Value::Null),
            Expect::Cut(reason) => (None, reason.into()),
            Expect::Refused(status, reason) => (Some(status), reason.into()),
        };
        assert_eq!(lines[0]["reason"], reason, "{}", trial.name);
        if let Some(status) = status {
            assert_eq!(lines[0]["http.response.status_code"], status, "{}", trial.name);
        }
        assert_eq!((&lines[1]["reason"], &lines[1]["url.path"]), (&Value::Null, &lines[0]["url.path"]));
    }
}

// An upstream that is one of these servers, tried once.
fn upstream(backend: &Backend, more: Value) -> Value {
    let mut upstream = json!({"endpoints": [{"address": backend.address.to_string()}], "retry": {"attempts": 0}});
    upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    upstream
}

fn head_seens(count: usize) -> (HeadSeens, Vec<HeadSeen>) {
    (0..count).map(|_| channel()).unzip()
}
