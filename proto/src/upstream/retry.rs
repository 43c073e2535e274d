//! Further tries, checked.

use super::{duration, health::check_statuses};
use crate::{invalid::Faults, pb, quantity};
use http::{Method, StatusCode};
use std::time::Duration;

/// The largest body that can be kept.
const MAX_BUFFER: u64 = 1024 * 1024;
/// The most methods that can be named.
const MAX_METHODS: usize = 16;

/// Further tries after a failed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many may follow the first.
    pub attempts: u32,
    /// After which answers.
    pub answers: RetriedAnswers,
    /// How long one may wait for its answer; `None`: as long as there is.
    pub per_try: Option<Duration>,
    /// The pause before one.
    pub back_off: BackOff,
    /// How many there may be of all requests.
    pub budget: RetryBudget,
    /// Methods that may be repeated, besides the idempotent ones.
    pub methods: Vec<Method>,
    /// The largest body that is kept to be sent again.
    pub buffer: usize,
}

/// Answers after which a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetriedAnswers {
    /// None.
    None,
    /// 502, 503 and 504.
    Gateway,
    /// These.
    Listed(Vec<StatusCode>),
}

/// How pauses grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The longest before the second try.
    pub base: Duration,
    /// The longest of all.
    pub max: Duration,
}

/// How many further tries there may be in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// In percent of the requests.
    pub share: u32,
    /// So many a second at least.
    pub min_per_second: u32,
}

// === impl Retry ===

impl Retry {
    pub(super) fn check(message: Option<&pb::Retry>, faults: &mut Faults) -> Retry {
        let default = pb::Retry::default();
        let message = message.unwrap_or(&default);
        let attempts = message.attempts.unwrap_or(1);
        if attempts > 5 {
            faults.note_at("attempts", "at most 5 tries may follow the first");
        }
        Retry {
            attempts,
            answers: faults.at("answers", |faults| RetriedAnswers::check(message.answers.as_ref(), faults)),
            per_try: duration("per_try", &message.per_try, faults),
            back_off: faults.at("back_off", |faults| BackOff::check(message.back_off.as_ref(), faults)),
            budget: faults.at("budget", |faults| RetryBudget::check(message.budget.as_ref(), faults)),
            methods: check_methods(&message.methods, faults),
            buffer: faults.at("buffer", |faults| faults.take(buffer(&message.buffer))).unwrap_or_default(),
        }
    }

    /// Whether a request of that method may be sent again although it may have arrived.
    pub fn may_repeat(&self, method: &Method) -> bool {
        is_idempotent(method) || self.methods.contains(method)
    }
}

fn buffer(text: &str) -> Result<usize, String> {
    let size = if text.is_empty() { 16 * 1024 } else { quantity::size(text)? };
    let size = usize::try_from(size).ok().filter(|_| size <= MAX_BUFFER);
    size.ok_or_else(|| format!("{text:?} is more than can be kept; the most is \"1MiB\""))
}

fn check_methods(methods: &[String], faults: &mut Faults) -> Vec<Method> {
    faults.at("methods", |faults| {
        if methods.len() > MAX_METHODS {
            faults.note(format!("at most {MAX_METHODS} methods can be named"));
        }
        let check = |(at, text): (usize, &String)| {
            let method = Method::from_bytes(text.as_bytes()).ok().filter(|method| *method != Method::CONNECT);
            let method = method.ok_or_else(|| format!("{text:?} is not a method that can be forwarded"));
            faults.at(at, |faults| faults.take(method))
        };
        methods.iter().enumerate().filter_map(check).collect()
    })
}

// RFC 9110, 9.2.2, and QUERY, which says so of itself.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::QUERY]
        .contains(method)
}

// === impl RetriedAnswers ===

impl RetriedAnswers {
    fn check(message: Option<&pb::RetriedAnswers>, faults: &mut Faults) -> RetriedAnswers {
        use pb::retried_answers::Kind;
        match message.and_then(|answers| answers.kind.as_ref()) {
            Some(Kind::None(pb::NoAnswers {})) => RetriedAnswers::None,
            None | Some(Kind::Gateway(pb::GatewayErrors {})) => RetriedAnswers::Gateway,
            Some(Kind::Listed(pb::ListedAnswers { statuses })) => faults.at("listed", |faults| {
                let listed = check_statuses("statuses", statuses, faults);
                if statuses.is_empty() {
                    faults.note_at("statuses", "list at least one status, or say `none`");
                }
                for (at, status) in statuses.iter().enumerate().filter(|(_, status)| (200..400).contains(*status)) {
                    faults
                        .at("statuses", |faults| faults.note_at(at, format!("{status} is no failure; use 400 to 599")));
                }
                RetriedAnswers::Listed(listed)
            }),
        }
    }

