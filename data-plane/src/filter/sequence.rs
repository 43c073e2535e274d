//! The filters of a route or of an upstream, one after the other: on the way in, in the order of the stages, the first to
//! refuse, refuses; on the way back, in the reverse order.
//!
//! Authentication is the one stage that is judged as a whole: each of its filters says whether the request carries a
//! credential that it reads. A wrong one is refused at once; that there is none is refused when nobody else knows whose
//! the request is. A policy that is tried out (`shadow`) decides as it would, is on record, and lets the request pass; it
//! overrules none that is in force, and lets nobody in.
//!
//! A consumer's join in once it is known who calls. Whoever explains walks the same way, as an [`Observer`].

use super::{
    Attached, Filter, Place, Stage, Telling,
    merged::merged,
    personal::{Joined, Personal},
    trial::Tried,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    context::{Answer, Context, Decision, Made, Peer, Reading, RequestBody},
    error::{Error, Refusal},
    pool::{Pool, Upstreams},
    states::States,
};
use http::HeaderMap;
use proto::{name::Name, policy::Policy};
use std::{ptr, rc::Rc, sync::Arc, time::Instant};

/// The filters of a route or of an upstream, in stage order, and what is told of its requests.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    acting: Vec<Acting>,
    // How many of them act before it is known who calls, or say it.
    proving: usize,
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
    /// Where filters of consumers' own policies are found.
    pub(crate) personal: &'l Personal,
    /// Where it is noted which of them joined.
    pub(crate) joined: &'l Joined,
}

/// What calls to upstreams need.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'l> {
    /// What the worker has of them.
    pub(crate) upstreams: &'l Upstreams,
    /// On whose behalf.
    pub(crate) peer: &'l Rc<Peer>,
}

// The filters of a route or an upstream, while they are asked one after the other.
struct Asking<'f, 'c, O> {
    context: &'c mut Context,
    lent: Lent<'c>,
    observer: &'c mut O,
    // Who found no credential, and how one is given.
    absent: Vec<(&'f Acting, Challenge)>,
    tried: Tried,
}

/// Whoever looks on while filters are asked.
pub(crate) trait Observer {
    /// Whether the filter is asked; otherwise it is passed over, for only a running node knows.
    fn asks(&mut self, acting: &Acting) -> bool;

    /// What it said; a refusal that was only tried out is one.
    fn heard(&mut self, acting: &Acting, said: &Said);
}

// Nobody looks on.
impl Observer for () {
    fn asks(&mut self, _acting: &Acting) -> bool {
        true
    }

