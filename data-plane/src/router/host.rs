//! The routes of one host. A host of many routes is cut into buckets by the first segments of the path, so that a change
//! of one route rebuilds a small part; what has no such segments (expressions, templates that begin with a variable,
//! short prefixes) stands apart.

use super::{
    candidate::{Candidate, Search},
    entry::RouteEntry,
    segments,
    table::Table,
};
use foldhash::{HashSet, fast::RandomState};
use proto::{
    matching::{HostPattern, PathPattern, Segment},
    name::Name,
    route::Route,
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// From so many routes on a host is cut; few in tests, so that they meet both.
const WIDE: usize = if cfg!(test) { 12 } else { 2048 };
/// How many routes a bucket has on average.
const BUCKET: usize = if cfg!(test) { 4 } else { 64 };
/// The most segments to cut by.
const MAX_DEPTH: usize = 4;

/// The routes of one host.
pub(super) enum Host {
    /// In one table.
    Narrow(Table),
    /// Cut into buckets.
    Wide(Wide),
}

/// The routes of a host that has many.
pub(super) struct Wide {
    // How many segments are hashed.
    depth: usize,
    // How many routes there were when it was cut.
    cut_at: usize,
    len: usize,
    // What belongs into no bucket.
    loose: Arc<Table>,
    // Their number is a power of two.
    buckets: Box<[Arc<Table>]>,
}

/// What becomes of a host.
#[derive(Default)]
pub(super) struct Delta<'a> {
    /// Routes that are not there any more, or not as they were.
    pub(super) gone: Vec<&'a Arc<Route>>,
    /// Routes that are there now.
    pub(super) came: Vec<&'a Arc<RouteEntry>>,
}

// === impl Host ===

impl Host {
    /// The host after the change; `None` if nothing is left of it.
    pub(super) fn build(
        previous: Option<&Host>,
        pattern: &HostPattern,
        delta: &Delta<'_>,
        state: &RandomState,
    ) -> Option<Host> {
        let gone = delta.gone();
        let came = delta.came.iter().map(|entry| Candidate::new(entry, pattern));
        let before = previous.map_or(0, Host::len);
        if let Some(Host::Wide(wide)) = previous
            && wide.is_apt(before + delta.came.len() - gone.len().min(before))
        {
            return Some(Host::Wide(wide.with(delta, came, state)));
        }
        let stay = previous.into_iter().flat_map(Host::candidates);
        let stay = stay.filter(|candidate| !gone.contains(&candidate.entry.name)).cloned();
        let candidates: Vec<Candidate> = stay.chain(came).collect();
        match candidates.len() {
            0 => None,
            n if n < WIDE => Some(Host::Narrow(Table::build(candidates, state))),
            _ => Some(Host::Wide(Wide::cut(candidates, state))),
        }
    }

    /// Looks for a better match.
    #[inline]
    pub(super) fn find<'r>(&'r self, search: &mut Search<'r, '_>) {
        match self {
            Host::Narrow(table) => table.find(search),
            Host::Wide(wide) => {
                let key = segments::first(search.head.path.as_bytes(), wide.depth);
                let bucket = bucket(key, wide.buckets.len());
                if let Some(table) = wide.buckets.get(bucket) {
                    table.find(search);
                }
                wide.loose.find(search);
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Host::Narrow(table) => table.candidates().count(),
            Host::Wide(wide) => wide.len,
        }
    }

    fn candidates(&self) -> Box<dyn Iterator<Item = &Candidate> + '_> {
        match self {
            Host::Narrow(table) => Box::new(table.candidates()),
            Host::Wide(wide) => Box::new(wide.buckets.iter().chain([&wide.loose]).flat_map(|table| table.candidates())),
        }
    }
}

// === impl Wide ===

