//! The endpoints of a pool that take traffic, as one worker sees them. It looks again only when something changed.

use super::{
    Affinity, Endpoint, Pool, Unresolved,
    balance::{Balancer, Candidate},
    health::{Checked, Moment, Standing},
    judge::Trial,
    local::{LocalEndpoint, Picked, Upstreams},
    session::{SessionId, Sessions},
};
use crate::error::Error;
use fastrand::Rng;
use proto::upstream::{AllDown, Balance, Upstream};
use std::rc::Rc;

/// In how many steps a weight grows.
const STEPS: u32 = 25;

/// The endpoints that take traffic, and the choice among them.
#[derive(Debug)]
pub(super) struct Live {
    // All that may.
    endpoints: Vec<Rc<LocalEndpoint>>,
    balancer: Balancer,
    // What `Vitals::changes` was when it looked.
    changes: Option<u64>,
    // When to look again though nothing changed: weights grow.
    look_again: Option<Moment>,
    // Those that are ejected, but for that would take traffic.
    ejected: Vec<Candidate>,
    // Who may keep the clients it has; only where clients stay.
    sessions: Option<Sessions>,
    // One of the names was never resolved.
    unresolved: Option<Unresolved>,
}

/// Why there is no endpoint.
#[derive(Debug)]
pub(super) enum Lack {
    /// Its name is being resolved.
    Pending,
    /// Another reason.
    Error(Error),
}

// The endpoints of one priority.
#[derive(Default)]
struct Group {
    all: Vec<Candidate>,
    healthy: Vec<Candidate>,
}

impl Live {
    /// Nothing was looked at yet.
    pub(super) fn new(upstream: &Upstream) -> Live {
        let balancer = Balancer::new(&upstream.balance);
        let sessions = match &upstream.balance {
            Balance::StickyCookie(cookie) => Some(Sessions::new(cookie, &upstream.name)),
            Balance::RoundRobin | Balance::LeastRequest | Balance::Random | Balance::ConsistentHash(_) => None,
        };
        Live {
            endpoints: Vec::new(),
            balancer,
            changes: None,
            look_again: None,
            ejected: Vec::new(),
            sessions,
            unresolved: None,
        }
    }

    /// Looks again if something changed.
    pub(super) fn refresh(&mut self, pool: &Pool, upstreams: &Upstreams) {
        let changes = Some(pool.vitals.changes());
        if changes != self.changes || self.look_again.is_some_and(|at| at <= Moment::now()) {
            self.changes = changes;
            self.look(pool, upstreams);
        }
    }

