//! So many requests at once. A request gives its seat back when it is over: its context has it, and goes with the record of
//! the request to the end of the answer's body, or of the tunnel.

use super::{Attached, Stage, counting::Counting, verdict::Verdict};
use crate::{
    context::Context,
    error::{Fault, Refusal},
    limiter::Seats,
    states::States,
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use proto::policy::ConcurrencyLimit;
use std::sync::Arc;

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ConcurrencyFilter {
    counting: Counting,
    seats: Arc<Seats>,
    limit: u32,
}

// === impl ConcurrencyFilter ===

impl ConcurrencyFilter {
    pub(super) fn build(policy: &ConcurrencyLimit, attached: &Attached<'_>, states: &States) -> ConcurrencyFilter {
        ConcurrencyFilter {
            counting: Counting::build(&policy.key, attached, states),
            seats: states.inherit("seats", String::new(), Seats::default),
            limit: policy.limit,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.counting.stage()
    }

    pub(super) fn request(&self, context: &mut Context) -> Verdict<'static> {
        let Some(key) = self.counting.key(context) else { return Verdict::CONTINUE };
        match self.seats.take(key, self.limit) {
            Some(seat) => {
                context.seats.push(seat);
                Verdict::CONTINUE
            }
            None => Verdict::refuse(Refusal {
                status: StatusCode::TOO_MANY_REQUESTS,
                fault: Fault::Client,
                reason: "too_many_at_once",
                detail: format!("only {} requests may be under way at once; wait until one is answered", self.limit)
                    .into(),
                headers: vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
            }),
        }
    }
}
