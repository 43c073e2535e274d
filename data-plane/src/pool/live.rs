//! The endpoints of a pool that take traffic, as one worker sees them. It looks again only when something changed.

use super::{
    Pool,
    balance::Balancer,
    health::{Checked, Moment, Standing},
    judge::Trial,
};
use crate::error::Error;
use fastrand::Rng;
use proto::upstream::{AllDown, Upstream};

/// The endpoints that take traffic, and the choice among them.
#[derive(Debug)]
pub(super) struct Live {
    balancer: Balancer,
    // What `Vitals::changes` was when it looked.
    changes: Option<u64>,
    // Those that are ejected, but for that would take traffic.
    ejected: Vec<usize>,
    // How many there would be if all were healthy.
    all: usize,
}

impl Live {
    /// Nothing was looked at yet.
    pub(super) fn new(upstream: &Upstream) -> Live {
        let balancer = Balancer::new(upstream.balance);
        Live { balancer, changes: None, ejected: Vec::new(), all: 0 }
    }

    /// Looks again if something changed.
    pub(super) fn refresh(&mut self, pool: &Pool, rng: &mut Rng) {
        let changes = Some(pool.vitals.changes());
        if changes != self.changes {
            self.changes = changes;
            self.look(pool, rng);
        }
    }

    /// An endpoint whose ejection is over, for the one request that tries it.
    pub(super) fn trial(&self, pool: &Pool) -> Option<(usize, Trial)> {
        if self.ejected.is_empty() {
            return None;
        }
        let now = Moment::now();
        self.ejected.iter().find_map(|index| Some((*index, Trial::begin(&pool.endpoints[*index], now)?)))
    }

    /// An endpoint that was not tried, if there is one; else any.
    pub(super) fn pick(
        &mut self,
        rng: &mut Rng,
        tried: impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> u32,
    ) -> Result<usize, Error> {
        self.balancer.pick(rng, tried, in_flight).ok_or(if self.all == 0 {
            Error::NoEndpoint
        } else {
            Error::NoHealthyEndpoint
        })
    }

    fn look(&mut self, pool: &Pool, rng: &mut Rng) {
        let spec = &pool.spec;
        self.ejected.clear();
        let weights = || spec.endpoints.iter().map(|endpoint| endpoint.weight).enumerate().filter(|(_, w)| *w > 0);
        let mut healthy = Vec::new();
        for (index, weight) in weights() {
            let health = &pool.endpoints[index].health;
            match (health.checked(), health.standing()) {
                (Checked::Failed, Standing::In | Standing::Out(_) | Standing::Trial) => {}
                (Checked::Unknown | Checked::Passed, Standing::Out(_) | Standing::Trial) if spec.ejection.is_some() => {
                    self.ejected.push(index);
                }
                (Checked::Unknown | Checked::Passed, Standing::In | Standing::Out(_) | Standing::Trial) => {
                    healthy.push((index, weight));
                }
            }
        }
        self.all = weights().count();
        let use_all = match spec.all_down {
            AllDown::UseAll { below } => healthy.is_empty() || 100 * healthy.len() < below as usize * self.all,
            AllDown::Fail => false,
        };
        if use_all { self.balancer.set(weights(), rng) } else { self.balancer.set(healthy.into_iter(), rng) }
    }
}
