//! Which endpoint is next. Each worker balances for itself: over many requests that is the same, and nothing is shared.
//! Only where a key decides all choose the same.

use super::rendezvous::{Contender, KeyHash, SLOTS, Score};
use fastrand::Rng;
use proto::upstream::Balance;

/// Among so many endpoints the winner of a key is found out each time; among more it is remembered.
const FEW: usize = 16;
/// Nobody found out yet who wins the slot.
const UNKNOWN: u16 = u16::MAX;

/// The choice among the endpoints of one pool.
#[derive(Debug)]
pub(crate) struct Balancer {
    rule: Rule,
    // The endpoints that take traffic: their index, their weight, and the sum of the weights up to it.
    live: Vec<Share>,
    total: u32,
    uniform: bool,
    // The next in turn.
    position: usize,
    // Who wins each slot of keys, as far as it is known; empty while there are few.
    winners: Vec<u16>,
}

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Its index, by which it is told apart.
    pub(crate) index: usize,
    /// Its share; not 0.
    pub(crate) weight: u32,
    /// That of its address.
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    InTurn,
    LessBusy,
    Random,
    // With the most that one may have of the average load, in percent.
    ByKey(Option<u32>),
}

#[derive(Debug)]
struct Share {
    index: usize,
    weight: u32,
    contender: Contender,
    sum: u32,
    // The credit of smooth weighted round robin.
    credit: i64,
}

impl Balancer {
    /// A choice among none yet.
    pub(crate) fn new(balance: &Balance) -> Balancer {
        let rule = match balance {
            Balance::RoundRobin => Rule::InTurn,
            // Who has no endpoint yet is no different from others.
            Balance::LeastRequest | Balance::StickyCookie(_) => Rule::LessBusy,
            Balance::Random => Rule::Random,
            Balance::ConsistentHash(hash) => Rule::ByKey(hash.max_load),
        };
        Balancer { rule, live: Vec::new(), total: 0, uniform: true, position: 0, winners: Vec::new() }
    }

    /// From now on the choice is among these; it begins anywhere, so that workers that start together do not stay
    /// together.
    pub(crate) fn set(&mut self, live: impl Iterator<Item = Candidate>, rng: &mut Rng) {
        self.live.clear();
        self.total = 0;
        for Candidate { index, weight, seed } in live {
            self.total += weight;
            let contender = Contender::new(seed, weight);
            self.live.push(Share { index, weight, contender, sum: self.total, credit: 0 });
        }
        self.winners.clear();
        self.uniform = self.live.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        self.position = if self.live.is_empty() { 0 } else { rng.usize(..self.live.len()) };
    }

    /// An endpoint that was not tried, if there is one; else any. The key decides where it is to; `in_flight` says how
    /// busy one is.
    pub(crate) fn pick(
        &mut self,
        rng: &mut Rng,
        key: Option<KeyHash>,
        tried: impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let share = match self.live.len() {
            0 => return None,
            1 => 0,
            _ => match (self.rule, key) {
                (Rule::InTurn, _) if self.uniform => self.next_in_turn(),
                (Rule::InTurn, _) => self.most_credit()?,
                (Rule::LessBusy, _) => {
                    let (a, b) = (self.draw(rng), self.draw(rng));
                    self.less_busy(a, b, in_flight)
                }
                (Rule::Random, _) | (Rule::ByKey(_), None) => self.draw(rng),
                (Rule::ByKey(max_load), Some(key)) => return self.of_key(key.slot(), max_load, tried, in_flight),
            },
        };
        let index = self.live[share].index;
        if !tried(index) {
            return Some(index);
        }
        // A retry goes to the next that was not tried yet.
        let others = (1..self.live.len()).map(|step| self.live[(share + step) % self.live.len()].index);
        Some(others.into_iter().find(|index| !tried(*index)).unwrap_or(index))
    }

    /// Whether this one would win the key of those that are live now.
    pub(crate) fn would_win(&mut self, key: KeyHash, candidate: Candidate) -> bool {
        let slot = key.slot();
        let score = Contender::new(candidate.seed, candidate.weight).score(slot.into());
        self.winner(slot).is_none_or(|winner| score > self.live[winner].contender.score(slot.into()))
    }

    // The endpoint of a key, unless it was tried or has too much to do: then the next in the order of that key.
    fn of_key(
        &mut self,
        slot: u16,
        max_load: Option<u32>,
        tried: impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let winner = self.winner(slot)?;
        // Whoever has nothing to do has not too much of it.
        let bound = max_load.filter(|_| in_flight(self.live[winner].index) > 0);
        let bound =
            bound.map(|percent| (percent, self.live.iter().map(|share| u64::from(in_flight(share.index))).sum()));
        let has_room =
            |share: &Share| bound.is_none_or(|(percent, all)| self.has_room(share, percent, all, &in_flight));
        let may = |share: &Share| !tried(share.index) && has_room(share);
        let chosen = match may(&self.live[winner]) {
            true => winner,
            false => {
                let next = self.best(slot, may).or_else(|| self.best(slot, |share| !tried(share.index)));
                next.unwrap_or(winner)
            }
        };
        Some(self.live[chosen].index)
    }

