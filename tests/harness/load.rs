//! Load: connections kept alive, each sending one request after the other, that count every failure.
//!
//! Where there are several nodes, it does what a load balancer does: it asks each for its readiness and opens new
//! connections only to those that say yes. A connection is given up only when the node says `Connection: close`.

use super::http::{Connection, Request, send};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often nodes are asked for their readiness.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The most failures that are told in full.
const MOST_TOLD: usize = 10;

/// One node as the load sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) traffic: SocketAddr,
    pub(crate) status: SocketAddr,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<Target>,
    /// Requests go to these in turn, with a number in the query that the upstream has to have seen.
    pub(crate) paths: Vec<String>,
    pub(crate) connections: usize,
    /// The pause of a connection between two requests.
    pub(crate) pause: Duration,
}

/// A running load; it stops when it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    began: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) failed: u64,
    pub(crate) lasted: Duration,
    pub(crate) slowest: Duration,
}

struct Shared {
    plan: Plan,
    ready: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) fn start(plan: Plan) -> Load {
        let connections = plan.connections;
        let ready = plan.targets.iter().map(|target| target.traffic).collect();
        let shared = Arc::new(Shared {
            plan,
            ready: Mutex::new(ready),
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
            told: Mutex::new(Vec::new()),
        });
        let balancer = {
            let shared = shared.clone();
            thread::spawn(move || shared.balance())
        };
        let clients = (0..connections).map(|number| {
            let shared = shared.clone();
            thread::spawn(move || shared.client(number))
        });
        let threads = clients.chain([balancer]).collect();
        Load { shared, threads, began: Instant::now() }
    }

    /// How many requests were answered so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Acquire)
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    pub(crate) fn more(&self, count: u64) {
        let wanted = self.requests() + count;
        super::wait::eventually("the load goes on", || (self.requests() >= wanted).then_some(()));
    }

    /// Ends it, with what came of it.
    pub(crate) fn stop(mut self) -> Outcome {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("the load does not panic");
        }
        Outcome {
            requests: self.requests(),
            failures: std::mem::take(&mut self.shared.told.lock().unwrap()),
            failed: self.shared.failed.load(Ordering::Acquire),
            lasted: self.began.elapsed(),
            slowest: Duration::from_micros(self.shared.slowest_us.load(Ordering::Acquire)),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Outcome {
    /// Fails the test if any request did.
    #[track_caller]
    pub(crate) fn assert_none_failed(&self) {
        assert_eq!(self.failed, 0, "of {} requests {} failed: {:#?}", self.requests, self.failed, self.failures);
        assert!(self.requests > 0, "there was no load");
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn balance(&self) {
        while !self.is_stopped() {
            let is_ready = |target: &&Target| {
                send(target.status, &Request::get("/readyz")).is_ok_and(|response| response.status == 200)
            };
            let ready: Vec<SocketAddr> =
                self.plan.targets.iter().filter(is_ready).map(|target| target.traffic).collect();
            // With nobody ready a balancer goes on with what it knew.
            if !ready.is_empty() {
                *self.ready.lock().unwrap() = ready;
            }
            thread::sleep(ASK_EVERY);
        }
    }

    fn client(&self, number: usize) {
        let mut connection: Option<(Connection, SocketAddr)> = None;
        let mut turn = number;
        while !self.is_stopped() {
            turn += 1;
            let began = Instant::now();
            let path = &self.plan.paths[turn % self.plan.paths.len()];
            let target = format!("{path}?n={number}.{turn}");
            let asked = match connection.take() {
                Some(open) => Ok(open),
                None => self.connect(turn),
            };
            let answered = asked.and_then(|(mut open, node)| {
                let response =
                    open.send(&Request::get(&target)).map_err(|error| format!("{node} {target}: {error}"))?;
                let seen = response.text();
                if response.status != 200 || !seen.contains(&format!("n={number}.{turn}")) {
                    return Err(format!("{node} {target}: {} {seen}", response.status));
                }
                Ok((open, node, response.closes()))
            });
            match answered {
                Ok((open, node, closes)) => {
                    self.requests.fetch_add(1, Ordering::AcqRel);
                    self.slowest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::AcqRel);
                    connection = (!closes).then_some((open, node));
                }
                Err(why) => {
                    self.failed.fetch_add(1, Ordering::AcqRel);
                    let mut told = self.told.lock().unwrap();
                    if told.len() < MOST_TOLD {
                        told.push(why);
                    }
                    // A node that refuses everything must not be hammered.
                    thread::sleep(Duration::from_millis(10));
                }
            }
            if !self.plan.pause.is_zero() {
                thread::sleep(self.plan.pause);
            }
        }
    }

    fn connect(&self, turn: usize) -> Result<(Connection, SocketAddr), String> {
        let node = {
            let ready = self.ready.lock().unwrap();
            ready[turn % ready.len()]
        };
        let connection = Connection::open(node).map_err(|error| format!("failed to connect to {node}: {error}"))?;
        Ok((connection, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::upstream::{Seen, Upstream};
    use std::io::{BufReader, Write};

    /// The failures of a load on a server that answers one request so and closes.
    fn failed(answer: &'static str) -> u64 {
        let server = Upstream::scripted(|stream| {
            let mut stream = BufReader::new(stream);
            Seen::read(&mut stream)?;
            stream.get_mut().write_all(answer.as_bytes())
        });
        let target = Target { traffic: server.address, status: server.address };
        let plan = Plan { targets: vec![target], paths: vec!["/".into()], connections: 2, pause: Duration::ZERO };
        let load = Load::start(plan);
        let shared = load.shared.clone();
        super::super::wait::eventually("there is a failure", || {
            (shared.failed.load(Ordering::Acquire) > 0).then_some(())
        });
        load.stop().failed
    }

    #[test]
    fn no_failure_goes_unnoticed() {
        let others = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nothers";
        for answer in [others, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n", ""] {
            assert!(failed(answer) > 0, "{answer:?}");
        }
    }
}
