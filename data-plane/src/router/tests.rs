use super::*;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use prost::Message;
use proto::{
    matching::Scheme,
    name::Name,
    pb,
    resource::{Change, Resource},
};
use std::cmp::Reverse;

// === what a configuration is made of ===

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::parse(name).expect("a name"))
}

fn put(kind: Kind, name: &str, payload: Vec<u8>) -> Change {
    Change::Put(Resource { key: key(kind, name), payload: payload.into(), requires: Vec::new() })
}

fn put_route(route: &pb::Route) -> Change {
    put(Kind::Route, &route.name, route.encode_to_vec())
}

fn put_upstream(name: &str, address: &str) -> Change {
    let endpoints = vec![pb::Endpoint { address: address.into(), ..Default::default() }];
    put(Kind::Upstream, name, pb::Upstream { name: name.into(), endpoints, ..Default::default() }.encode_to_vec())
}

fn respond() -> pb::route::Action {
    pb::route::Action::Respond(pb::Respond::default())
}

fn forward(upstream: &str) -> pb::route::Action {
    pb::route::Action::Forward(pb::Forward { upstream: upstream.into(), ..Default::default() })
}

fn a_route(name: &str, host: &str, path: pb::path_match::Kind) -> pb::Route {
    let path = Some(pb::PathMatch { kind: Some(path) });
    let matches = pb::Match { hosts: vec![host.into()], path, ..Default::default() };
    pb::Route { name: name.into(), r#match: Some(matches), action: Some(respond()), ..Default::default() }
}

fn prefix(path: &str) -> pb::path_match::Kind {
    pb::path_match::Kind::Prefix(path.into())
}

fn exact(path: &str) -> pb::path_match::Kind {
    pb::path_match::Kind::Exact(path.into())
}

fn template(path: &str) -> pb::path_match::Kind {
    pb::path_match::Kind::Template(path.into())
}

fn snapshot(changes: impl IntoIterator<Item = Change>) -> Snapshot {
    Snapshot::empty().with(changes).expect("a configuration without faults")
}

/// Leaves out those that match the same as others.
fn with_as_many_as_can_be(snapshot: &Snapshot, mut routes: Vec<pb::Route>) -> Snapshot {
    loop {
        match snapshot.with(routes.iter().map(put_route)) {
            Ok(snapshot) => return snapshot,
            Err(faults) => {
                let before = routes.len();
                let is_at_fault = |route: &pb::Route| {
                    faults.iter().filter_map(|fault| fault.resource.as_ref()).any(|key| key.name.as_str() == route.name)
                };
                routes.retain(|route| !is_at_fault(route));
                assert!(routes.len() < before, "{faults:?}");
            }
        }
    }
}

// === a request ===

#[derive(Clone, Debug)]
struct Request {
    host: String,
    path: String,
    method: Method,
    query: Option<String>,
    header: Option<&'static str>,
    listener: &'static str,
    scheme: Scheme,
    client: [u8; 4],
}

impl Request {
    fn get(host: &str, path: &str) -> Request {
        Request {
            host: host.into(),
            path: path.into(),
            method: Method::GET,
            query: None,
            header: None,
            listener: "http",
            scheme: Scheme::Http,
            client: [127, 0, 0, 1],
        }
    }

    fn with_head<T>(&self, look: impl FnOnce(&Head<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.header {
            headers.insert("x-color", HeaderValue::from_static(value));
        }
        look(&Head {
            listener: self.listener,
            scheme: self.scheme,
            client: self.client.into(),
            host: &self.host,
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
        })
    }
}

/// What the router finds, and what a look at each route says.
fn found(router: &Router, request: &Request) -> Option<(Name, Captures)> {
    request.with_head(|head| router.find(head).map(|found| (found.route.name.clone(), found.captures)))
}

fn oracle(snapshot: &Snapshot, request: &Request) -> Option<(Name, Captures)> {
    request.with_head(|head| {
        let matching = snapshot.routes().filter_map(|route| {
            let (host, captures) = route.matches.find(head).ok()?;
            Some((route.matches.rank(route.priority, host), route.name.clone(), captures))
        });
        let best = matching.max_by_key(|(rank, name, _)| (*rank, Reverse(name.clone())));
        best.map(|(_, name, captures)| (name, captures))
    })
}

// === the index agrees with a look at each route ===

fn some_segments(variables: bool) -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("c"), 1 => Just("")];
    prop::collection::vec((segment, prop::bool::weighted(if variables { 0.4 } else { 0.0 })), 0..5).prop_map(|parts| {
        let part = |(at, (text, variable)): (usize, (&str, bool))| match variable {
            true => format!("/{{v{at}}}"),
            false => format!("/{text}"),
        };
        parts.into_iter().enumerate().map(part).collect()
    })
}