    // One of them always has: with this request there are not as many as all have room for.
    fn has_room(&self, share: &Share, percent: u32, all: u64, in_flight: impl Fn(usize) -> u32) -> bool {
        let most = u64::from(percent) * (all + 1) * u64::from(share.weight);
        u64::from(in_flight(share.index)) * 100 * u64::from(self.total) < most
    }

    fn winner(&mut self, slot: u16) -> Option<usize> {
        if self.live.len() <= FEW {
            return self.best(slot, |_| true);
        }
        if self.winners.is_empty() {
            self.winners.resize(SLOTS, UNKNOWN);
        }
        match self.winners[usize::from(slot)] {
            UNKNOWN => {
                let winner = self.best(slot, |_| true)?;
                self.winners[usize::from(slot)] = u16::try_from(winner).unwrap_or(UNKNOWN);
                Some(winner)
            }
            winner => Some(usize::from(winner)),
        }
    }

    // The best of those that may.
    fn best(&self, slot: u16, may: impl Fn(&Share) -> bool) -> Option<usize> {
        let mut best: Option<(usize, Score)> = None;
        for (at, share) in self.live.iter().enumerate().filter(|(_, share)| may(share)) {
            let score = share.contender.score(slot.into());
            if best.is_none_or(|(_, best)| score > best) {
                best = Some((at, score));
            }
        }
        best.map(|(at, _)| at)
    }

    fn next_in_turn(&mut self) -> usize {
        self.position = if self.position + 1 < self.live.len() { self.position + 1 } else { 0 };
        self.position
    }

    // Smooth weighted round robin: everyone earns his weight, and the richest pays for all.
    fn most_credit(&mut self) -> Option<usize> {
        for share in &mut self.live {
            share.credit += i64::from(share.weight);
        }
        let (at, richest) = self.live.iter_mut().enumerate().max_by_key(|(_, share)| share.credit)?;
        richest.credit -= i64::from(self.total);
        Some(at)
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.u32(..self.total);
        self.live.partition_point(|share| share.sum <= at)
    }

