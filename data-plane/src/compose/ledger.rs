//! What was done for a composition, for the record of its request: every call, and how each part ended. What is under way
//! when the client leaves is in it too.

use super::reason::Reason;
use crate::{context::Decision, pool::Attempts};
use http::Method;
use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    calls: RefCell<Vec<Called>>,
    ended: RefCell<Vec<Ended>>,
    variant: Cell<Option<usize>>,
}

/// A call of a part.
#[derive(Debug)]
pub(crate) struct Called {
    /// The part.
    pub(crate) part: usize,
    /// How it was asked.
    pub(crate) method: Method,
    /// Whom, and what came of it.
    pub(crate) attempts: Attempts,
    /// When its answer was there, or it was given up.
    pub(crate) ended: Instant,
    /// What policies of the upstream said of it.
    pub(crate) decisions: Vec<Decision>,
}

/// How a part ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// The part.
    pub(crate) part: usize,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether it is in the answer.
    pub(crate) state: State,
}

/// Whether a part is in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is.
    Whole,
    /// Some of its elements are not.
    Partial(Reason),
    /// Something else is in its place.
    Fallback(Reason),
    /// It is not.
    Missing(Reason),
    /// There is no answer without it.
    Failed(Reason),
}

/// A call that is under way; dropped, it is in the ledger.
pub(super) struct Entry<'l> {
    ledger: &'l Ledger,
    // `None` once it is there.
    pub(super) called: Option<Called>,
}

// === impl Ledger ===

impl Ledger {
    /// A call begins.
    pub(super) fn begin(&self, part: usize, method: &Method) -> Entry<'_> {
        let called = Called {
            part,
            method: method.clone(),
            attempts: Attempts::default(),
            ended: Instant::now(),
            decisions: Vec::new(),
        };
        Entry { ledger: self, called: Some(called) }
    }

    /// A part ended.
    pub(super) fn end(&self, ended: Ended) {
        self.ended.borrow_mut().push(ended);
    }

    /// What is in the answer after all.
    pub(super) fn correct(&self, part: usize, state: State) {
        let mut all = self.ended.borrow_mut();
        if let Some(ended) = all.iter_mut().find(|ended| ended.part == part) {
            ended.state = state;
        }
    }

    /// How a part ended.
    pub(super) fn state(&self, part: usize) -> Option<State> {
        self.ended.borrow().iter().find(|ended| ended.part == part).map(|ended| ended.state)
    }

    /// Which variant it is for.
    pub(super) fn choose(&self, variant: Option<usize>) {
        self.variant.set(variant);
    }

    /// Which variant it was for.
    pub(crate) fn variant(&self) -> Option<usize> {
        self.variant.get()
    }

    /// The calls, in the order in which they ended.
    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.take()
    }

    /// The parts that ended, in that order.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.ended.borrow().clone()
    }
}

// === impl State ===

impl State {
    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Whole => "whole",
            State::Partial(_) => "partial",
            State::Fallback(_) => "fallback",
            State::Missing(_) => "missing",
            State::Failed(_) => "failed",
        }
    }

    /// Why it is not whole.
    pub(crate) fn reason(self) -> Option<Reason> {
        match self {
            State::Whole => None,
            State::Partial(reason) | State::Fallback(reason) | State::Missing(reason) | State::Failed(reason) => {
                Some(reason)
            }
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let Some(mut called) = self.called.take() else { return };
        called.ended = Instant::now();
        // It is not under way any more, though its record goes on.
        called.attempts.let_go();
        self.ledger.calls.borrow_mut().push(called);
    }
}