fn some_path() -> impl Strategy<Value = Option<pb::path_match::Kind>> {
    use pb::path_match::Kind;
    let slashed = |path: String| if path.is_empty() { "/".to_string() } else { path };
    prop_oneof![
        1 => Just(None),
        3 => some_segments(false).prop_map(move |path| Some(Kind::Exact(slashed(path)))),
        3 => some_segments(false).prop_map(move |path| Some(Kind::Prefix(slashed(path)))),
        4 => some_segments(true).prop_map(|path| Some(Kind::Template(format!("{path}/{{last}}")))),
        2 => some_segments(true).prop_map(|path| Some(Kind::Template(format!("{path}/{{rest*}}")))),
        2 => some_segments(true).prop_map(|path| Some(Kind::Template(format!("/{{first}}{path}")))),
        1 => prop::sample::select(vec!["/a.*", "/[ab]/.+", ".*c", "/a/b", ".*"])
            .prop_map(|text| Some(Kind::Regex(text.into()))),
    ]
}

fn sometimes<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::sample::subsequence(values.clone(), 1..=values.len())]
}

fn some_match() -> impl Strategy<Value = pb::Match> {
    let hosts = ["x.example", "y.x.example", "*.example", "*.x.example", "*", "example"].map(String::from).to_vec();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let header = |kind| pb::HeaderMatch { name: "x-color".into(), kind: Some(kind) };
    let query = |name: &str, kind| pb::QueryMatch { name: name.into(), kind: Some(kind) };
    use pb::{header_match::Kind as Header, query_match::Kind as Query};
    (
        sometimes(hosts),
        some_path(),
        sometimes(texts(&["GET", "POST"])),
        sometimes(vec![header(Header::Exact("red".into())), header(Header::Present(true))]),
        sometimes(vec![query("p", Query::Present(true)), query("q", Query::Prefix("1".into()))]),
        sometimes(texts(&["http", "intern"])),
        sometimes(texts(&["http", "https"])),
        sometimes(texts(&["127.0.0.0/8", "10.1.0.0/16"])),
    )
        .prop_map(|(hosts, path, methods, headers, query, listeners, schemes, client_addresses)| pb::Match {
            hosts,
            path: path.map(|kind| pb::PathMatch { kind: Some(kind) }),
            methods,
            headers,
            query,
            listeners,
            schemes,
            client_addresses,
        })
}

fn some_route() -> impl Strategy<Value = pb::Route> {
    let priority = prop_oneof![6 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(-1)), 1 => Just(Some(2))];
    (0..60_u32, some_match(), priority).prop_map(|(number, matches, priority)| pb::Route {
        name: format!("r{number}"),
        r#match: Some(matches),
        priority,
        action: Some(respond()),
        ..Default::default()
    })
}

