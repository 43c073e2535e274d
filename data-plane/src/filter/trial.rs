//! A policy that is tried out sees the request as it would if it were in force, and leaves it as it was: what it takes out of
//! the request, puts into it or proves of its client is undone, so that to try a policy out changes nothing but records.
//!
//! What one policy on trial proves, others on trial go by, and nobody in force does. Two things stay: a seat among those
//! that are counted at once, and that a value is for no log.

use crate::{
    context::Context,
    principal::{Principal, Principals},
};
use http::{HeaderMap, uri::PathAndQuery};
use std::rc::Rc;

/// Whom policies on trial have proven, of one request.
#[derive(Debug, Default)]
pub(super) struct Tried(Vec<Rc<Principal>>);

/// The request as it was before a policy on trial was asked.
#[derive(Debug)]
pub(super) struct Before {
    headers: HeaderMap,
    target: PathAndQuery,
    principals: Principals,
}

// === impl Tried ===

impl Tried {
    /// A policy on trial is asked next.
    pub(super) fn begin(&self, context: &mut Context) -> Before {
        let before = Before {
            headers: context.headers.clone(),
            target: context.target.clone(),
            principals: context.principals.clone(),
        };
        self.0.iter().for_each(|principal| context.principals.add(principal.clone()));
        before
    }

    /// It was asked.
    pub(super) fn end(&mut self, before: Before, context: &mut Context) {
        let Before { mut headers, target, principals } = before;
        for (name, value) in headers.iter_mut() {
            let left = context.headers.get(name);
            if left.is_none_or(|value| value.is_sensitive()) {
                value.set_sensitive(true);
            }
        }
        self.0 = context.principals.iter().skip(principals.iter().count()).cloned().collect();
        (context.headers, context.target, context.principals) = (headers, target, principals);
    }

    /// Whether anybody is proven, by whomever.
    pub(super) fn is_known(&self) -> bool {
        !self.0.is_empty()
    }
}
