//! How one of several upstreams is chosen.

use crate::pool::{Contender, KeyHash, seed};
use proto::{hash_key::HashKey, route::Split};

/// The choice among the upstreams of a route.
pub(crate) struct Splitter {
    /// What keeps requests together.
    pub(crate) key: Option<HashKey>,
    // By their indices; only those that get requests.
    sides: Vec<Share>,
    total: u32,
}

struct Share {
    index: usize,
    contender: Contender,
    // Of the weights up to and with its own.
    sum: u32,
}

impl Splitter {
    /// The choice among these.
    pub(super) fn new(split: &Split) -> Splitter {
        let mut total = 0;
        let sides = split.sides.iter().enumerate().filter(|(_, side)| side.weight > 0).map(|(index, side)| {
            total += side.weight;
            Share { index, contender: Contender::new(seed(side.upstream.as_str()), side.weight), sum: total }
        });
        Splitter { key: split.key.clone(), sides: sides.collect(), total }
    }

    /// The index of the one for a key, or one at random.
    pub(crate) fn choose(&self, key: Option<KeyHash>) -> usize {
        let chosen = self.decided(key).or_else(|| {
            let at = fastrand::u32(..self.total.max(1));
            self.sides.iter().find(|side| at < side.sum).map(|side| side.index)
        });
        // A checked split has a weight that is not 0.
        chosen.unwrap_or(0)
    }

    /// The index of the one that it can only be: that of the key, or the only one that gets requests.
    pub(crate) fn decided(&self, key: Option<KeyHash>) -> Option<usize> {
        match (key, self.sides.as_slice()) {
            (_, [only]) => Some(only.index),
            (None, _) => None,
            (Some(key), sides) => {
                let scored = sides.iter().map(|side| (side.contender.score(key.side()), side.index));
                scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, index)| index)
            }
        }
    }

    /// The share of the one of that index, in percent.
    pub(crate) fn percent(&self, index: usize) -> u32 {
        let before = |at: usize| at.checked_sub(1).and_then(|at| self.sides.get(at)).map_or(0, |side| side.sum);
        let at = self.sides.iter().position(|side| side.index == index);
        at.map_or(0, |at| (self.sides[at].sum - before(at)) * 100 / self.total.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{name::Name, route::SplitSide};

    fn splitter(weights: &[u32]) -> Splitter {
        let side = |(n, weight): (usize, &u32)| SplitSide {
            upstream: Name::parse(&format!("orders-v{n}")).unwrap(),
            weight: *weight,
        };
        Splitter::new(&Split { sides: weights.iter().enumerate().map(side).collect(), key: None })
    }

    fn by_key(weights: &[u32]) -> Vec<usize> {
        let splitter = splitter(weights);
        (0..10_000).map(|n| splitter.choose(Some(KeyHash::of(format!("user-{n}").as_bytes())))).collect()
    }

    #[test]
    fn each_gets_its_share_with_a_key_or_without() {
        for weights in [[90, 10, 0], [0, 1, 1], [3, 0, 1], [0, 0, 7]] {
            let at_random = splitter(&weights);
            let total: u32 = weights.iter().sum();
            for chosen in [by_key(&weights), (0..10_000).map(|_| at_random.choose(None)).collect()] {
                for (index, weight) in weights.iter().enumerate() {
                    let n = chosen.iter().filter(|chosen| **chosen == index).count() as f64;
                    let expect = 10_000.0 * f64::from(*weight) / f64::from(total);
                    assert!((n - expect).abs() <= 6.0 * expect.sqrt(), "{weights:?}: {n} and not {expect}");
                }
            }
        }
    }

    #[test]
    fn a_step_moves_no_more_clients_than_it_has_to() {
        let (mut before, mut moved_at_all) = (by_key(&[100, 0]), 0);
        for weight in [10, 20, 50, 100] {
            let after = by_key(&[100 - weight, weight]);
            // Nobody goes back.
            assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "{weight}");
            moved_at_all += before.iter().zip(&after).filter(|(before, after)| before != after).count();
            before = after;
        }
        assert_eq!(moved_at_all, 10_000);
    }
}
