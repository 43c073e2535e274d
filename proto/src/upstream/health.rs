//! How endpoints are judged, checked: by checks, by what requests to them come to, and what happens when few are left.

use super::duration;
use crate::{fields::authority, invalid::Faults, pb};
use http::{HeaderValue, StatusCode, uri::PathAndQuery};
use std::time::Duration;

/// The most statuses in one list.
const MAX_STATUSES: usize = 16;
/// Checks do not come closer together.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// How each node checks endpoints by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// The time between two checks of an endpoint.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// How many in a row have to pass before it takes traffic again.
    pub healthy_threshold: u32,
    /// How many in a row have to fail before it takes none.
    pub unhealthy_threshold: u32,
    /// The port that is checked; `None`: the endpoint's own.
    pub port: Option<u16>,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// For a path.
    Http(HttpProbe),
    /// For a connection.
    Tcp,
    /// By the gRPC health protocol, for a service.
    Grpc(String),
}

/// A check that asks for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Path and query.
    pub path: PathAndQuery,
    /// The Host; `None`: the endpoint's address.
    pub host: Option<HeaderValue>,
    /// The statuses that pass; empty: 200 to 299.
    pub statuses: Vec<StatusCode>,
}

/// When an endpoint gets no requests for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures in a row, at least one.
    pub consecutive_failures: u32,
    /// Which answers are failures.
    pub answers: CountedAnswers,
    /// For so long at first.
    pub base: Duration,
    /// And at most.
    pub max: Duration,
    /// How many endpoints at once, in percent.
    pub max_share: u32,
}

/// Answers that count as failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedAnswers {
    /// None.
    None,
    /// 502, 503 and 504.
    Gateway,
    /// 500 to 599.
    Server,
}

/// What happens when too few endpoints are healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllDown {
    /// All take traffic while less than so many percent are healthy, or none.
    UseAll {
        /// The share.
        below: u32,
    },
    /// Requests fail while none is healthy.
    Fail,
}

// === impl HealthCheck ===

impl HealthCheck {
    pub(super) fn check(message: &pb::HealthCheck, faults: &mut Faults) -> Option<HealthCheck> {
        use pb::health_check::Kind;
        let probe = match &message.kind {
            None => {
                faults.note("say what is checked: `http`, `tcp` or `grpc`, as in {http: {path: \"/healthz\"}}");
                None
            }
            Some(Kind::Http(http)) => faults.at("http", |faults| HttpProbe::check(http, faults)).map(Probe::Http),
            Some(Kind::Tcp(pb::TcpCheck {})) => Some(Probe::Tcp),
            Some(Kind::Grpc(grpc)) => {
                if grpc.service.len() > 255 {
                    faults.at("grpc", |faults| faults.note_at("service", "a service has at most 255 characters"));
                }
                Some(Probe::Grpc(grpc.service.clone()))
            }
        };
        let interval = duration("interval", &message.interval, faults).unwrap_or(Duration::from_secs(5));
        if interval < MIN_INTERVAL {
            faults.note_at("interval", "checks come at least 100ms apart");
        }
        let timeout = duration("timeout", &message.timeout, faults).unwrap_or(Duration::from_secs(1));
        let mut threshold = |field: &str, given: Option<u32>, default| {
            let threshold = given.unwrap_or(default);
            if !(1..=10).contains(&threshold) {
                faults.note_at(field, "a threshold is 1 to 10");
            }
            threshold
        };
        let healthy_threshold = threshold("healthy_threshold", message.healthy_threshold, 2);
        let unhealthy_threshold = threshold("unhealthy_threshold", message.unhealthy_threshold, 3);
        let port = message.port.map(u16::try_from);
        if matches!(port, Some(Err(_) | Ok(0))) {
            faults.note_at("port", "a port is 1 to 65535");
        }
        let port = port.and_then(Result::ok);
        Some(HealthCheck { probe: probe?, interval, timeout, healthy_threshold, unhealthy_threshold, port })
    }
}

// === impl HttpProbe ===

impl HttpProbe {
    fn check(message: &pb::HttpCheck, faults: &mut Faults) -> Option<HttpProbe> {
        let path = faults.at("path", |faults| match message.path.as_str() {
            "" => Some(PathAndQuery::from_static("/")),
            text => faults.take(path(text)),
        });
        let host = faults.at("host", |faults| match message.host.as_str() {
            "" => None,
            text => faults.take(authority(text)),
        });
        let statuses = check_statuses("statuses", &message.statuses, faults);
        Some(HttpProbe { path: path?, host, statuses })
    }

    /// Whether an answer of that status passes.
    pub fn passes(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() { status.is_success() } else { self.statuses.contains(&status) }
    }
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    let parsed = PathAndQuery::try_from(text).ok().filter(|_| text.starts_with('/') && !text.contains('#'));
    parsed.ok_or_else(|| format!("{text:?} is not a path, as in \"/healthz\""))
}

/// A list of statuses of answers.
pub(super) fn check_statuses(field: &str, statuses: &[u32], faults: &mut Faults) -> Vec<StatusCode> {
    faults.at(field, |faults| {
        if statuses.len() > MAX_STATUSES {
            faults.note(format!("at most {MAX_STATUSES} statuses can be given"));
        }
        let status = |(at, status): (usize, &u32)| {
            let code = u16::try_from(*status).ok().filter(|code| (200..=599).contains(code));
            let code = code.and_then(|code| StatusCode::from_u16(code).ok());
            faults.at(at, |faults| faults.take(code.ok_or_else(|| format!("{status} is not a status; use 200 to 599"))))
        };
        statuses.iter().enumerate().filter_map(status).collect()
    })
}

