//! So many requests in a time.

use crate::{
    invalid::Faults,
    limit_key::LimitKey,
    pb, quantity,
    template::{Target, Template},
};
use std::time::Duration;

/// The most windows of one policy.
const MAX_WINDOWS: usize = 8;
/// The longest time that an empty bucket may take to fill.
const LONGEST_FILL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So many requests in a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// At least one, no two of one length; all of them have to allow a request.
    pub windows: Vec<RateWindow>,
    /// What tells clients apart.
    pub key: LimitKey,
    /// What a request counts.
    pub cost: Cost,
    /// What clients are told of it.
    pub headers: LimitHeaders,
}

/// So many in each window, and at once `burst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    /// How many.
    pub limit: u32,
    /// In which time.
    pub window: Duration,
    /// At once, after a time without any.
    pub burst: u32,
}

/// What a request counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So much.
    Fixed(u32),
    /// What it says itself, and at most so much.
    Said(Template, u32),
}

/// What clients are told of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitHeaders {
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.
    Separate,
    /// `RateLimit-Policy` and `RateLimit`.
    Structured,
    /// Nothing but when to come again.
    Off,
}

impl RateLimit {
    pub(super) fn check(message: &pb::RateLimit, faults: &mut Faults) -> Option<RateLimit> {
        let before = faults.count();
        let windows = check_windows(message, faults);
        let key = LimitKey::check(&message.key, message.skip_missing, faults);
        let cost = check_cost(message, faults);
        if let (Some(Cost::Fixed(most) | Cost::Said(_, most)), Some(burst)) =
            (&cost, windows.iter().map(|window| window.burst).min())
            && *most > burst
        {
            let field = if message.cost > 0 { "cost" } else { "cost_from/max" };
            faults.note_at(field, format!("a request that counts {most} would never pass a burst of {burst}"));
        }
        let headers = match message.headers.as_ref().and_then(|headers| headers.kind.as_ref()) {
            None => LimitHeaders::Separate,
            Some(pb::rate_limit_headers::Kind::Structured(_)) => LimitHeaders::Structured,
            Some(pb::rate_limit_headers::Kind::Off(_)) => LimitHeaders::Off,
        };
        let cost = cost.filter(|_| faults.count() == before)?;
        Some(RateLimit { windows, key, cost, headers })
    }
}

fn check_windows(message: &pb::RateLimit, faults: &mut Faults) -> Vec<RateWindow> {
    if message.limits.is_empty() {
        let only = pb::RateLimitWindow { limit: message.limit, window: message.window.clone(), burst: message.burst };
        return check_window(&only, faults).into_iter().collect();
    }
    if message.limit > 0 || !message.window.is_empty() || message.burst > 0 {
        faults.note_at("limits", "give either `limit` and `window`, or `limits`");
    }
    if message.limits.len() > MAX_WINDOWS {
        faults.note_at("limits", format!("at most {MAX_WINDOWS} can be given"));
    }
    faults.at("limits", |faults| {
        let mut windows: Vec<RateWindow> = Vec::new();
        for (at, window) in message.limits.iter().enumerate() {
            let Some(window) = faults.at(at, |faults| check_window(window, faults)) else { continue };
            if windows.iter().any(|other| other.window == window.window) {
                let length = quantity::write(window.window);
                faults.note_at(at, format!("there is another limit in {length}; only the smaller would count"));
            }
            windows.push(window);
        }
        windows
    })
}

fn check_window(message: &pb::RateLimitWindow, faults: &mut Faults) -> Option<RateWindow> {
    let pb::RateLimitWindow { limit, ref window, burst } = *message;
    if limit == 0 {
        faults.note_at("limit", "say how many requests may pass in each window, as in 100");
    }
    let window = faults.at("window", |faults| match window.as_str() {
        "" => {
            faults.note("say in which time, as in \"1s\" or \"1m\"");
            None
        }
        text => faults.take(quantity::duration(text)),
    })?;
    let burst = if burst == 0 { limit } else { burst };
    if limit > 0 && window.as_micros() < u128::from(limit) {
        faults.note_at("limit", "more than a million in a second cannot be counted");
    }
    if limit > 0 && window.as_nanos() * u128::from(burst) > LONGEST_FILL.as_nanos() * u128::from(limit) {
        faults.note_at("burst", "it would take more than 30 days until as much may be had again");
    }
    (limit > 0).then_some(RateWindow { limit, window, burst })
}

