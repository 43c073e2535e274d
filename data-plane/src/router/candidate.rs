//! Candidates, and the search for the best of them.

use super::entry::RouteEntry;
use foldhash::fast::RandomState;
use proto::matching::{Head, HostPattern, Rank};
use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

/// A route under one of its hosts.
#[derive(Clone)]
pub(super) struct Candidate {
    /// How good a match it is.
    pub(super) rank: Rank,
    /// The route.
    pub(super) entry: Arc<RouteEntry>,
}

/// A search for the best match.
pub(super) struct Search<'r, 'h> {
    pub(super) head: &'h Head<'h>,
    /// How all tables hash.
    pub(super) state: &'h RandomState,
    /// The best so far.
    pub(super) best: Option<&'r Candidate>,
}

// === impl Candidate ===

impl Candidate {
    /// The route under that host.
    pub(super) fn new(entry: &Arc<RouteEntry>, host: &HostPattern) -> Candidate {
        let route = &entry.route;
        Candidate { rank: route.matches.rank(route.priority, host), entry: entry.clone() }
    }

    /// The better is the lesser, so that sorted lists begin with the best.
    pub(super) fn order(&self, other: &Candidate) -> Ordering {
        (Reverse(self.rank), &self.entry.name).cmp(&(Reverse(other.rank), &other.entry.name))
    }
}

// === impl Search ===

impl<'r> Search<'r, '_> {
    /// Whether something of that rank could be the best.
    #[inline]
    pub(super) fn may_win(&self, bound: Rank) -> bool {
        self.best.is_none_or(|best| bound >= best.rank)
    }

    /// Whether nothing with another host and at most that priority can be the best.
    #[inline]
    pub(super) fn is_over(&self, highest: i32) -> bool {
        self.best.is_some_and(|best| best.entry.route.priority >= highest)
    }

    /// Looks at candidates, the best first, whose host and path match.
    pub(super) fn consider(&mut self, candidates: &'r [Candidate]) {
        self.consider_if(candidates, |_| true);
    }

    /// Looks at candidates, the best first, whose host matches.
    #[inline]
    pub(super) fn consider_if(&mut self, candidates: &'r [Candidate], matches: impl Fn(&Candidate) -> bool) {
        for candidate in candidates {
            if self.best.is_some_and(|best| best.order(candidate).is_le()) {
                return;
            }
            if matches(candidate) && candidate.entry.holds(self.head) {
                self.best = Some(candidate);
                return;
            }
        }
    }
}

/// The rank of the best.
pub(super) fn bound(candidates: &[Candidate]) -> Option<Rank> {
    candidates.iter().map(|candidate| candidate.rank).max()
}