impl Wide {
    fn cut(candidates: Vec<Candidate>, state: &RandomState) -> Wide {
        let len = candidates.len();
        let count = (len / BUCKET).next_power_of_two();
        let worst = |depth: &usize| {
            let mut sizes = vec![0_usize; count];
            let mut loose = 0;
            for candidate in &candidates {
                match bucket_of(&candidate.entry.route, *depth, count) {
                    Some(bucket) => sizes[bucket] += 1,
                    None => loose += 1,
                }
            }
            sizes.into_iter().max().unwrap_or(0) + loose
        };
        let depth = (1..=MAX_DEPTH).min_by_key(worst).unwrap_or(1);
        let (mut loose, mut buckets) = (Vec::new(), vec![Vec::new(); count]);
        for candidate in candidates {
            match bucket_of(&candidate.entry.route, depth, count) {
                Some(bucket) => buckets[bucket].push(candidate),
                None => loose.push(candidate),
            }
        }
        let table = |candidates| Arc::new(Table::build(candidates, state));
        Wide { depth, cut_at: len, len, loose: table(loose), buckets: buckets.into_iter().map(table).collect() }
    }

    // Whether the cut fits that many routes.
    fn is_apt(&self, len: usize) -> bool {
        len >= WIDE / 2 && (self.cut_at / 2..=self.cut_at * 2).contains(&len)
    }

    fn with(&self, delta: &Delta<'_>, came: impl Iterator<Item = Candidate>, state: &RandomState) -> Wide {
        let place = |route: &Route| bucket_of(route, self.depth, self.buckets.len());
        let mut touched: BTreeMap<Option<usize>, Vec<Candidate>> = BTreeMap::new();
        for route in &delta.gone {
            touched.entry(place(route)).or_default();
        }
        for candidate in came {
            touched.entry(place(&candidate.entry.route)).or_default().push(candidate);
        }
        let gone = delta.gone();
        let mut len = self.len;
        let (mut loose, mut buckets) = (self.loose.clone(), self.buckets.clone());
        for (place, mut candidates) in touched {
            let table = match place {
                Some(bucket) => &mut buckets[bucket],
                None => &mut loose,
            };
            len -= table.candidates().count();
            candidates.extend(table.candidates().filter(|c| !gone.contains(&c.entry.name)).cloned());
            len += candidates.len();
            *table = Arc::new(Table::build(candidates, state));
        }
        Wide { depth: self.depth, cut_at: self.cut_at, len, loose, buckets }
    }
}

// === impl Delta ===

impl<'a> Delta<'a> {
    fn gone(&self) -> HashSet<&'a Name> {
        self.gone.iter().map(|route| &route.name).collect()
    }
}

/// The bucket of a route: of the first segments, if each path that it matches begins with the same ones.
fn bucket_of(route: &Route, depth: usize, count: usize) -> Option<usize> {
    let key = match &route.matches.path {
        PathPattern::Exact(path) => Cow::Borrowed(segments::first(path.as_bytes(), depth)),
        PathPattern::Prefix(prefix) if slashes(prefix) >= depth => {
            Cow::Borrowed(segments::first(prefix.as_bytes(), depth))
        }
        PathPattern::Template(template) => {
            let mut key = Vec::new();
            for segment in template.segments.get(..depth)? {
                match segment {
                    Segment::Literal(text) => key.extend([b"/", text.as_bytes()].concat()),
                    Segment::Variable | Segment::Rest => return None,
                }
            }
            Cow::Owned(key)
        }
        PathPattern::Any | PathPattern::Prefix(_) | PathPattern::Regex(_) => return None,
    };
    Some(bucket(&key, count))
}

fn slashes(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// Which bucket a key belongs into. Nothing is gained by choosing keys that fall into one: it is a table like any other.
#[inline]
fn bucket(key: &[u8], count: usize) -> usize {
    let end = key.last_chunk::<8>().map_or_else(
        || key.iter().fold(0, |end, byte| end << 8 | u64::from(*byte)),
        |chunk| u64::from_le_bytes(*chunk),
    );
    let mixed = (end ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize & (count - 1)
}
