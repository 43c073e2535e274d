//! Which endpoint is next. Each worker balances for itself: over many requests that is the same, and nothing is shared.

use fastrand::Rng;
use proto::upstream::Balance;

/// The choice among the endpoints of one pool.
#[derive(Debug)]
pub(crate) struct Balancer {
    balance: Balance,
    // The endpoints that take traffic: their index, their weight, and the sum of the weights up to it.
    live: Vec<Share>,
    total: u32,
    uniform: bool,
    // The next in turn.
    position: usize,
}

#[derive(Debug)]
struct Share {
    index: usize,
    weight: u32,
    sum: u32,
    // The credit of smooth weighted round robin.
    credit: i64,
}

impl Balancer {
    /// A choice among none yet.
    pub(crate) fn new(balance: Balance) -> Balancer {
        Balancer { balance, live: Vec::new(), total: 0, uniform: true, position: 0 }
    }

    /// From now on the choice is among these, each with its weight, which is not 0; it begins anywhere, so that workers
    /// that start together do not stay together.
    pub(crate) fn set(&mut self, live: impl Iterator<Item = (usize, u32)>, rng: &mut Rng) {
        self.live.clear();
        self.total = 0;
        for (index, weight) in live {
            self.total += weight;
            self.live.push(Share { index, weight, sum: self.total, credit: 0 });
        }
        self.uniform = self.live.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        self.position = if self.live.is_empty() { 0 } else { rng.usize(..self.live.len()) };
    }

    /// An endpoint that was not tried, if there is one; else any. `in_flight` says how busy one is.
    pub(crate) fn pick(
        &mut self,
        rng: &mut Rng,
        tried: impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let share = match self.live.len() {
            0 => return None,
            1 => 0,
            _ => match self.balance {
                Balance::RoundRobin if self.uniform => self.next_in_turn(),
                Balance::RoundRobin => self.most_credit()?,
                Balance::LeastRequest => {
                    let (a, b) = (self.draw(rng), self.draw(rng));
                    self.less_busy(a, b, in_flight)
                }
                Balance::Random => self.draw(rng),
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

    fn balancer(balance: Balance, weights: &[u32], rng: &mut Rng) -> Balancer {
        let mut balancer = Balancer::new(balance);
        balancer.set(weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0), rng);
        balancer
    }

    const NONE: fn(usize) -> bool = |_| false;

    fn counts(balance: Balance, weights: &[u32], n: usize) -> Vec<usize> {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(balance, weights, &mut rng);
        let mut counts = vec![0; weights.len()];
        for _ in 0..n {
            counts[balancer.pick(&mut rng, NONE, |_| 0).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_gets_its_share() {
        assert_eq!(counts(Balance::RoundRobin, &[1, 1, 0, 1], 300), [100, 100, 0, 100]);
        assert_eq!(counts(Balance::RoundRobin, &[5, 1, 0, 2], 800), [500, 100, 0, 200]);
        for balance in [Balance::Random, Balance::LeastRequest] {
            let counts = counts(balance, &[3, 0, 1], 10_000);
            assert!((7_200..7_800).contains(&counts[0]) && counts[1] == 0, "{balance:?}: {counts:?}");
        }
    }

    #[test]
    fn weights_are_interleaved() {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(Balance::RoundRobin, &[2, 1], &mut rng);
        let picks: Vec<usize> = (0..6).filter_map(|_| balancer.pick(&mut rng, NONE, |_| 0)).collect();
        assert!(picks.windows(3).all(|three| three.iter().sum::<usize>() == 1), "{picks:?}");
    }

    #[test]
    fn the_busy_one_is_avoided() {
        let mut rng = Rng::with_seed(7);
        let mut balancer = balancer(Balance::LeastRequest, &[1, 1], &mut rng);
        let busy =
            (0..1000).filter(|_| balancer.pick(&mut rng, NONE, |index| 5 * (index == 0) as u32) == Some(0)).count();
        assert!((200..300).contains(&busy), "only when it is drawn twice: {busy}");
    }

    #[test]
    fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::Random] {
            let mut rng = Rng::with_seed(7);
            let mut balancer = balancer(balance, &[1, 1, 3], &mut rng);
            for _ in 0..20 {
                assert_eq!(balancer.pick(&mut rng, |index| index != 1, |_| 0), Some(1), "{balance:?}");
            }
            assert!(balancer.pick(&mut rng, |_| true, |_| 0).is_some());
        }
        let mut rng = Rng::with_seed(7);
        assert_eq!(balancer(Balance::Random, &[0, 0], &mut rng).pick(&mut rng, NONE, |_| 0), None);
    }
}