    fn heard(&mut self, _acting: &Acting, _said: &Said) {}
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
            // Which consumer it is, is known only then.
            let earliest = if attached.place == Place::Consumer { Stage::Authorize } else { Stage::Address };
            Some(Acting {
                policy: name.clone(),
                kind: kind.name(),
                place: attached.place,
                stage: filter.stage().max(earliest),
                shadow: *shadow,
                filter,
            })
        };
        let mut acting: Vec<Acting> = counting(policies).into_iter().filter_map(acting).collect();
        // Within one stage the order of attachment holds.
        acting.sort_by_key(|acting| acting.stage);
        let proving = acting.partition_point(|acting| acting.stage <= Stage::Authenticate);
        Filters { acting, proving, telling }
    }

    /// What is told of a request.
    pub(crate) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// Those that act, in their order, with those that joined them.
    pub(crate) fn acting<'f>(
        &'f self,
        context: &Context,
        joined: &'f Joined,
    ) -> impl DoubleEndedIterator<Item = &'f Acting> {
        in_line(&self.acting, joined.of(self.address()), context)
    }

    /// The upstreams that its own ask.
    pub(crate) fn asks(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.acting.iter().filter_map(|acting| acting.filter.asks())
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
        let (proving, others) = self.acting.split_at(self.proving);
        let mut asking = Asking { context, lent, observer, absent: Vec::new(), tried: Tried::default() };
        for acting in proving {
            if let Some(answer) = asking.ask(acting).await? {
                return Ok(Some(answer));
            }
        }
        asking.judge()?;
        self.join(asking.context, lent)?;
        for acting in in_line(others, lent.joined.of(self.address()), asking.context) {
            if let Some(answer) = asking.ask(acting).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    // The policies of whoever calls join in, unless they joined others before.
    fn join(&self, context: &Context, lent: Lent<'_>) -> Result<(), Error> {
        if lent.joined.is_set() {
            return Ok(());
        }
        if let Some(policies) = context.consumer().and_then(|consumer| consumer.policies.clone()) {
            lent.joined.set(self.address(), lent.personal.find(&policies)?);
        }
        Ok(())
    }

    /// Whether one of them judges bodies.
    pub(crate) fn judges_bodies(&self, joined: &Joined) -> bool {
        let last = |filters: &Filters| filters.acting.last().is_some_and(|acting| acting.stage == Stage::Body);
        last(self) || joined.of(self.address()).is_some_and(last)
    }

    /// Has the body judged, after all let the request pass; what comes back is to be sent on.
    pub(crate) async fn body(
        &self,
        context: &mut Context,
        joined: &Joined,
        mut body: RequestBody,
        reading: Reading<'_>,
    ) -> Result<RequestBody, Error> {
        for acting in in_line(&self.acting, joined.of(self.address()), context) {
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
    pub(crate) fn response(&self, context: &Context, joined: &Joined, headers: &mut HeaderMap) {
        #[cfg(test)]
        super::tests::panic_if_asked(context, "response");
        for acting in self.acting(context, joined).rev().filter(|acting| !acting.shadow) {
            acting.filter.response(context, headers);
        }
    }

    // It cannot be another's while a request holds the route.
    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

// Those of a route or an upstream and those of a consumer, but for kinds that the route does without.
fn in_line<'f>(
    acting: &'f [Acting],
    joined: Option<&'f Filters>,
    context: &Context,
) -> impl DoubleEndedIterator<Item = &'f Acting> + use<'f> {
    let joined = joined.map_or(&[][..], |joined| &joined.acting);
    let routed = context.routed.clone().filter(|_| !joined.is_empty());
    let holds = move |acting: &&Acting| {
        let disabled = routed.as_ref().is_some_and(|routed| routed.disabled.contains(&acting.kind));
        !(disabled && acting.place == Place::Consumer)
    };
    merged(acting, joined, |acting| (acting.stage, acting.place)).filter(holds)
}

// === impl Asking ===

impl<'f, O: Observer> Asking<'f, '_, O> {
    async fn ask(&mut self, acting: &'f Acting) -> Result<Option<Answer>, Error> {
        if !self.observer.asks(acting) {
            return Ok(None);
        }
        // Hardly ever needed, and so no part of what every request waits with.
        let before = acting.shadow.then(|| Box::new(self.tried.begin(self.context)));
        let said = match acting.filter.request(self.context, self.lent) {
            Verdict::Now(said) => said,
            Verdict::Wait(asking) => asking.await,
        };
        if let Some(before) = before {
            self.tried.end(*before, self.context);
        }
        self.observer.heard(acting, &said);
        match said {
            Said::Continue => {}
            Said::Absent(challenge) => self.absent.push((acting, challenge)),
            Said::Refuse(refusal) => acting.refuse(refusal, self.context)?,
            Said::Answer(_) if acting.shadow => {}
            Said::Answer(answer) => return Ok(Some(*answer)),
        }
        Ok(None)
    }

    // Whether somebody is known, or nobody has to be.
    fn judge(&mut self) -> Result<(), Error> {
        if self.absent.is_empty() || self.context.principals.is_known() {
            self.absent.clear();
            return Ok(());
        }
        let (on_trial, in_force): (Vec<_>, Vec<_>) = self.absent.drain(..).partition(|(acting, _)| acting.shadow);
        if let Some((acting, _)) = on_trial.first()
            && !self.tried.is_known()
        {
            acting.refuse(Box::new(Refusal::unauthenticated([])), self.context)?;
        }
        let Some((acting, _)) = in_force.first() else { return Ok(()) };
        let acting = *acting;
        let challenges = in_force.into_iter().map(|(_, Challenge(value))| value);
        acting.refuse(Box::new(Refusal::unauthenticated(challenges)), self.context)
    }
}

// === impl Acting ===

impl Acting {
    fn refuse(&self, refusal: Box<Refusal>, context: &mut Context) -> Result<(), Error> {
        self.decide(Error::Denied(refusal), context)
    }

    // It is on record; tried out, it is not more than that.
    fn decide(&self, error: Error, context: &mut Context) -> Result<(), Error> {
        let Acting { policy, kind, shadow, .. } = self;
        let made = if *shadow { Made::Shadowed } else { Made::Refused };
        context.decisions.push(Decision { policy: policy.clone(), kind, reason: error.reason(), made });
        if *shadow { Ok(()) } else { Err(error) }
    }
}
