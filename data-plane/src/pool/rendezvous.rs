//! Rendezvous hashing: each contender has a number of its own for each key, and the best one wins the key.
//!
//! A number is made of nothing but the key and the contender's name, so whoever knows the same contenders chooses the same,
//! and no contender has a part in what another's number is: one that goes loses its own keys to the others, one that comes
//! takes only what it wins, and a weight that changes moves keys only from or to the one whose it is. Keys are told apart
//! by so many bits that the shares are fair; what nobody but the gateway decides cannot be made to collapse.

use sha2::{Digest, Sha256};

/// A key of a request, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

/// Who may win keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    seed: u64,
    weight: f64,
}

/// What a contender has for a key; the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Score(f64);

/// How many keys endpoints tell apart.
pub(super) const SLOTS: usize = 1 << 16;

// === impl KeyHash ===

impl KeyHash {
    /// The hash of a key.
    pub(crate) fn of(key: &[u8]) -> KeyHash {
        KeyHash(first_bytes(Sha256::digest(key).into()))
    }

    /// Which of the endpoints' slots it falls into.
    pub(super) fn slot(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// What upstreams are chosen by: other bits, so that those that go to one upstream still spread over its endpoints.
    pub(crate) fn side(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

// === impl Contender ===

impl Contender {
    /// A contender of a name that has this seed.
    pub(crate) fn new(seed: u64, weight: u32) -> Contender {
        Contender { seed, weight: f64::from(weight) }
    }

    /// What it has for this key. With ln(u) / weight each wins by its share: whoever scores the greatest of exponentially
    /// distributed numbers does so with a probability in proportion to its rate.
    pub(crate) fn score(&self, key: u64) -> Score {
        // 53 bits are what the number holds: from 1 / 2^53 to 1.
        let u = ((mix(self.seed ^ mix(key)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Score(u.ln() / self.weight)
    }
}

/// The seed of a name.
pub(crate) fn seed(name: &str) -> u64 {
    first_bytes(Sha256::digest(name.as_bytes()).into())
}

fn first_bytes(hash: [u8; 32]) -> u64 {
    hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

// The finaliser of splitmix64: each bit of the result depends on all.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Who wins each key, by the index in the list.
    fn winners(contenders: &[(String, u32)]) -> Vec<Option<&str>> {
        let alive = contenders.iter().filter(|(_, weight)| *weight > 0);
        let alive: Vec<_> = alive.map(|(name, weight)| (name.as_str(), Contender::new(seed(name), *weight))).collect();
        let winner = |key: u64| {
            let scored = alive.iter().map(|(name, contender)| (*name, contender.score(key)));
            scored.max_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap()).map(|(name, _)| name)
        };
        (0..2_000).map(winner).collect()
    }

    fn contenders() -> impl Strategy<Value = Vec<(String, u32)>> {
        prop::collection::btree_map("10\\.0\\.[0-9]{1,2}\\.[0-9]{1,2}:80", 1..20_u32, 2..12)
            .prop_map(|contenders| contenders.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn one_that_goes_takes_only_its_own_keys_along(all in contenders(), at in any::<prop::sample::Index>()) {
            let gone = at.get(&all).0.clone();
            let left: Vec<_> = all.iter().filter(|(name, _)| *name != gone).cloned().collect();
            for (before, after) in winners(&all).into_iter().zip(winners(&left)) {
                prop_assert!(before == after || before == Some(gone.as_str()));
            }
        }

        #[test]
        fn a_weight_moves_keys_only_to_or_from_its_own(all in contenders(), at in any::<prop::sample::Index>(), weight in 0..40_u32) {
            let at = at.index(all.len());
            let mut changed = all.clone();
            changed[at].1 = weight;
            let (name, grows) = (all[at].0.as_str(), weight > all[at].1);
            for (before, after) in winners(&all).into_iter().zip(winners(&changed)) {
                let mover = if grows { after } else { before };
                prop_assert!(before == after || mover == Some(name));
            }
        }

        #[test]
        fn each_wins_its_share(all in contenders()) {
            let total: u32 = all.iter().map(|(_, weight)| weight).sum();
            let winners = winners(&all);
            for (name, weight) in &all {
                let expect = winners.len() as f64 * f64::from(*weight) / f64::from(total);
                let got = winners.iter().filter(|winner| **winner == Some(name.as_str())).count() as f64;
                // Six standard deviations.
                prop_assert!((got - expect).abs() <= 6.0 * expect.sqrt() + 1.0, "{got} and not {expect}");
            }
        }
    }

    #[test]
    fn the_choice_is_the_same_on_every_machine_and_for_ever() {
        // Another number here moves all keys of all clusters while they are upgraded.
        assert_eq!((seed("10.0.0.1:80"), KeyHash::of(b"ann")), (SEED, KeyHash(HASH)));
        let all: Vec<_> = (1..=5).map(|n| (format!("10.0.0.{n}:80"), n)).collect();
        let first: String = winners(&all)[..20].iter().map(|winner| &winner.unwrap()[7..8]).collect();
        assert_eq!(first, WINNERS);
    }

    const SEED: u64 = 16_209_210_677_832_448_791;
    const HASH: u64 = 5_301_121_648_421_453_870;
    const WINNERS: &str = "35554415342522445445";
}