    /// Whether a request is tried again after an answer of that status.
    pub fn contain(&self, status: StatusCode) -> bool {
        match self {
            RetriedAnswers::None => false,
            RetriedAnswers::Gateway => matches!(status.as_u16(), 502..=504),
            RetriedAnswers::Listed(listed) => listed.contains(&status),
        }
    }
}

// === impl BackOff ===

impl BackOff {
    fn check(message: Option<&pb::BackOff>, faults: &mut Faults) -> BackOff {
        let default = pb::BackOff::default();
        let message = message.unwrap_or(&default);
        let base = duration("base", &message.base, faults).unwrap_or(Duration::from_millis(25));
        let max = duration("max", &message.max, faults).unwrap_or(Duration::from_millis(250).max(base));
        if max < base {
            faults.note_at("max", "the longest pause is not shorter than `base`");
        }
        BackOff { base, max }
    }

    /// The pause before the try that follows so many, by a number from 0 to 1 drawn at random.
    pub fn pause(self, tries: u32, random: f64) -> Duration {
        let doublings = tries.saturating_sub(1);
        self.base.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max).mul_f64(random)
    }
}

// === impl RetryBudget ===

impl RetryBudget {
    fn check(message: Option<&pb::RetryBudget>, faults: &mut Faults) -> RetryBudget {
        let share = message.and_then(|budget| budget.share).unwrap_or(20);
        if share > 100 {
            faults.note_at("share", "a share is 0 to 100 percent");
        }
        let min_per_second = message.and_then(|budget| budget.min_per_second).unwrap_or(3);
        if min_per_second > 1000 {
            faults.note_at("min_per_second", "at most 1000 a second are allowed to few requests");
        }
        RetryBudget { share, min_per_second }
    }

    /// How many further tries so many requests may have in ten seconds.
    pub fn most(self, requests: u64) -> u64 {
        (requests * u64::from(self.share) / 100).max(10 * u64::from(self.min_per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let back_off = BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) };
        let pause = |tries| back_off.pause(tries, 1.0).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 40, u32::MAX].map(pause), [25, 50, 100, 200, 250, 250, 250]);
        assert_eq!(back_off.pause(3, 0.0), Duration::ZERO);
        assert_eq!(back_off.pause(3, 0.5), Duration::from_millis(50));
    }

    #[test]
    fn a_budget_is_a_share_or_what_few_requests_may_have() {
        let budget = RetryBudget { share: 20, min_per_second: 3 };
        assert_eq!([0, 100, 150, 151, 160, 10_000].map(|n| budget.most(n)), [30, 30, 30, 30, 32, 2_000]);
        assert_eq!(RetryBudget { share: 0, min_per_second: 0 }.most(1_000_000), 0);
    }

    #[test]
    fn what_is_repeated_is_idempotent_or_named() {
        let message = pb::Retry { methods: vec!["POST".into()], ..Default::default() };
        let retry = Retry::check(Some(&message), &mut Faults::default());
        assert!(retry.may_repeat(&Method::GET) && retry.may_repeat(&Method::POST));
        assert!(!retry.may_repeat(&Method::PATCH));
        assert!(retry.answers.contain(StatusCode::BAD_GATEWAY) && !retry.answers.contain(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn all_faults_of_tries_have_their_places() {
        let listed = |statuses: &[u32]| {
            let listed = pb::ListedAnswers { statuses: statuses.to_vec() };
            Some(pb::RetriedAnswers { kind: Some(pb::retried_answers::Kind::Listed(listed)) })
        };
        let message = pb::Retry {
            attempts: Some(6),
            answers: listed(&[503, 200, 600]),
            per_try: "soon".into(),
            back_off: Some(pb::BackOff { base: "1s".into(), max: "1ms".into() }),
            budget: Some(pb::RetryBudget { share: Some(101), min_per_second: Some(1001) }),
            methods: vec!["POST".into(), "NO METHOD".into(), "CONNECT".into()],
            buffer: "2MiB".into(),
        };
        let mut faults = Faults::default();
        Retry::check(Some(&message), &mut faults);
        Retry::check(Some(&pb::Retry { answers: listed(&[]), ..Default::default() }), &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        let expect = [
            "/attempts",
            "/answers/listed/statuses/2",
            "/answers/listed/statuses/1",
            "/per_try",
            "/back_off/max",
            "/budget/share",
            "/budget/min_per_second",
            "/methods/1",
            "/methods/2",
            "/buffer",
            "/answers/listed/statuses",
        ];
        assert_eq!(found, expect);
    }
}