// === impl Ejection ===

impl Ejection {
    pub(super) fn check(message: Option<&pb::Ejection>, faults: &mut Faults) -> Option<Ejection> {
        let default = pb::Ejection::default();
        let message = message.unwrap_or(&default);
        let consecutive_failures = message.consecutive_failures.unwrap_or(5);
        if consecutive_failures > 1000 {
            faults.note_at("consecutive_failures", "at most 1000 failures eject; 0 never does");
        }
        let answers = CountedAnswers::check(message.answers.as_ref());
        let base = duration("base", &message.base, faults).unwrap_or(Duration::from_secs(10));
        let max = duration("max", &message.max, faults).unwrap_or(Duration::from_secs(300).max(base));
        if max < base {
            faults.note_at("max", "the longest time is not shorter than `base`");
        }
        let max_share = message.max_share.unwrap_or(50);
        if max_share > 100 {
            faults.note_at("max_share", "a share is 0 to 100 percent");
        }
        let ejection = Ejection { consecutive_failures, answers, base, max, max_share };
        Some(ejection).filter(|ejection| ejection.consecutive_failures > 0)
    }

    /// How many of so many endpoints may be ejected at once.
    pub fn most(&self, endpoints: usize) -> usize {
        let share = (endpoints * self.max_share as usize).div_ceil(100);
        share.min(endpoints.saturating_sub(1))
    }

    /// How long the ejection lasts that follows so many others.
    pub fn time(&self, before: u32) -> Duration {
        self.base.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(self.max)
    }
}

// === impl CountedAnswers ===

impl CountedAnswers {
    pub(super) fn check(message: Option<&pb::CountedAnswers>) -> CountedAnswers {
        use pb::counted_answers::Kind;
        match message.and_then(|answers| answers.kind.as_ref()) {
            Some(Kind::None(pb::NoAnswers {})) => CountedAnswers::None,
            None | Some(Kind::Gateway(pb::GatewayErrors {})) => CountedAnswers::Gateway,
            Some(Kind::Server(pb::ServerErrors {})) => CountedAnswers::Server,
        }
    }

    /// Whether an answer of that status is a failure.
    pub fn count(self, status: StatusCode) -> bool {
        match self {
            CountedAnswers::None => false,
            CountedAnswers::Gateway => matches!(status.as_u16(), 502..=504),
            CountedAnswers::Server => status.is_server_error(),
        }
    }
}

// === impl AllDown ===

impl AllDown {
    pub(super) fn check(message: Option<&pb::AllDown>, faults: &mut Faults) -> AllDown {
        use pb::all_down::Kind;
        match message.and_then(|message| message.kind.as_ref()) {
            None => AllDown::UseAll { below: 0 },
            Some(Kind::UseAll(use_all)) => {
                let below = use_all.below.unwrap_or(0);
                if below > 100 {
                    faults.at("use_all", |faults| faults.note_at("below", "a share is 0 to 100 percent"));
                }
                AllDown::UseAll { below }
            }
            Some(Kind::Fail(pb::Fail {})) => AllDown::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_is_never_ejected() {
        let most = |share, endpoints| {
            let message = pb::Ejection { max_share: Some(share), ..Default::default() };
            Ejection::check(Some(&message), &mut Faults::default()).unwrap().most(endpoints)
        };
        for (share, endpoints, expect) in
            [(50, 0, 0), (50, 1, 0), (50, 2, 1), (50, 3, 2), (50, 4, 2), (100, 4, 3), (0, 4, 0), (1, 1000, 10)]
        {
            assert_eq!(most(share, endpoints), expect, "{share} % of {endpoints}");
        }
    }

    #[test]
    fn ejections_grow_up_to_the_longest() {
        let ejection = Ejection::check(None, &mut Faults::default()).unwrap();
        let seconds = |before| ejection.time(before).as_secs();
        assert_eq!([0, 1, 2, 5, 31, 32, 1000].map(seconds), [10, 20, 40, 300, 300, 300, 300]);
    }

    #[test]
    fn all_faults_of_judging_have_their_places() {
        let check = pb::HealthCheck {
            kind: Some(pb::health_check::Kind::Http(pb::HttpCheck {
                path: "healthz".into(),
                host: "a b".into(),
                statuses: vec![200, 99],
            })),
            interval: "1ms".into(),
            timeout: "x".into(),
            healthy_threshold: Some(0),
            unhealthy_threshold: Some(11),
            port: Some(0),
        };
        let mut faults = Faults::default();
        HealthCheck::check(&check, &mut faults);
        HealthCheck::check(&pb::HealthCheck::default(), &mut faults);
        let ejection = pb::Ejection {
            consecutive_failures: Some(1001),
            base: "2m".into(),
            max: "1m".into(),
            max_share: Some(101),
            ..Default::default()
        };
        Ejection::check(Some(&ejection), &mut faults);
        let use_all = pb::all_down::Kind::UseAll(pb::UseAll { below: Some(101) });
        AllDown::check(Some(&pb::AllDown { kind: Some(use_all) }), &mut faults);
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        let expect = [
            "/http/path",
            "/http/host",
            "/http/statuses/1",
            "/interval",
            "/timeout",
            "/healthy_threshold",
            "/unhealthy_threshold",
            "/port",
            "",
            "/consecutive_failures",
            "/max",
            "/max_share",
            "/use_all/below",
        ];
        assert_eq!(found, expect);
    }
}
