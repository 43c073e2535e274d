//! The run of a composition: every part begins as soon as what it uses is there, all of them in the task of the request.
//! When the client leaves, that ends, and with it every call.

use super::{
    answer::answer,
    each::ask_each,
    ledger::{Ended, Ledger, State},
    part::{ask, due, prepare},
    plan::{Part, Plan, Set},
    reason::Reason,
    value::{Alone, Found, Given, Offer, Slot, Value},
    variant::holds,
};
use crate::{
    context::{Answer, Context, Peer, Values},
    error::{Error, PartFailure},
    filter,
    pool::{LocalPool, Upstreams},
};
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, StatusCode};
use proto::compose::{Need, StatusRule};
use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    time::{Duration, Instant},
};

/// The most bytes that the parts of one request may have together.
const MAX_HELD: usize = 64 * 1024 * 1024;

/// What a worker lends to a run.
pub(crate) struct Lent<'r> {
    /// What it has of upstreams.
    pub(crate) upstreams: &'r Upstreams,
    /// On whose behalf.
    pub(crate) peer: &'r Rc<Peer>,
    /// The request.
    pub(crate) context: &'r Context,
    /// What it offers to templates.
    pub(crate) values: Values<'r>,
    /// What filters get while they are asked.
    pub(crate) filters: filter::Lent<'r>,
    /// The upstreams of the parts, in their order.
    pub(crate) pools: &'r [Rc<LocalPool>],
    /// The longest silence within a body.
    pub(crate) idle: Duration,
    /// Where it is written what was done.
    pub(crate) ledger: &'r Ledger,
    /// How many bytes the parts have.
    pub(crate) held: Cell<usize>,
}

/// A run.
pub(super) struct Run<'r> {
    pub(super) plan: &'r Plan,
    /// What each part came to, once it did.
    pub(super) slots: Vec<OnceCell<Slot>>,
}

// What a part came to: its value, its headers, and why some of its elements are missing.
type Outcome = Result<(Value, HeaderMap, Option<Reason>), Reason>;

/// Answers a request.
pub(crate) async fn run(plan: &Plan, lent: &Lent<'_>) -> Result<Answer, Error> {
    let variant = choose(plan, &lent.values);
    lent.ledger.choose(variant);
    let variant = variant.and_then(|at| plan.variants.get(at));
    let skip = variant.map_or(Set::default(), |variant| variant.skip);
    check(plan, &lent.values, skip)?;
    let run = Run { plan, slots: plan.parts.iter().map(|_| OnceCell::new()).collect() };
    run.ask_all(lent, skip).await?;
    answer(&run, lent, variant)
}

/// Which variant it is for, if any.
pub(super) fn choose(plan: &Plan, values: &Values<'_>) -> Option<usize> {
    plan.variants.iter().position(|variant| holds(&variant.when, values))
}

/// What the client sent can stand where it goes, in every call: nobody is asked for half of an answer.
pub(super) fn check(plan: &Plan, values: &Values<'_>, skip: Set) -> Result<(), Error> {
    let alone = Alone(values);
    let parts = plan.parts.iter().enumerate().filter(|(at, part)| !skip.has(*at) && part.uses_request);
    for (_, part) in parts {
        prepare(part.call(), &alone, values.context()).map_err(Error::Call)?;
    }
    Ok(())
}

// === impl Run ===

impl<'r> Run<'r> {
    /// What a part came to, if it did.
    pub(super) fn value(&self, part: usize) -> Option<&Value> {
        self.slots.get(part)?.get()?.value.as_ref()
    }

    async fn ask_all(&self, lent: &Lent<'_>, skip: Set) -> Result<(), Error> {
        let deadline = Instant::now() + self.plan.deadline;
        let (mut begun, mut done) = (skip, Set::default());
        let mut asking: FuturesUnordered<LocalBoxFuture<'_, (usize, Instant, Outcome)>> = FuturesUnordered::new();
        loop {
            for (at, part) in self.plan.parts.iter().enumerate() {
                if !begun.has(at) && done.covers(part.uses) {
                    begun = begun.with(at);
                    asking.push(Box::pin(async move {
                        let begun = Instant::now();
                        (at, begun, self.ask(lent, (at, part), deadline).await)
                    }));
                }
            }
            let Some((at, begun, outcome)) = asking.next().await else { return Ok(()) };
            let Some((part, slot)) = self.plan.parts.get(at).zip(self.slots.get(at)) else { return Ok(()) };
            let (settled, state) = settle(part, outcome);
            lent.ledger.end(Ended { part: at, took: begun.elapsed(), state });
            slot.set(settled).ok();
            if let State::Failed(reason) = state {
                return Err(failure(part, reason));
            }
            done = done.with(at);
        }
    }

    async fn ask(&self, lent: &Lent<'_>, (at, part): (usize, &Part), deadline: Instant) -> Outcome {
        let is_missing = |used: usize| part.uses.has(used) && self.value(used).is_none();
        if (0..self.slots.len()).any(is_missing) {
            return Err(Reason::Dependency);
        }
        let until = due(part.spec.timeout, deadline);
        let (mut value, headers, partial) = match part.for_each() {
            Some(items) => {
                let (value, partial) = ask_each(self, lent, (at, part, items), until).await?;
                (value, HeaderMap::new(), partial)
            }
            None => {
                let found = Found::default();
                let offer = Offer { request: &lent.values, slots: &self.slots, found: &found, items: Given::None };
                let prepared = prepare(part.call(), &offer, lent.context).map_err(|_| Reason::Unencodable)?;
                let answered = ask((self.plan, at), lent, prepared, until).await?;
                (Value::One(answered.value), answered.headers, None)
            }
        };
        if let Some(shape) = &part.shape {
            value = value.shaped(shape).ok_or(Reason::Conflict)?;
        }
        Ok((value, headers, partial))
    }
}

// What its outcome means for the answer.
fn settle(part: &Part, outcome: Outcome) -> (Slot, State) {
    match (outcome, &part.spec.need) {
        (Ok((value, headers, partial)), _) => {
            (Slot { value: Some(value), headers }, partial.map_or(State::Whole, State::Partial))
        }
        (Err(reason), Need::Required(_)) => (Slot::default(), State::Failed(reason)),
        (Err(reason), Need::Optional) => (Slot::default(), State::Missing(reason)),
        (Err(reason), Need::Fallback(value)) => {
            (Slot { value: Some(Value::One(value.clone())), ..Slot::default() }, State::Fallback(reason))
        }
    }
}

/// There is no answer without the part.
pub(super) fn failure(part: &Part, reason: Reason) -> Error {
    let rule = |status: StatusCode, rules: &[StatusRule]| {
        rules.iter().find(|rule| rule.when.contains(&status)).map(|rule| rule.answer)
    };
    let status = match (reason, &part.spec.need) {
        (Reason::Status(status), Need::Required(rules)) => rule(status, rules),
        (Reason::Timeout, _) => Some(StatusCode::GATEWAY_TIMEOUT),
        _ => None,
    };
    Error::Part(Box::new(PartFailure {
        part: part.spec.name.clone(),
        why: reason.as_text(),
        status: status.unwrap_or(StatusCode::BAD_GATEWAY),
    }))
}

// === impl Lent ===

impl Lent<'_> {
    /// Takes room for so many bytes more; `None` where there is none.
    pub(super) fn hold(&self, bytes: usize) -> Option<()> {
        let held = self.held.get().saturating_add(bytes);
        self.held.set(held);
        (held <= MAX_HELD).then_some(())
    }
}
