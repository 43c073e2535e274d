//! The filters of a route or of an upstream, one after the other: on the way in, in the order of the stages, the first to
//! refuse, refuses; on the way back, in the reverse order.
//!
//! Authentication is the one stage that is judged as a whole: each of its filters says whether the request carries a
//! credential that it reads. A wrong one is refused at once; that there is none is refused when nobody else knows whose
//! the request is. A policy that is tried out (`shadow`) decides as it would, is on record, and lets the request pass; it
//! overrules none that is in force, and lets nobody in.
//!
//! Whoever explains walks the same way, as an [`Observer`].

use super::{
    Attached, Filter, Place, Stage, Telling,
    trial::Tried,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    context::{Answer, Context, Decision, Peer, Reading, RequestBody},
    error::{Error, Refusal},
    pool::Upstreams,
    states::States,
};
use http::HeaderMap;
use proto::{name::Name, policy::Policy};
use std::{rc::Rc, time::Instant};

/// The filters of a route or of an upstream, in stage order, and what is told of its requests.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    acting: Vec<Acting>,
    telling: Telling,
}

/// A filter where it acts.
#[derive(Debug)]
pub(crate) struct Acting {
    /// The policy's name.
    pub(crate) policy: Name,
    /// The policy's kind.
    pub(crate) kind: &'static str,
    /// Where the policy is attached.
    pub(crate) place: Place,
    /// When it acts.
    pub(crate) stage: Stage,
    /// Whether it is only tried out.
    pub(crate) shadow: bool,
    /// What it does.
    pub(crate) filter: Filter,
}

/// What a worker lends to filters while they are asked.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'l> {
    /// When the request came.
    pub(crate) now: Instant,
    /// What calls to upstreams need; `None` where nothing is called, as when somebody explains.
    pub(crate) caller: Option<Caller<'l>>,
}

/// What calls to upstreams need.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'l> {
    /// What the worker has of them.
    pub(crate) upstreams: &'l Upstreams,
    /// On whose behalf.
    pub(crate) peer: &'l Rc<Peer>,
}

/// Whoever looks on while filters are asked.
pub(crate) trait Observer {
    /// Whether the filter of that number is asked; otherwise it is passed over, for only a running node knows.
    fn asks(&mut self, at: usize, acting: &Acting) -> bool;

    /// What it said; a refusal that was only tried out is one.
    fn heard(&mut self, at: usize, said: &Said);
}

// Nobody looks on.
impl Observer for () {
    fn asks(&mut self, _at: usize, _acting: &Acting) -> bool {
        true
    }

    fn heard(&mut self, _at: usize, _said: &Said) {}
}

/// The policies that only say what is told of a request, of those that count.
pub(crate) fn silent<'p>(policies: impl IntoIterator<Item = Attached<'p>>) -> Vec<Attached<'p>> {
    let (states, mut telling) = (States::default(), Telling::default());
    let is_silent = |attached: &Attached<'p>| Filter::build(attached, &states, &mut telling).is_none();
    counting(policies).into_iter().filter(is_silent).collect()
}

/// Of what counts only in its most specific form, the most specific; they come in the order of attachment.
fn counting<'p>(policies: impl IntoIterator<Item = Attached<'p>>) -> Vec<Attached<'p>> {
    let policies: Vec<Attached<'p>> = policies.into_iter().collect();
    let is_overruled = |at: usize, policy: &Policy, place: Place| {
        // Nothing in force gives way to what is only tried out.
        let mut rivals = policies[at + 1..].iter().filter(|later| policy.shadow || !later.policy.shadow);
        rivals.any(|later| {
            let kind = &later.policy.kind;
            let same = kind.is_exclusive() && kind.name() == policy.kind.name();
            // How clients say who they are is settled in one place, maybe by several policies.
            same || (policy.kind.authenticates() && kind.authenticates() && later.place != place)
        })
    };
    // Only what is in force says who may.
    let is_said = policies.iter().any(|attached| attached.policy.kind.admits() && !attached.policy.shadow);
    let counts = |(at, attached): &(usize, &Attached<'p>)| {
        !(is_overruled(*at, attached.policy, attached.place) || is_said && attached.policy.kind.is_fallback())
    };
    policies.iter().enumerate().filter(counts).map(|(_, attached)| *attached).collect()
}

// === impl Filters ===

