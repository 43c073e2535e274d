//! So many requests in a time. Of all limits of a request the one that leaves it least is told.

use super::{
    Attached, Stage,
    counting::{Counting, identity},
    verdict::Verdict,
};
use crate::{
    context::{Context, Values},
    error::{Fault, Refusal},
    limiter::{Allowance, Bucket, Slots, Window},
    states::States,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use proto::{
    policy::{Cost, LimitHeaders, RateLimit, RateWindow},
    quantity,
};
use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct RateLimitFilter {
    counting: Counting,
    windows: Vec<Window>,
    cost: Cost,
    telling: Telling,
    // Which window counts where: held here for the next filter of the policy.
    _slots: Arc<Slots>,
}

// What clients are told.
#[derive(Debug)]
enum Telling {
    Separate,
    // The policy, and the name of each window.
    Structured(HeaderValue, Vec<String>),
    Off,
}

// === impl RateLimitFilter ===

impl RateLimitFilter {
    pub(super) fn build(policy: &RateLimit, attached: &Attached<'_>, states: &States) -> RateLimitFilter {
        let slots = states.inherit("rate_limit", identity(attached), Slots::default);
        let bucket = |limit: &RateWindow| Bucket::new(limit.limit, limit.window, limit.burst);
        let buckets: Vec<_> = policy.windows.iter().map(|limit| (limit.window, bucket(limit))).collect();
        RateLimitFilter {
            counting: Counting::build(&policy.key, attached, states),
            windows: slots.windows(&buckets),
            cost: policy.cost.clone(),
            telling: Telling::build(policy, attached),
            _slots: slots,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.cost {
            Cost::Fixed(_) => self.counting.stage(),
            // It may be a claim.
            Cost::Said(..) => Stage::Limit,
        }
    }

    pub(super) fn request(&self, context: &mut Context) -> Verdict<'static> {
        let Some(key) = self.counting.key(context) else { return Verdict::CONTINUE };
        // Not when the request began: clients choose that, and could keep requests that seem to come from an earlier time.
        let now = Instant::now();
        let allowance = self.counting.limiter.check(key, &self.windows, self.cost(context), now);
        self.note(allowance, context);
        if allowance.allowed {
            return Verdict::CONTINUE;
        }
        let wait = seconds(allowance.retry_after);
        let mut headers = vec![(RETRY_AFTER, HeaderValue::from(wait))];
        self.telling.tell(allowance, |name, value| headers.push((name, value)));
        Verdict::refuse(Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            fault: Fault::Client,
            reason: "rate_limited",
            detail: format!("more requests came than may; come again in {wait} s").into(),
            headers,
        })
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        match self.telling {
            Telling::Separate => vec![LIMIT, REMAINING, RESET],
            Telling::Structured(..) => vec![POLICY, STATE],
            Telling::Off => Vec::new(),
        }
    }

    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        if let Some((teller, allowance)) = context.allowance
            && teller == self.address()
        {
            self.telling.tell(allowance, |name, value| drop(headers.insert(name, value)));
        }
    }

    fn cost(&self, context: &Context) -> u32 {
        match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Said(template, most) => {
                let mut said = String::new();
                match template.render(&Values::of(context), &mut said) {
                    Ok(()) => said.parse().map_or(*most, |cost: u32| cost.clamp(1, *most)),
                    Err(_) => 1,
                }
            }
        }
    }

    // The tightest of several is told.
    fn note(&self, allowance: Allowance, context: &mut Context) {
        if matches!(self.telling, Telling::Off) {
            return;
        }
        let before = context.allowance.map(|(_, before)| before);
        if before.is_none_or(|before| before.tighter(allowance) != before) {
            context.allowance = Some((self.address(), allowance));
        }
    }

    // It cannot be another's while a request holds the route.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

// === impl Telling ===

impl Telling {
    fn build(policy: &RateLimit, attached: &Attached<'_>) -> Telling {
        // Who is not limited yet should not go by it.
        if attached.policy.shadow {
            return Telling::Off;
        }
        let name = |length: Duration| match policy.windows.as_slice() {
            [_] => attached.policy.name.to_string(),
            _ => format!("{}-{}", attached.policy.name.as_str(), quantity::write(length)),
        };
        match policy.headers {
            LimitHeaders::Separate => Telling::Separate,
            LimitHeaders::Off => Telling::Off,
            LimitHeaders::Structured => {
                let mut text = String::new();
                for window in &policy.windows {
                    let comma = if text.is_empty() { "" } else { ", " };
                    // To write into a string cannot fail.
                    write!(text, "{comma}\"{}\";q={}", name(window.window), window.limit).ok();
                    // Windows are whole seconds there.
                    if window.window.subsec_nanos() == 0 {
                        write!(text, ";w={}", window.window.as_secs()).ok();
                    }
                }
                let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
                Telling::Structured(value, policy.windows.iter().map(|window| name(window.window)).collect())
            }
        }
    }

    fn tell(&self, allowance: Allowance, mut say: impl FnMut(HeaderName, HeaderValue)) {
        let Allowance { limit, remaining, reset, .. } = allowance;
        match self {
            Telling::Separate => {
                say(LIMIT, limit.into());
                say(REMAINING, remaining.into());
                say(RESET, seconds(reset).into());
            }
            Telling::Structured(policy, names) => {
                say(POLICY, policy.clone());
                let name = names.get(allowance.window).map_or("", String::as_str);
                let state = format!("\"{name}\";r={remaining};t={}", seconds(reset));
                if let Ok(state) = HeaderValue::try_from(state) {
                    say(STATE, state);
                }
            }
            Telling::Off => {}
        }
    }
}

// Rounded up: whoever comes then is not too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