    /// All that may take traffic, some of them twice.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Rc<LocalEndpoint>> {
        self.endpoints.iter().chain(self.sessions.iter().flat_map(Sessions::endpoints))
    }

    /// The endpoint that the client was given before, if it may keep it.
    pub(super) fn session(&self, affinity: Affinity, tried: &[u64]) -> Option<Picked> {
        let Affinity::Session(id) = affinity else { return None };
        let endpoint = self.sessions.as_ref()?.find(id)?;
        (!tried.contains(&endpoint.endpoint.id)).then(|| Picked { endpoint: endpoint.clone(), trial: None })
    }

    /// What the client is given, so that it stays with that endpoint.
    pub(super) fn session_id(&self, endpoint: &LocalEndpoint) -> Option<SessionId> {
        self.sessions.as_ref().map(|sessions| sessions.id(endpoint))
    }

    /// An endpoint whose ejection is over, for the one request that tries it. One whose key is another's does not.
    pub(super) fn trial(&mut self, affinity: Affinity) -> Option<Picked> {
        if self.ejected.is_empty() {
            return None;
        }
        let now = Moment::now();
        let Live { ejected, balancer, endpoints, .. } = self;
        ejected.iter().find_map(|candidate| {
            match affinity {
                Affinity::None | Affinity::Session(_) => {}
                Affinity::Key(key) if balancer.would_win(key, *candidate) => {}
                Affinity::Key(_) => return None,
            }
            let endpoint = &endpoints[candidate.index];
            let trial = Some(Trial::begin(&endpoint.endpoint, now)?);
            Some(Picked { endpoint: endpoint.clone(), trial })
        })
    }

    /// An endpoint that was not tried, if there is one; else any.
    pub(super) fn pick(&mut self, rng: &mut Rng, affinity: Affinity, tried: &[u64]) -> Result<Picked, Lack> {
        let was_tried = |index: usize| tried.contains(&self.endpoints[index].endpoint.id);
        let busy = |index: usize| self.endpoints[index].in_flight();
        let key = match affinity {
            Affinity::None | Affinity::Session(_) => None,
            Affinity::Key(key) => Some(key),
        };
        match self.balancer.pick(rng, key, was_tried, busy) {
            Some(index) => Ok(Picked { endpoint: self.endpoints[index].clone(), trial: None }),
            None => Err(self.lack()),
        }
    }

    fn lack(&self) -> Lack {
        match self.unresolved {
            None | Some(_) if !self.endpoints.is_empty() => Lack::Error(Error::NoHealthyEndpoint),
            None => Lack::Error(Error::NoEndpoint),
            Some(Unresolved::Pending) => Lack::Pending,
            Some(Unresolved::Failed) => Lack::Error(Error::Resolve),
        }
    }

    fn look(&mut self, pool: &Pool, upstreams: &Upstreams) {
        let (mut members, unresolved) = pool.members();
        members.sort_by_key(|member| member.priority);
        self.unresolved = unresolved;
        let warming = pool.spec.slow_start.filter(|_| members.iter().any(|member| member.is_warming));
        self.look_again = warming.map(|window| Moment::now().after(window / STEPS));
        self.endpoints = members.iter().map(|member| upstreams.endpoint(&member.endpoint)).collect();
        self.ejected.clear();
        let mut groups: Vec<Group> = Vec::new();
        let mut last = None;
        for (index, member) in members.iter().enumerate() {
            if last.replace(member.priority) != Some(member.priority) {
                groups.push(Group::default());
            }
            let Some(group) = groups.last_mut() else { continue };
            let candidate = Candidate { index, weight: member.weight, seed: member.endpoint.seed };
            group.all.push(candidate);
            match standing(&member.endpoint, &pool.spec) {
                Some(true) => group.healthy.push(candidate),
                Some(false) => self.ejected.push(candidate),
                None => {}
            }
        }
        let chosen = choose(&groups, &pool.spec);
        if let Some(sessions) = &mut self.sessions {
            // Whoever is healthy keeps its clients, whatever its priority and its weight.
            let healthy = groups.iter().flat_map(|group| &group.healthy);
            let mut keep: Vec<usize> = chosen.iter().chain(healthy).map(|candidate| candidate.index).collect();
            keep.sort_unstable();
            keep.dedup();
            let resting = pool.resting().filter(|endpoint| standing(endpoint, &pool.spec) == Some(true));
            let resting: Vec<_> = resting.map(|endpoint| upstreams.endpoint(&endpoint)).collect();
            sessions.set(keep.into_iter().map(|index| self.endpoints[index].clone()).chain(resting));
        }
        let mut rng = upstreams.rng.borrow_mut();
        self.balancer.set(chosen.into_iter(), &mut rng);
    }
}

// Whether it takes traffic, or would if it were not ejected.
fn standing(endpoint: &Endpoint, upstream: &Upstream) -> Option<bool> {
    let health = &endpoint.health;
    match (health.checked(), health.standing()) {
        (Checked::Failed, Standing::In | Standing::Out(_) | Standing::Trial) => None,
        (Checked::Unknown | Checked::Passed, Standing::In) => Some(true),
        (Checked::Unknown | Checked::Passed, Standing::Out(_) | Standing::Trial) => Some(upstream.ejection.is_none()),
    }
}

/// Of groups in the order of their priority: the healthy ones of the first, and of the next as well while too few are.
fn choose(groups: &[Group], upstream: &Upstream) -> Vec<Candidate> {
    let is_below = |healthy: usize, all: usize, percent: u32| 100 * healthy < percent as usize * all;
    let (healthy, all) =
        groups.iter().fold((0, 0), |(healthy, all), group| (healthy + group.healthy.len(), all + group.all.len()));
    match upstream.all_down {
        AllDown::UseAll { below } if healthy == 0 || is_below(healthy, all, below) => {
            return groups.first().map(|group| group.all.clone()).unwrap_or_default();
        }
        AllDown::UseAll { .. } | AllDown::Fail => {}
    }
    let mut chosen = Vec::new();
    for group in groups {
        chosen.extend_from_slice(&group.healthy);
        if !is_below(group.healthy.len(), group.all.len(), upstream.failover_below) {
            break;
        }
    }
    chosen
}