impl Filters {
    /// Builds the filters of these policies, which come in the order of attachment.
    pub(crate) fn build<'p>(policies: impl IntoIterator<Item = Attached<'p>>, states: &States) -> Filters {
        let mut telling = Telling::default();
        let acting = |attached: Attached<'p>| {
            let filter = Filter::build(&attached, states, &mut telling)?;
            let Policy { name, shadow, kind, .. } = attached.policy;
            Some(Acting {
                policy: name.clone(),
                kind: kind.name(),
                place: attached.place,
                stage: filter.stage(),
                shadow: *shadow,
                filter,
            })
        };
        let mut acting: Vec<Acting> = counting(policies).into_iter().filter_map(acting).collect();
        // Within one stage the order of attachment holds.
        acting.sort_by_key(|acting| acting.stage);
        Filters { acting, telling }
    }

    /// What is told of a request.
    pub(crate) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// Those that act, in their order.
    pub(crate) fn acting(&self) -> &[Acting] {
        &self.acting
    }

    /// On the way in: an answer where one of them answers itself, and the error of the one that refuses.
    pub(crate) async fn request(&self, context: &mut Context, lent: Lent<'_>) -> Result<Option<Answer>, Error> {
        #[cfg(test)]
        super::tests::panic_if_asked(context, "request");
        self.walk(context, lent, &mut ()).await
    }

    /// The same, looked on.
    pub(crate) async fn walk<O: Observer>(
        &self,
        context: &mut Context,
        lent: Lent<'_>,
        observer: &mut O,
    ) -> Result<Option<Answer>, Error> {
        // Who found no credential, and how one is given.
        let mut absent = Vec::new();
        let mut tried = Tried::default();
        for (at, acting) in self.acting.iter().enumerate() {
            if acting.stage > Stage::Authenticate {
                judge(&mut absent, &tried, context)?;
            }
            if !observer.asks(at, acting) {
                continue;
            }
            // Hardly ever needed, and so no part of what every request waits with.
            let before = acting.shadow.then(|| Box::new(tried.begin(context)));
            let said = match acting.filter.request(context, lent) {
                Verdict::Now(said) => said,
                Verdict::Wait(asking) => asking.await,
            };
            if let Some(before) = before {
                tried.end(*before, context);
            }
            observer.heard(at, &said);
            match said {
                Said::Continue => {}
                Said::Absent(challenge) => absent.push((acting, challenge)),
                Said::Refuse(refusal) => acting.refuse(refusal, context)?,
                Said::Answer(_) if acting.shadow => {}
                Said::Answer(answer) => return Ok(Some(*answer)),
            }
        }
        judge(&mut absent, &tried, context)?;
        Ok(None)
    }

    /// Whether one of them judges bodies.
    pub(crate) fn judges_bodies(&self) -> bool {
        self.acting.last().is_some_and(|acting| acting.stage == Stage::Body)
    }

    /// Has the body judged, after all let the request pass; what comes back is to be sent on.
    pub(crate) async fn body(
        &self,
        context: &mut Context,
        mut body: RequestBody,
        reading: Reading<'_>,
    ) -> Result<RequestBody, Error> {
        for acting in &self.acting {
            if let Filter::Validate(filter) = &acting.filter {
                let judged = filter.judge(context, body, reading).await?;
                judged.refused.map_or(Ok(()), |error| acting.decide(error, context))?;
                body = judged.body;
            }
        }
        Ok(body)
    }

    /// Whether one of them answers preflights.
    pub(crate) fn answers_preflights(&self) -> bool {
        self.acting.iter().any(|acting| matches!(acting.filter, Filter::Cors(_)) && !acting.shadow)
    }

    /// On the way back; what is only tried out changes nothing.
    pub(crate) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        #[cfg(test)]
        super::tests::panic_if_asked(context, "response");
        for acting in self.acting.iter().rev().filter(|acting| !acting.shadow) {
            acting.filter.response(context, headers);
        }
    }
}

// Whether somebody is known, or nobody has to be.
fn judge(absent: &mut Vec<(&Acting, Challenge)>, tried: &Tried, context: &mut Context) -> Result<(), Error> {
    if absent.is_empty() || context.principals.is_known() {
        absent.clear();
        return Ok(());
    }
    let (on_trial, in_force): (Vec<_>, Vec<_>) = absent.drain(..).partition(|(acting, _)| acting.shadow);
    if let Some((acting, _)) = on_trial.first()
        && !tried.is_known()
    {
        acting.refuse(Box::new(Refusal::unauthenticated([])), context)?;
    }
    let Some((acting, _)) = in_force.first() else { return Ok(()) };
    let acting = *acting;
    let challenges = in_force.into_iter().map(|(_, Challenge(value))| value);
    acting.refuse(Box::new(Refusal::unauthenticated(challenges)), context)
}

// === impl Acting ===

impl Acting {
    fn refuse(&self, refusal: Box<Refusal>, context: &mut Context) -> Result<(), Error> {
        self.decide(Error::Denied(refusal), context)
    }

    // It is on record; tried out, it is not more than that.
    fn decide(&self, error: Error, context: &mut Context) -> Result<(), Error> {
        let Acting { policy, kind, shadow, .. } = self;
        context.decisions.push(Decision { policy: policy.clone(), kind, reason: error.reason(), shadow: *shadow });
        if *shadow { Ok(()) } else { Err(error) }
    }
}