fn some_request() -> impl Strategy<Value = Request> {
    let host = prop::sample::select(vec![
        "x.example",
        "y.x.example",
        "z.y.x.example",
        "z.example",
        "example",
        "other",
        ".example",
        "[::1]",
        "",
    ]);
    let path = prop_oneof![
        8 => some_segments(false).prop_map(|path| if path.is_empty() { "/".to_string() } else { path }),
        1 => some_segments(false).prop_map(|path| path + "/d/e"),
    ];
    (
        host,
        path,
        prop::sample::select(vec![Method::GET, Method::POST, Method::PUT]),
        prop::option::of(prop::sample::select(vec!["p=1", "q=12&p", "q=2", ""])),
        prop::option::of(prop::sample::select(vec!["red", "blue"])),
        prop::sample::select(vec!["http", "intern"]),
        prop::sample::select(vec![Scheme::Http, Scheme::Https]),
        prop::sample::select(vec![[127, 0, 0, 1], [10, 1, 2, 3], [9, 9, 9, 9]]),
    )
        .prop_map(|(host, path, method, query, header, listener, scheme, client)| Request {
            host: host.into(),
            path,
            method,
            query: query.map(String::from),
            header,
            listener,
            scheme,
            client,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_index_agrees_with_a_look_at_each_route(
        steps in prop::collection::vec((prop::collection::vec(some_route(), 1..50), prop::collection::vec(0..60_u32, 0..20)), 1..4),
        requests in prop::collection::vec(some_request(), 40),
    ) {
        let mut snapshot = Snapshot::empty();
        let mut router = Router::empty();
        for (routes, deleted) in steps {
            snapshot = with_as_many_as_can_be(&snapshot, routes);
            let deleted = deleted.iter().map(|number| Change::Delete(key(Kind::Route, &format!("r{number}"))));
            snapshot = snapshot.with(deleted).expect("nothing refers to a route");
            router = Router::build(&snapshot, None, Some(&router));
            let whole = Router::build(&snapshot, None, None);
            for request in &requests {
                let expect = oracle(&snapshot, request);
                prop_assert_eq!(&found(&router, request), &expect, "step by step: {:?}", request);
                prop_assert_eq!(&found(&whole, request), &expect, "at once: {:?}", request);
            }
        }
    }
}

// === examples ===

#[test]
fn the_better_of_two_routes_wins() {
    let check = |worse: pb::Route, better: pb::Route, host: &str, path: &str| {
        let (worse, better) = (pb::Route { name: "a".into(), ..worse }, pb::Route { name: "b".into(), ..better });
        let router = Router::build(&snapshot([put_route(&worse), put_route(&better)]), None, None);
        let found = found(&router, &Request::get(host, path)).map(|(name, _)| name.to_string());
        assert_eq!(found.as_deref(), Some("b"), "{host} {path}: {better:?}");
    };
    check(a_route("", "*", exact("/a")), a_route("", "*.x", prefix("/")), "y.x", "/a");
    check(a_route("", "*.x", exact("/a")), a_route("", "y.x", prefix("/")), "y.x", "/a");
    check(a_route("", "*.x", exact("/a")), a_route("", "*.y.x", prefix("/")), "z.y.x", "/a");
    check(a_route("", "x", template("/{p}")), a_route("", "x", exact("/a")), "x", "/a");
    check(a_route("", "x", prefix("/a/b")), a_route("", "x", template("/{p}/{q}")), "x", "/a/b");
    check(a_route("", "x", template("/a/{p*}")), a_route("", "x", template("/a/b/{p}")), "x", "/a/b/c");
    check(a_route("", "x", prefix("/a")), a_route("", "x", prefix("/a/b")), "x", "/a/b/c");
    check(a_route("", "x", pb::path_match::Kind::Regex(".*".into())), a_route("", "x", prefix("/")), "x", "/a");
    let first = pb::Route { priority: Some(1), ..a_route("", "*", prefix("/")) };
    check(a_route("", "x", exact("/a")), first, "x", "/a");
}

#[test]
fn of_equal_routes_the_lesser_name_wins() {
    let conditional = |name: &str, method: &str| {
        let mut route = a_route(name, "x", prefix("/a"));
        route.r#match.as_mut().expect("set").methods = vec!["GET".into(), method.into()];
        route
    };
    let router = Router::build(
        &snapshot([put_route(&conditional("b", "PUT")), put_route(&conditional("a", "POST"))]),
        None,
        None,
    );
    assert_eq!(found(&router, &Request::get("x", "/a")).map(|found| found.0.to_string()).as_deref(), Some("a"));
}

#[test]
fn a_change_leaves_alone_what_it_does_not_touch() {
    let mut changes = vec![put_upstream("u", "a:1"), put_upstream("v", "b:1")];
    for (name, upstream) in [("r", "u"), ("s", "v")] {
        changes.push(put_route(&pb::Route { action: Some(forward(upstream)), ..a_route(name, name, prefix("/")) }));
    }
    let before = snapshot(changes);
    let old = Router::build(&before, None, None);
    let after = before.with([put_upstream("v", "c:1")]).expect("no faults");
    let new = Router::build(&after, None, Some(&old));
    let entry = |router: &Router, host| {
        Request::get(host, "/").with_head(|head| router.find(head).expect("a route").route.clone())
    };
    let pool = |entry: &RouteEntry| match &entry.action {
        Action::Forward(forward) => forward.sides[0].pool.clone(),
        Action::Redirect(_) | Action::Respond(_) | Action::Compose(_) => panic!("not forwarded"),
    };
    assert!(Arc::ptr_eq(&entry(&old, "r"), &entry(&new, "r")));
    assert!(!Arc::ptr_eq(&entry(&old, "s"), &entry(&new, "s")));
    assert!(Arc::ptr_eq(&pool(&entry(&old, "r")), &pool(&entry(&new, "r"))));
    assert_eq!(pool(&entry(&new, "s")).spec().endpoints[0].place.to_string(), "c:1");
    assert_eq!(new.pools().count(), 2);
    let gone = after.with([Change::Delete(key(Kind::Route, "s")), Change::Delete(key(Kind::Upstream, "v"))]);
    let last = Router::build(&gone.expect("no faults"), None, Some(&new));
    assert!(found(&last, &Request::get("s", "/")).is_none());
    assert_eq!(last.pools().count(), 1);
}

#[test]
fn templates_that_share_segments_cost_no_more_than_their_number() {
    // Each way through eight segments, of which each is literal or not: a request could branch at each of them.
    let text = |bits: u32| (0..8).map(move |at| if bits >> at & 1 == 1 { format!("/{{v{at}}}") } else { "/a".into() });
    let routes = (0..256_u32).map(|bits| {
        let path = text(bits).collect::<String>() + "/{end}/z";
        put_route(&a_route(&format!("r{bits}"), "x", template(&path)))
    });
    let snapshot = snapshot(routes);
    let router = Router::build(&snapshot, None, None);
    for path in ["/a/a/a/a/a/a/a/a/b/z", "/a/a/a/a/a/a/a/a/b/y", "/b/b/b/b/b/b/b/b/b/z"] {
        let request = Request::get("x", path);
        assert_eq!(found(&router, &request), oracle(&snapshot, &request), "{path}");
    }
}

#[test]
fn a_worker_never_sees_an_older_router() {
    const SWAPS: u64 = 100_000;
    let numbered = |revision| {
        let identity = Identity { history: [0; 16], revision, root: [0; 32] };
        Router { identity: Some(identity), ..Router::empty() }
    };
    let live = LiveRouter::new(numbered(0));
    let template = Router::empty();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let live = &live;
            scope.spawn(move || {
                let mut cache = live.cache();
                let mut last = 0;
                while last < SWAPS {
                    let revision = cache.load().revision();
                    assert!(revision >= last, "{revision} after {last}");
                    last = revision;
                }
            });
        }
        let mut retired = Retired::default();
        for revision in 1..=SWAPS {
            let identity = Identity { history: [0; 16], revision, root: [0; 32] };
            let next = Router {
                identity: Some(identity),
                snapshot: template.snapshot.clone(),
                hosts: template.hosts.clone(),
                pools: template.pools.clone(),
                globals: template.globals.clone(),
                telling: template.telling.clone(),
                own: template.own.clone(),
                states: template.states.clone(),
            };
            retired.keep(live.store(Arc::new(next)));
            retired.sweep();
        }
    });
    let mut retired = Retired::default();
    retired.keep(live.store(Arc::new(numbered(0))));
    assert_eq!(retired.sweep(), 0, "nobody holds it");
}
