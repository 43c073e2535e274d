//! What was written as one endpoint, alive: an address, or a name and the endpoints that it stands for now.
//!
//! The identity of an origin is what was written, and it is inherited by that; within it an endpoint goes on for as long
//! as the name has its address. Who resolves names puts here what came of it, and workers look when they are told of a
//! change, so the lock is never touched by a request that nothing changed for.

use super::{
    Endpoint,
    health::{Health, Moment, Vitals},
    next_id,
    rendezvous::seed,
    tls::ClientTls,
};
use proto::upstream::{Address, Place, Upstream};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What was written as one endpoint.
#[derive(Debug)]
pub(crate) struct Origin {
    place: Place,
    manner: Manner,
    known: Mutex<Known>,
    wanted: Arc<Notify>,
    // Whether what it stands for first is new to the node, and not only the node to it.
    late: bool,
}

/// How endpoints are called, which is what they have in common.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) upstream: Arc<Upstream>,
    pub(super) tls: Option<ClientTls>,
    pub(super) vitals: Arc<Vitals>,
}

/// An endpoint that an origin stands for.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) endpoint: Arc<Endpoint>,
    weight: u16,
    /// The lower comes before the others.
    pub(super) rank: u16,
}

/// What DNS says of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) address: Address,
    /// One, or one of each family; none when they could not be found out, and then those before hold.
    pub(super) ips: Vec<IpAddr>,
    pub(super) weight: u16,
    pub(super) rank: u16,
}

/// Why an origin has no endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// Its name is being asked for.
    Pending,
    /// It was, in vain.
    Failed,
}

#[derive(Debug)]
struct Known {
    found: Arc<[Found]>,
    unresolved: Option<Unresolved>,
}

// === impl Origin ===

impl Origin {
    /// An origin; a name is not resolved yet. It is `late` when the upstream took traffic without it before.
    pub(super) fn new(place: Place, manner: Manner, late: bool) -> Origin {
        let known = Known { found: Arc::default(), unresolved: Some(Unresolved::Pending) };
        let origin = Origin { place, manner, known: Mutex::new(known), wanted: Arc::default(), late };
        if let Some((address, ip)) = origin.literal() {
            let answer = Answer { address: address.clone(), ips: vec![ip], weight: 1, rank: 0 };
            origin.set(&[answer]);
        }
        origin
    }

    /// An origin in the place of one whose endpoints are called in another way: what DNS said of it holds, and nothing
    /// else.
    pub(super) fn after(before: &Origin, manner: Manner) -> Origin {
        let origin = Origin::new(before.place.clone(), manner, false);
        let (unresolved, found) = before.found();
        if unresolved.is_none() {
            let answers: Vec<Answer> = found.iter().map(Found::answer).collect();
            origin.set(&answers);
        }
        origin
    }

    /// What checks said of the endpoints of another origin holds for those that this one has as well.
    pub(super) fn with_checks_of(self, other: &Origin) -> Origin {
        let before = other.found().1;
        for found in self.found().1.iter() {
            if let Some(before) = before.iter().find(|before| found.answer().is_of(&before.endpoint)) {
                found.endpoint.health.set_checked(before.endpoint.health.checked());
            }
        }
        self
    }

    /// What was written.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether there is a name to resolve.
    pub(super) fn is_named(&self) -> bool {
        self.literal().is_none()
    }

    /// What it stands for now, and why it has nothing.
    pub(super) fn found(&self) -> (Option<Unresolved>, Arc<[Found]>) {
        let known = self.known();
        (known.unresolved, known.found.clone())
    }

    /// Resolves when the name should be asked for again, for an endpoint cannot be reached.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Takes what DNS says; endpoints that are still there go on as they are.
    pub(super) fn set(&self, answers: &[Answer]) {
        let (unresolved, before) = self.found();
        let is_late = self.late || unresolved.is_none();
        let mut found = Vec::with_capacity(answers.len());
        for answer in answers {
            let (weight, rank) = (answer.weight, answer.rank);
            let kept = before.iter().filter(|found| answer.is_of(&found.endpoint));
            found.extend(kept.map(|found| Found { weight, rank, ..found.clone() }));
            if !before.iter().any(|found| answer.is_of(&found.endpoint))
                && let Some(endpoint) = self.endpoint(answer)
            {
                if is_late {
                    endpoint.health.warm_up(Moment::now());
                }
                found.push(Found { endpoint: Arc::new(endpoint), weight, rank });
            }
        }
        let what = |found: &Found| (found.endpoint.id, found.weight, found.rank);
        let is_new = before.iter().map(what).ne(found.iter().map(what));
        let is_first = {
            let mut known = self.known();
            known.found = found.into();
            known.unresolved.take().is_some()
        };
        if is_new || is_first {
            self.manner.vitals.change();
        }
    }

    /// The name could not be resolved; what it had is kept.
    pub(super) fn fail(&self) {
        let is_new = {
            let mut known = self.known();
            let fails = known.unresolved.is_some();
            fails && known.unresolved.replace(Unresolved::Failed) != Some(Unresolved::Failed)
        };
        if is_new {
            self.manner.vitals.change();
        }
    }

    fn literal(&self) -> Option<(&Address, IpAddr)> {
        let address = self.place.address()?;
        Some((address, address.host.parse().ok()?))
    }

    // None when the endpoint has to prove to be what no certificate can be for.
    fn endpoint(&self, answer: &Answer) -> Option<Endpoint> {
        let Answer { address, ips, .. } = answer;
        let text = SocketAddr::new(*ips.first()?, address.port).to_string();
        let tls = match (&self.manner.upstream.tls, &self.manner.tls) {
            (Some(spec), Some(tls)) => Some(tls.towards(spec.server_name(address)?)),
            (Some(_) | None, Some(_) | None) => None,
        };
        let vitals = &self.manner.vitals;
        Some(Endpoint {
            address: address.clone(),
            ips: ips.clone(),
            seed: seed(&text),
            text,
            id: next_id(),
            seats: Arc::default(),
            tls,
            health: Health::new(vitals),
            wanted: self.wanted.clone(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Found ===

impl Found {
    /// Its part of the origin's share against the others'; not nothing.
    pub(super) fn share(&self) -> u32 {
        u32::from(self.weight.max(1))
    }

    // What DNS said.
    fn answer(&self) -> Answer {
        let Endpoint { address, ips, .. } = &*self.endpoint;
        Answer { address: address.clone(), ips: ips.clone(), weight: self.weight, rank: self.rank }
    }
}

// === impl Answer ===

impl Answer {
    // An answer in which one family is missing is of the same endpoint.
    fn is_of(&self, endpoint: &Endpoint) -> bool {
        let is_same =
            || self.ips.first() == endpoint.ips.first() && self.ips.iter().all(|ip| endpoint.ips.contains(ip));
        self.address == endpoint.address && (self.ips.is_empty() || is_same())
    }
}
