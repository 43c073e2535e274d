//! Which of two routes that match is the better, and by which rule.

use super::{HostPattern, Match};
use std::fmt;

/// How good a match is; the greater wins. The last word has the name, the lesser of which wins: compare that apart.
///
/// All that counts stands in two numbers, so that comparing costs next to nothing: priority, host and the class of the
/// path in the first; the length of the path, method, headers and query in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64, u64);

/// The rule by which the better of two matches wins, in the order of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// Its priority is higher.
    Priority,
    /// Its host is of a better class: exact, wildcard, any.
    Host,
    /// Its wildcard is longer.
    HostLength,
    /// Its path is of a better class: exact, template, prefix, expression.
    Path,
    /// Its path is longer.
    PathLength,
    /// It names methods.
    Method,
    /// It has more conditions on headers.
    Headers,
    /// It has more conditions on the query.
    Query,
    /// Its name comes first.
    Name,
}

// === impl Rank ===

impl Match {
    /// How good a match through that host is.
    pub fn rank(&self, priority: i32, host: &HostPattern) -> Rank {
        let count = |n: usize| u64::from(u8::try_from(n).unwrap_or(u8::MAX));
        // The lowest priority becomes 0.
        let priority = u64::from(priority.cast_unsigned() ^ (1 << 31));
        let ((host, host_length), (path, path_length)) = (host.rank(), self.path.rank());
        let predicates = &self.predicates;
        Rank(
            priority << 32 | u64::from(host) << 24 | u64::from(host_length) << 8 | u64::from(path),
            u64::from(path_length) << 32
                | u64::from(!predicates.methods.is_empty()) << 16
                | count(predicates.headers.len()) << 8
                | count(predicates.query.len()),
        )
    }
}

impl Rank {
    /// The rule by which it wins over one that is not better.
    pub fn wins_by(self, other: Rank) -> Precedence {
        // The first bit in which they differ.
        match ((self.0 ^ other.0).leading_zeros(), (self.1 ^ other.1).leading_zeros()) {
            (0..32, _) => Precedence::Priority,
            (32..40, _) => Precedence::Host,
            (40..56, _) => Precedence::HostLength,
            (56..64, _) => Precedence::Path,
            (64.., 0..32) => Precedence::PathLength,
            (64.., 32..48) => Precedence::Method,
            (64.., 48..56) => Precedence::Headers,
            (64.., 56..64) => Precedence::Query,
            (64.., 64..) => Precedence::Name,
        }
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precedence::Priority => "the other has the higher priority",
            Precedence::Host => "the other has the more exact host",
            Precedence::HostLength => "the other has the longer wildcard host",
            Precedence::Path => "the other has the better kind of path: exact before template, prefix and regex",
            Precedence::PathLength => "the other has the longer path",
            Precedence::Method => "the other names methods",
            Precedence::Headers => "the other has more header conditions",
            Precedence::Query => "the other has more query conditions",
            Precedence::Name => "the name of the other comes first",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{invalid::Faults, pb};

    #[test]
    fn ranks_are_ordered_as_documented() {
        use pb::path_match::Kind;
        let rank = |priority: i32, host: &str, kind: Kind, methods: &[&str], headers: usize, query: usize| {
            let header = pb::HeaderMatch { name: "a".into(), kind: Some(pb::header_match::Kind::Present(true)) };
            let condition = pb::QueryMatch { name: "a".into(), kind: Some(pb::query_match::Kind::Present(true)) };
            let message = pb::Match {
                path: Some(pb::PathMatch { kind: Some(kind) }),
                methods: methods.iter().map(|method| method.to_string()).collect(),
                headers: vec![header; headers],
                query: vec![condition; query],
                ..Default::default()
            };
            let mut faults = Faults::default();
            let checked = Match::check(Some(&message), &mut faults);
            assert_eq!(faults.into_found(), []);
            checked.rank(priority, &HostPattern::parse(host).expect("a host"))
        };
        let prefix = |path: &str| Kind::Prefix(path.into());
        let (exact, template) = (Kind::Exact("/a".into()), Kind::Template("/{a}".into()));
        let ranks = [
            rank(i32::MIN, "a", exact.clone(), &["GET"], 64, 64),
            rank(-1, "a", exact.clone(), &["GET"], 64, 64),
            rank(0, "*", Kind::Regex(".*".into()), &["GET"], 64, 64),
            rank(0, "*", prefix("/"), &[], 0, 0),
            rank(0, "*", prefix("/"), &[], 0, 1),
            rank(0, "*", prefix("/"), &[], 1, 0),
            rank(0, "*", prefix("/"), &["GET"], 0, 0),
            rank(0, "*", prefix("/a"), &[], 0, 0),
            rank(0, "*", prefix("/aa"), &[], 0, 0),
            rank(0, "*", template.clone(), &[], 0, 0),
            rank(0, "*", exact.clone(), &[], 0, 0),
            rank(0, "*.aa", prefix("/"), &[], 0, 0),
            rank(0, "*.aaa", prefix("/"), &[], 0, 0),
            rank(0, "aaaa", prefix("/"), &[], 0, 0),
            rank(1, "*", prefix("/"), &[], 0, 0),
            rank(i32::MAX, "*", prefix("/"), &[], 0, 0),
        ];
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        let rules = ranks.windows(2).map(|pair| pair[1].wins_by(pair[0]));
        use Precedence::{Headers, Host, HostLength, Method, Path, PathLength, Priority, Query};
        let rules: Vec<Precedence> = rules.collect();
        let expect = [
            Priority, Priority, Path, Query, Headers, Method, PathLength, PathLength, Path, Path, Host, HostLength,
            Host, Priority, Priority,
        ];
        assert_eq!(rules, expect);
        assert_eq!(ranks[0].wins_by(ranks[0]), Precedence::Name);
    }
}
