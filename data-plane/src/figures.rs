//! Figures of the router, for `examples/router.rs`: how long finding and building take, and how much memory they need.
//! Those of API keys and tokens stand below.

mod keys;
mod tokens;

pub use keys::Keys;
pub use tokens::Tokens;

pub mod limits;

use crate::router::Router;
use http::{HeaderMap, Method};
use prost::Message;
use proto::{
    matching::{Head, Scheme},
    name::Name,
    pb,
    resource::{Change, Kind, Resource, ResourceKey},
    snapshot::Snapshot,
};
use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

/// How the routes of a configuration look.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// `/service-7`, any host.
    Prefixes,
    /// `/api/service-7/orders`, any host.
    Exact,
    /// `/api/service-7/orders/{id}`, any host.
    Templates,
    /// `service-7.example.com`, any path.
    Hosts,
}

/// All shapes.
pub const SHAPES: [Shape; 4] = [Shape::Prefixes, Shape::Exact, Shape::Templates, Shape::Hosts];

/// A configuration and its router.
pub struct Subject {
    shape: Shape,
    count: usize,
    snapshot: Snapshot,
    router: Router,
    /// What it took to write and check the configuration.
    pub check: Duration,
    /// What it took to build the router.
    pub build: Duration,
    /// Memory of the configuration, and with the router, in bytes.
    pub memory: (usize, usize),
}

impl Subject {
    /// So many routes of that shape, to a hundredth as many upstreams.
    pub fn new(shape: Shape, count: usize) -> Subject {
        let before = resident();
        let upstreams = (0..count.div_ceil(100)).map(|at| {
            let name = format!("upstream-{at}");
            let endpoints = vec![pb::Endpoint { address: format!("10.0.0.1:{}", 1 + at), ..Default::default() }];
            let message = pb::Upstream { name: name.clone(), endpoints, ..Default::default() };
            put(Kind::Upstream, &name, message.encode_to_vec())
        });
        let begun = Instant::now();
        // Made one by one, for what is freed before it is measured counts as used.
        let changes = upstreams.chain((0..count).map(|at| route(shape, at, 0)));
        let snapshot = Snapshot::empty().with(changes).expect("the figures' own configuration is right");
        let check = begun.elapsed();
        let checked = resident();
        let begun = Instant::now();
        let router = Router::build(&snapshot, None, None);
        let build = begun.elapsed();
        let memory = (checked.saturating_sub(before), resident().saturating_sub(before));
        Subject { shape, count, snapshot, router, check, build, memory }
    }

    /// Finds a route so many times, spread over all of them; the time of one.
    pub fn find(&self, times: usize) -> Duration {
        let requests: Vec<(String, String)> =
            (0..1000).map(|at| request(self.shape, at * self.count.div_ceil(1000) % self.count)).collect();
        let headers = HeaderMap::new();
        let begun = Instant::now();
        for (host, path) in requests.iter().cycle().take(times) {
            let head = Head {
                listener: "http",
                scheme: Scheme::Http,
                client: [127, 0, 0, 1].into(),
                host,
                method: &Method::GET,
                path,
                query: None,
                headers: &headers,
            };
            assert!(black_box(&self.router).find(black_box(&head)).is_some(), "{host}{path}");
        }
        begun.elapsed() / u32::try_from(times.max(1)).unwrap_or(u32::MAX)
    }

    /// Changes one route so many times; the time of one check and of one build.
    pub fn change(&mut self, times: usize) -> (Duration, Duration) {
        let (mut check, mut build) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..times {
            let change = route(self.shape, turn * 7919 % self.count, turn as i32 + 1);
            let begun = Instant::now();
            let snapshot = self.snapshot.with([change]).expect("the figures' own configuration is right");
            check += begun.elapsed();
            let begun = Instant::now();
            let router = Router::build(&snapshot, None, Some(&self.router));
            build += begun.elapsed();
            (self.snapshot, self.router) = (snapshot, router);
        }
        let times = u32::try_from(times.max(1)).unwrap_or(u32::MAX);
        (check / times, build / times)
    }
}

fn request(shape: Shape, at: usize) -> (String, String) {
    match shape {
        Shape::Prefixes => ("example.com".into(), format!("/service-{at}/orders")),
        Shape::Exact => ("example.com".into(), format!("/api/service-{at}/orders")),
        Shape::Templates => ("example.com".into(), format!("/api/service-{at}/orders/7")),
        Shape::Hosts => (format!("service-{at}.example.com"), "/orders".into()),
    }
}

// A route that does not differ in what it matches, but for the turn.
fn route(shape: Shape, at: usize, turn: i32) -> Change {
    use pb::path_match::Kind as Path;
    let name = format!("service-{at}");
    let (hosts, path) = match shape {
        Shape::Prefixes => (Vec::new(), Some(Path::Prefix(format!("/service-{at}")))),
        Shape::Exact => (Vec::new(), Some(Path::Exact(format!("/api/service-{at}/orders")))),
        Shape::Templates => (Vec::new(), Some(Path::Template(format!("/api/service-{at}/orders/{{id}}")))),
        Shape::Hosts => (vec![format!("service-{at}.example.com")], None),
    };
    let message = pb::Route {
        name: name.clone(),
        r#match: Some(pb::Match {
            hosts,
            path: path.map(|kind| pb::PathMatch { kind: Some(kind) }),
            ..Default::default()
        }),
        limits: Some(pb::RouteLimits { request_body: format!("{}KiB", turn + 1) }),
        action: Some(pb::route::Action::Forward(pb::Forward {
            upstream: format!("upstream-{}", at / 100),
            ..Default::default()
        })),
        ..Default::default()
    };
    put(Kind::Route, &name, message.encode_to_vec())
}

fn put(kind: Kind, name: &str, payload: Vec<u8>) -> Change {
    let key = ResourceKey::new(kind, Name::parse(name).expect("the figures' own names are right"));
    Change::Put(Resource { key, payload: payload.into(), requires: Vec::new() })
}

/// The memory of this process, in bytes; 0 where the system does not tell.
pub fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}
