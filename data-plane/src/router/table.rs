//! The routes of one host, or of a part of it, by path: exact paths in a hash table, templates and prefixes in a tree of
//! segments, expressions in a list.
//!
//! Each class knows the rank of its best, and is skipped when that cannot win: so explicit priorities are honoured
//! across classes, and without them one look is enough.

use super::{
    candidate::{Candidate, Search, bound},
    tree::Tree,
};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use proto::matching::{PathPattern, Rank};
use std::hash::BuildHasher;

/// So few candidates are tried one by one.
const FEW: usize = 4;

/// The routes of one host by path.
pub(super) enum Table {
    /// The best first.
    Few(Box<[Candidate]>),
    /// By path.
    Indexed(Box<Index>),
}

/// Many routes by path.
pub(super) struct Index {
    // `None` where there are none.
    exact_bound: Option<Rank>,
    // All candidates with an exact path; those of one path stand together, the best first.
    exact: Box<[Candidate]>,
    // By path.
    runs: HashTable<Run>,
    // Templates and prefixes.
    tree: Option<Tree>,
    // The best first.
    regexes: Box<[Candidate]>,
}

/// Where the candidates of one exact path stand.
struct Run {
    start: u32,
    len: u32,
}

// === impl Table ===

impl Table {
    /// The table of the candidates, which are of one host.
    pub(super) fn build(mut candidates: Vec<Candidate>, state: &RandomState) -> Table {
        if candidates.len() > FEW {
            return Table::Indexed(Box::new(Index::build(candidates, state)));
        }
        candidates.sort_by(Candidate::order);
        Table::Few(candidates.into())
    }

    /// All candidates.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let (few, tree, regexes) = match self {
            Table::Few(few) => (few, None, [].as_slice()),
            Table::Indexed(index) => (&index.exact, index.tree.as_ref(), &*index.regexes),
        };
        few.iter().chain(tree.into_iter().flat_map(|tree| tree.candidates())).chain(regexes)
    }

    /// Looks for a better match.
    #[inline]
    pub(super) fn find<'r>(&'r self, search: &mut Search<'r, '_>) {
        match self {
            Table::Few(few) => {
                let path = search.head.path;
                search.consider_if(few, |candidate| candidate.entry.route.matches.path.matches(path).is_some());
            }
            Table::Indexed(index) => index.find(search),
        }
    }
}

// === impl Index ===

impl Index {
    fn build(candidates: Vec<Candidate>, state: &RandomState) -> Index {
        let (mut exact, mut tree, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in candidates {
            match &candidate.entry.route.matches.path {
                PathPattern::Exact(_) => exact.push(candidate),
                PathPattern::Any | PathPattern::Template(_) | PathPattern::Prefix(_) => tree.push(candidate),
                PathPattern::Regex(_) => regexes.push(candidate),
            }
        }
        exact.sort_by(|a, b| path(a).cmp(path(b)).then_with(|| a.order(b)));
        regexes.sort_by(Candidate::order);
        Index {
            exact_bound: bound(&exact),
            runs: runs(&exact, state),
            exact: exact.into(),
            tree: (!tree.is_empty()).then(|| Tree::build(tree, state)),
            regexes: regexes.into(),
        }
    }

    fn find<'r>(&'r self, search: &mut Search<'r, '_>) {
        if self.exact_bound.is_some_and(|bound| search.may_win(bound)) {
            let text = search.head.path;
            let is_it = |run: &Run| self.exact.get(run.start as usize).is_some_and(|first| path(first) == text);
            if let Some(run) = self.runs.find(search.state.hash_one(text.as_bytes()), is_it) {
                search.consider(&self.exact[run.start as usize..(run.start + run.len) as usize]);
            }
        }
        if let Some(tree) = &self.tree {
            tree.find(search);
        }
        if !self.regexes.is_empty() {
            let path = search.head.path;
            search.consider_if(&self.regexes, |candidate| candidate.entry.route.matches.path.matches(path).is_some());
        }
    }
}

fn runs(exact: &[Candidate], state: &RandomState) -> HashTable<Run> {
    let hash = |run: &Run| exact.get(run.start as usize).map_or(0, |first| state.hash_one(path(first).as_bytes()));
    let mut runs = HashTable::new();
    let mut start = 0;
    for same in exact.chunk_by(|a, b| path(a) == path(b)) {
        let run = Run { start, len: index(same.len()) };
        start += run.len;
        runs.insert_unique(hash(&run), run, hash);
    }
    runs.shrink_to_fit(hash);
    runs
}

/// The exact path; empty for any other, which no request has.
fn path(candidate: &Candidate) -> &str {
    match &candidate.entry.route.matches.path {
        PathPattern::Exact(path) => path,
        PathPattern::Any | PathPattern::Template(_) | PathPattern::Prefix(_) | PathPattern::Regex(_) => "",
    }
}

/// A place in a list. A configuration has far fewer than 2³² routes: each takes more than one byte of its memory.
pub(super) fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