    // Both were drawn by weight; of equals the first, so that idle endpoints get their shares.
    fn less_busy(&self, a: usize, b: usize, in_flight: impl Fn(usize) -> u32) -> usize {
        let (x, y) = (&self.live[a], &self.live[b]);
        let load = |share: &Share, other: &Share| u64::from(in_flight(share.index)) * u64::from(other.weight);
        if load(y, x) < load(x, y) { b } else { a }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::rendezvous::seed;
    use http::HeaderName;
    use proto::{hash_key::HashKey, upstream::ConsistentHash};

    fn by_key(max_load: Option<u32>) -> Balance {
        let key = HashKey::Header(HeaderName::from_static("x-user"));
        Balance::ConsistentHash(ConsistentHash { key, max_load })
    }

    fn keys() -> impl Iterator<Item = KeyHash> {
        (0..3_000).map(|n| KeyHash::of(format!("user-{n}").as_bytes()))
    }

    fn balancer(balance: Balance, weights: &[u32], rng: &mut Rng) -> Balancer {
        let mut balancer = Balancer::new(&balance);
        set(&mut balancer, weights, rng);
        balancer
    }

    fn set(balancer: &mut Balancer, weights: &[u32], rng: &mut Rng) {
        let candidate = |(index, weight): (usize, &u32)| {
            let seed = seed(&format!("10.0.0.{index}:80"));
            (*weight > 0).then_some(Candidate { index, weight: *weight, seed })
        };
        balancer.set(weights.iter().enumerate().filter_map(candidate), rng);
    }

    const NONE: fn(usize) -> bool = |_| false;

    fn counts(balance: Balance, weights: &[u32], n: usize) -> Vec<usize> {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(balance, weights, &mut rng);
        let mut counts = vec![0; weights.len()];
        for _ in 0..n {
            counts[balancer.pick(&mut rng, None, NONE, |_| 0).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_gets_its_share() {
        assert_eq!(counts(Balance::RoundRobin, &[1, 1, 0, 1], 300), [100, 100, 0, 100]);
        assert_eq!(counts(Balance::RoundRobin, &[5, 1, 0, 2], 800), [500, 100, 0, 200]);
        for balance in [Balance::Random, Balance::LeastRequest] {
            let counts = counts(balance.clone(), &[3, 0, 1], 10_000);
            assert!((7_200..7_800).contains(&counts[0]) && counts[1] == 0, "{balance:?}: {counts:?}");
        }
    }

    #[test]
    fn weights_are_interleaved() {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(Balance::RoundRobin, &[2, 1], &mut rng);
        let picks: Vec<usize> = (0..6).filter_map(|_| balancer.pick(&mut rng, None, NONE, |_| 0)).collect();
        assert!(picks.windows(3).all(|three| three.iter().sum::<usize>() == 1), "{picks:?}");
    }

    #[test]
    fn the_busy_one_is_avoided() {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(Balance::LeastRequest, &[1, 1], &mut rng);
        let busy = (0..1000)
            .filter(|_| balancer.pick(&mut rng, None, NONE, |index| 5 * (index == 0) as u32) == Some(0))
            .count();
        assert!((200..300).contains(&busy), "only when it is drawn twice: {busy}");
    }

    #[test]
    fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::Random] {
            let mut rng = Rng::with_seed(7);
            let mut balancer = balancer(balance.clone(), &[1, 1, 3], &mut rng);
            for _ in 0..20 {
                assert_eq!(balancer.pick(&mut rng, None, |index| index != 1, |_| 0), Some(1), "{balance:?}");
            }
            assert!(balancer.pick(&mut rng, None, |_| true, |_| 0).is_some());
        }
        let mut rng = Rng::with_seed(7);
        assert_eq!(balancer(Balance::Random, &[0, 0], &mut rng).pick(&mut rng, None, NONE, |_| 0), None);
    }

    #[test]
    fn a_key_moves_only_when_its_endpoint_goes_or_comes_back() {
        // Few are scored each time, many are remembered.
        for n in [4, 40] {
            let mut rng = Rng::with_seed(7);
            let weights: Vec<u32> = (0..n).map(|at| 1 + at % 3).collect();
            let mut balancer = balancer(by_key(None), &weights, &mut rng);
            let mut picks = |balancer: &mut Balancer| -> Vec<usize> {
                keys().map(|key| balancer.pick(&mut rng, Some(key), NONE, |_| 0).unwrap()).collect()
            };
            let all = picks(&mut balancer);
            assert_eq!(picks(&mut balancer), all);
            let mut down = weights.clone();
            down[2] = 0;
            set(&mut balancer, &down, &mut Rng::new());
            let without = picks(&mut balancer);
            assert!(all.iter().zip(&without).all(|(before, after)| before == after || *before == 2));
            let moved = all.iter().zip(&without).filter(|(before, after)| before != after).count();
            let share = all.len() * 3 / weights.iter().sum::<u32>() as usize;
            assert!((share / 2..2 * share).contains(&moved), "{moved} of {} moved", all.len());
            let back = KeyHash::of(b"x");
            let candidate = Candidate { index: 2, weight: weights[2], seed: seed("10.0.0.2:80") };
            let would = balancer.would_win(back, candidate);
            set(&mut balancer, &weights, &mut Rng::new());
            assert_eq!(picks(&mut balancer), all);
            assert_eq!(balancer.pick(&mut Rng::new(), Some(back), NONE, |_| 0) == Some(2), would);
        }
    }

    #[test]
    fn a_retry_goes_where_the_key_would_be_without_the_first() {
        let mut rng = Rng::with_seed(7);
        let weights = [1; 20];
        let mut all = balancer(by_key(None), &weights, &mut rng);
        for key in keys().take(50) {
            let first = all.pick(&mut rng, Some(key), NONE, |_| 0).unwrap();
            let second = all.pick(&mut rng, Some(key), |index| index == first, |_| 0).unwrap();
            let mut without = weights;
            without[first] = 0;
            let mut without = balancer(by_key(None), &without, &mut rng);
            assert_eq!(without.pick(&mut rng, Some(key), NONE, |_| 0), Some(second));
            assert_eq!(all.pick(&mut rng, Some(key), |_| true, |_| 0), Some(first), "when all were tried");
        }
    }

    #[test]
    fn who_has_no_key_goes_anywhere() {
        let shares = counts(by_key(None), &[3, 0, 1], 10_000);
        assert!((7_200..7_800).contains(&shares[0]), "{shares:?}");
    }

    #[test]
    fn one_key_that_everybody_sends_is_too_much_for_one_endpoint() {
        let key = KeyHash::of(b"everybody");
        for (max_load, weights) in [(125, [1, 1, 1, 1, 0, 0]), (150, [3, 1, 2, 1, 1, 1])] {
            let mut rng = Rng::with_seed(7);
            let mut balancer = balancer(by_key(Some(max_load)), &weights, &mut rng);
            let mut busy = [0_u32; 6];
            for n in 0..1_000_u32 {
                let index = balancer.pick(&mut rng, Some(key), NONE, |index| busy[index]).unwrap();
                busy[index] += 1;
                let total: u32 = weights.iter().sum();
                let most = (max_load * (n + 1) * weights[index]).div_ceil(100 * total);
                assert!(busy[index] <= most, "{busy:?}");
            }
        }
    }
}
