//! Names of endpoints: a DNS server of our own says what they stand for, and when it is away.

use super::harness::{Backend, DEADLINE, Node, ok, settings};
use crate::pool::Resolver;
use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig},
    proto::{
        op::{Message, OpCode, ResponseCode},
        rr::{
            Name, RData, Record,
            rdata::{A, SRV},
        },
    },
};
use proto::resource::Kind;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Instant,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A DNS server that says what it is told, or nothing.
#[derive(Clone, Default)]
struct Dns {
    records: Arc<Mutex<Option<Vec<Record>>>>,
    asked: Arc<Mutex<usize>>,
}

impl Dns {
    fn start(&self) -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut udp = ConnectionConfig::udp();
        udp.port = socket.local_addr().unwrap().port();
        let mut server = NameServerConfig::udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        server.connections = vec![udp];
        let dns = self.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((len, from)) = socket.recv_from(&mut bytes) {
                let request = Message::from_vec(&bytes[..len]).unwrap();
                *dns.asked.lock().unwrap() += 1;
                if let Some(answer) = dns.answer(&request) {
                    socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        Resolver::of(vec![server])
    }

    fn answer(&self, request: &Message) -> Option<Message> {
        let records = self.records.lock().unwrap().clone()?;
        let query = request.queries[0].clone();
        let mut answer = Message::response(request.metadata.id, OpCode::Query);
        let fits = |record: &Record| record.name == *query.name() && record.record_type() == query.query_type();
        let found: Vec<Record> = records.iter().filter(|record| fits(record)).cloned().collect();
        if !records.iter().any(|record| record.name == *query.name()) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_query(query);
        answer.add_answers(found);
        Some(answer)
    }

    fn say(&self, records: Vec<Record>) {
        *self.records.lock().unwrap() = Some(records);
    }

    fn be_away(&self) {
        *self.records.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

// Docker says 600 s of what it changes at any time.
fn a(host: &str, ip: [u8; 4]) -> Record {
    Record::from_rdata(name(host), 600, RData::A(A(ip.into())))
}

fn srv(host: &str, (priority, weight, port): (u16, u16, u16), target: &str) -> Record {
    Record::from_rdata(name(host), 600, RData::SRV(SRV::new(priority, weight, port, name(target))))
}

/// Servers at several addresses of one port, which answer with the last number of their address.
fn servers(count: u8) -> u16 {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let others = (2..=count).map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).unwrap());
    for (at, listener) in [first].into_iter().chain(others).enumerate() {
        Backend::on(listener, move |_, mut conn| {
            while conn.request().is_some() {
                conn.send(ok(&(at + 1).to_string()));
            }
        });
    }
    port
}

fn resources(endpoints: Value) -> Vec<(Kind, Value)> {
    let dns = json!({"min_ttl": "100ms", "max_ttl": "200ms"});
    vec![
        (Kind::Upstream, json!({"name": "back", "endpoints": endpoints, "dns": dns})),
        (Kind::Route, json!({"name": "all", "forward": {"upstream": "back"}})),
    ]
}

fn who(node: &Node, asks: usize) -> BTreeSet<String> {
    (0..asks).map(|_| node.ask(GET).text().to_string()).collect()
}

fn await_who(node: &Node, expect: &[&str]) {
    let start = Instant::now();
    loop {
        let found = who(node, 2 * expect.len());
        if found.iter().map(String::as_str).eq(expect.iter().copied()) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{found:?} and not {expect:?}");
    }
}

#[test]
fn all_addresses_of_a_name_take_traffic_and_changes_are_followed() {
    let (dns, port) = (Dns::default(), servers(3));
    dns.say(vec![a("back.test.", [127, 0, 0, 1]), a("back.test.", [127, 0, 0, 2])]);
    let endpoints = json!([{"address": format!("back.test:{port}")}]);
    let node = Node::resolving(settings(), &resources(endpoints), dns.start());
    // The first request waits for the name.
    assert_eq!(node.ask(GET).status(), 200);
    assert_eq!(who(&node, 4), ["1", "2"].map(String::from).into());
    dns.say(vec![a("back.test.", [127, 0, 0, 2]), a("back.test.", [127, 0, 0, 3])]);
    await_who(&node, &["2", "3"]);
    // While DNS is away, and when it knows nothing, what is known holds.
    dns.say(Vec::new());
    let asked = dns.asked();
    while dns.asked() < asked + 6 {
        assert_eq!(node.ask(GET).status(), 200);
    }
    dns.be_away();
    let asked = dns.asked();
    while dns.asked() < asked + 2 {
        assert_eq!(node.ask(GET).status(), 200);
    }
    assert_eq!(who(&node, 4), ["2", "3"].map(String::from).into());
}

#[test]
fn addresses_of_a_name_divide_its_share() {
    let (dns, port) = (Dns::default(), servers(3));
    dns.say(vec![a("two.test.", [127, 0, 0, 1]), a("two.test.", [127, 0, 0, 2]), a("one.test.", [127, 0, 0, 3])]);
    let endpoints = json!([{"address": format!("two.test:{port}")}, {"address": format!("one.test:{port}")}]);
    let node = Node::resolving(settings(), &resources(endpoints), dns.start());
    await_who(&node, &["1", "2", "3"]);
    let threes = (0..40).filter(|_| node.ask(GET).text() == "3").count();
    assert_eq!(threes, 20);
}

#[test]
fn srv_records_tell_ports_weights_and_priorities() {
    let (dns, port, other) = (Dns::default(), servers(2), servers(1));
    let service = "_http._tcp.back.test.";
    let hosts = vec![a("x.test.", [127, 0, 0, 1]), a("y.test.", [127, 0, 0, 2])];
    let mut records = hosts.clone();
    records.extend([srv(service, (1, 3, port), "x.test."), srv(service, (1, 1, port), "y.test.")]);
    records.push(srv(service, (2, 1, other), "x.test."));
    dns.say(records);
    let endpoints = json!([{"srv": service.trim_end_matches('.')}]);
    let node = Node::resolving(settings(), &resources(endpoints), dns.start());
    let ones = (0..40).filter(|_| node.ask(GET).text() == "1").count();
    assert_eq!(ones, 30);
    // Only what has the lowest number of priority is called.
    let connected = || {
        let router = node.router();
        let pool = router.pools().next().unwrap().clone();
        pool.endpoints().iter().filter(|endpoint| endpoint.connections() > 0).count()
    };
    assert_eq!(connected(), 2);
}

#[test]
fn a_name_that_nobody_knows_fails_and_may_be_known_later() {
    let (dns, port) = (Dns::default(), servers(1));
    dns.say(Vec::new());
    let endpoints = json!([{"address": format!("back.test:{port}")}]);
    let node = Node::resolving(settings(), &resources(endpoints), dns.start());
    let response = node.ask(GET);
    assert_eq!((response.status(), response.reason().as_str()), (502, "resolve"));
    dns.say(vec![a("back.test.", [127, 0, 0, 1])]);
    let start = Instant::now();
    while node.ask(GET).status() != 200 {
        assert!(start.elapsed() < DEADLINE);
    }
}
