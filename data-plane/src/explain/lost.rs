//! The routes that lost, and why: each is looked at by itself, as [`proto::matching`] says what a route means.

use proto::{
    matching::{Head, Match, Miss, PathPattern, Rank},
    pb,
    route::Route,
    snapshot::Snapshot,
};
use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    fmt::Display,
};

/// How many are told.
const MAX_TOLD: usize = 10;

// A route that lost. The nearer is the lesser.
struct Lost<'s> {
    route: &'s Route,
    rank: Result<Rank, Miss<'s>>,
    // How much of the path it has in common with the request's.
    common: usize,
}

/// Tells of the routes besides the winner, the nearest first.
pub(super) fn tell(snapshot: &Snapshot, head: &Head<'_>, winner: Option<&Route>, told: &mut pb::Explanation) {
    let mut nearest = BinaryHeap::new();
    let mut omitted = 0_u32;
    for route in snapshot.routes().filter(|route| winner.is_none_or(|winner| winner.name != route.name)) {
        nearest.push(Lost::new(route, head));
        if nearest.len() > MAX_TOLD {
            nearest.pop();
            omitted = omitted.saturating_add(1);
        }
    }
    let best = winner.and_then(|winner| rank(winner, head).ok());
    told.lost = nearest.into_sorted_vec().iter().map(|lost| lost.tell(head, best)).collect();
    told.lost_omitted = omitted;
}

/// Why a route does not get the request, which another gets.
pub(super) fn why(route: &Route, head: &Head<'_>, winner: Option<&Route>) -> String {
    let best = winner.and_then(|winner| rank(winner, head).ok());
    Lost::new(route, head).tell(head, best).why
}

fn rank<'r>(route: &'r Route, head: &Head<'_>) -> Result<Rank, Miss<'r>> {
    route.matches.find(head).map(|(host, _)| route.matches.rank(route.priority, host))
}

// === impl Lost ===

impl<'s> Lost<'s> {
    fn new(route: &'s Route, head: &Head<'_>) -> Lost<'s> {
        let pattern = route.matches.path.label();
        let common = pattern.bytes().zip(head.path.bytes()).take_while(|(a, b)| a == b).count();
        Lost { route, rank: rank(route, head), common }
    }

    fn tell(&self, head: &Head<'_>, best: Option<Rank>) -> pb::LostRoute {
        let why = match &self.rank {
            Ok(rank) => {
                let rule = best.map(|best| best.wins_by(*rank).to_string()).unwrap_or_default();
                format!("matches too, but comes later: {rule}")
            }
            Err(miss) => reason(miss, &self.route.matches, head),
        };
        pb::LostRoute { name: self.route.name.to_string(), matches: self.rank.is_ok(), why }
    }

    // How far it came: nothing is between the request and who matches; a host is the first thing to be asked.
    fn distance(&self) -> (u8, Reverse<usize>, Reverse<i32>, &str) {
        let missed = match &self.rank {
            Ok(_) => 0,
            Err(Miss::Client) => 1,
            Err(Miss::Scheme) => 2,
            Err(Miss::Listener) => 3,
            Err(Miss::Query(_)) => 4,
            Err(Miss::Header(_)) => 5,
            Err(Miss::Method) => 6,
            Err(Miss::Path) => 7,
            Err(Miss::Host) => 8,
        };
        (missed, Reverse(self.common), Reverse(self.route.priority), self.route.name.as_str())
    }
}

impl Ord for Lost<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.rank, &other.rank) {
            // The better match first.
            (Ok(ours), Ok(theirs)) if ours != theirs => theirs.cmp(ours),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => self.distance().cmp(&other.distance()),
        }
    }
}

impl PartialOrd for Lost<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Lost<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Lost<'_> {}

fn reason(miss: &Miss<'_>, matches: &Match, head: &Head<'_>) -> String {
    let predicates = &matches.predicates;
    match miss {
        Miss::Host => format!("host: {:?} is not {}", head.host, any_of(&matches.hosts)),
        Miss::Path => format!("path: {:?} does not match {}", head.path, path(&matches.path)),
        Miss::Method => format!("method: {} is not {}", head.method, any_of(&predicates.methods)),
        Miss::Header(condition) => format!("header {}: it should {}", condition.name(), condition.value()),
        Miss::Query(condition) => format!("query {}: it should {}", condition.name(), condition.value()),
        Miss::Listener => format!("listener: {:?} is not {}", head.listener, any_of(&predicates.listeners)),
        Miss::Scheme => {
            format!("scheme: it is not {}", any_of(predicates.schemes.iter().map(|scheme| scheme.as_str())))
        }
        Miss::Client => format!("client address: {} is not in {}", head.client, any_of(&predicates.client_addresses)),
    }
}

fn path(pattern: &PathPattern) -> String {
    let kind = match pattern {
        PathPattern::Any | PathPattern::Prefix(_) => "the prefix",
        PathPattern::Exact(_) => "the path",
        PathPattern::Template(_) => "the template",
        PathPattern::Regex(_) => "the regex",
    };
    let label = pattern.label();
    match pattern {
        PathPattern::Any | PathPattern::Prefix(_) => format!("{kind} {:?}", label.strip_suffix("/*").unwrap_or(&label)),
        PathPattern::Exact(_) | PathPattern::Template(_) | PathPattern::Regex(_) => format!("{kind} {label:?}"),
    }
}

// Of many only the first ones.
fn any_of<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(4).map(|item| item.to_string()).collect();
    let more = if items.next().is_some() { ", …" } else { "" };
    format!("{}{more}", shown.join(" or "))
}