fn check_cost(message: &pb::RateLimit, faults: &mut Faults) -> Option<Cost> {
    let Some(said) = &message.cost_from else { return Some(Cost::Fixed(message.cost.max(1))) };
    if message.cost > 0 {
        faults.note_at("cost_from", "give either `cost` or `cost_from`");
    }
    faults.at("cost_from", |faults| {
        let template = Template::parse(&said.value, Target::HeaderValue, None);
        let template = faults.at("value", |faults| {
            let template = faults.take(template)?;
            if template.as_literal().is_some() {
                faults.note("without a reference, as {query.size}, all requests count the same; give `cost`");
            }
            Some(template)
        });
        if said.max == 0 {
            faults.note_at("max", "say what a request counts at most, whatever it says");
        }
        Some(Cost::Said(template?, said.max))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: pb::RateLimit) -> Result<RateLimit, Vec<String>> {
        let mut faults = Faults::default();
        let checked = RateLimit::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(checked.unwrap()) } else { Err(found) }
    }

    fn window(limit: u32, window: &str, burst: u32) -> pb::RateLimitWindow {
        pb::RateLimitWindow { limit, window: window.into(), burst }
    }

    fn one(limit: u32, window: &str, burst: u32) -> pb::RateLimit {
        pb::RateLimit { limit, window: window.into(), burst, ..Default::default() }
    }

    fn cost_from(value: &str, max: u32) -> Option<pb::CostFrom> {
        Some(pb::CostFrom { value: value.into(), max })
    }

    #[test]
    fn a_limit_is_one_window_or_several() {
        let limit = check(one(100, "1s", 0)).unwrap();
        assert_eq!(limit.windows, [RateWindow { limit: 100, window: Duration::from_secs(1), burst: 100 }]);
        assert_eq!((limit.cost, limit.headers), (Cost::Fixed(1), LimitHeaders::Separate));
        let limits = vec![window(10, "1s", 20), window(1000, "1h", 0)];
        let limit = check(pb::RateLimit { limits, cost_from: cost_from("{query.n}", 20), ..Default::default() });
        let windows: Vec<_> = limit.unwrap().windows.iter().map(|window| window.burst).collect();
        assert_eq!(windows, [20, 1000]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        for (message, expect) in [
            (one(0, "", 0), vec!["/limit: say how many", "/window: say in which time"]),
            (one(1, "1d", 0), vec!["/window: \"1d\" is not a duration"]),
            (one(2_000_000, "1s", 0), vec!["/limit: more than a million"]),
            (one(1, "24h", 31), vec!["/burst: it would take more than 30 days"]),
            (pb::RateLimit { cost: 6, ..one(10, "1s", 5) }, vec!["/cost: a request that counts 6"]),
            (
                pb::RateLimit { cost: 1, cost_from: cost_from("{query.n}", 9), ..one(8, "1s", 0) },
                vec!["/cost_from: give either", "/cost: a request that counts 9"],
            ),
            (
                pb::RateLimit { cost_from: cost_from("7", 0), ..one(8, "1s", 0) },
                vec!["/cost_from/value: without a reference", "/cost_from/max: say what"],
            ),
            (
                pb::RateLimit { limits: vec![window(1, "1s", 0), window(2, "1000ms", 0)], ..one(1, "", 0) },
                vec!["/limits: give either", "/limits/1: there is another limit in 1s"],
            ),
        ] {
            let found = check(message).unwrap_err();
            assert!(found.len() == expect.len(), "{found:?}");
            assert!(found.iter().zip(expect).all(|(found, expect)| found.starts_with(expect)), "{found:?}");
        }
    }
}
