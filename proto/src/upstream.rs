//! Upstreams, checked.

mod balance;
mod endpoint;
mod health;
mod protection;
mod protocol;
mod retry;
mod sticky;
mod tls;

pub use balance::{Balance, ConsistentHash};
pub use endpoint::{Address, Dns, Endpoint, Place};
pub use health::{AllDown, CountedAnswers, Ejection, HealthCheck, HttpProbe, Probe};
pub use protection::{CircuitBreaker, Concurrency};
pub use protocol::Protocol;
pub use retry::{BackOff, RetriedAnswers, Retry, RetryBudget};
pub use sticky::{StickyCookie, StickySecret};
pub use tls::{MinVersion, Trust, UpstreamTls};

use crate::{
    fields::{check_labels, check_name},
    invalid::Faults,
    name::Name,
    pb,
    policy::Attachment,
    quantity,
};
use std::{collections::BTreeMap, time::Duration};

/// The servers behind a name, and how they are called.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen.
    pub balance: Balance,
    /// Deadlines of a call.
    pub timeouts: Timeouts<Duration>,
    /// Further tries after a failed one.
    pub retry: Retry,
    /// How many requests a node has under way at once; `None`: as many as come.
    pub concurrency: Option<Concurrency>,
    /// When the upstream gets no requests for a while; `None`: never.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// The most connections between one node and one endpoint.
    pub max_connections: u32,
    /// How long a connection may stay unused.
    pub idle_connection: Duration,
    /// Policies of every call.
    pub policies: Vec<Attachment>,
    /// TLS towards the endpoints; `None`: cleartext.
    pub tls: Option<UpstreamTls>,
    /// What is spoken with the endpoints.
    pub protocol: Protocol,
    /// How each node checks the endpoints by itself.
    pub health_check: Option<HealthCheck>,
    /// When an endpoint gets no requests for a while; `None`: never.
    pub ejection: Option<Ejection>,
    /// What happens when too few endpoints are healthy.
    pub all_down: AllDown,
    /// How names are resolved.
    pub dns: Dns,
    /// Endpoints of the next priority take traffic while less than so many percent of those before are healthy.
    pub failover_below: u32,
    /// How long it takes an endpoint that is new or was down to get all of its share; `None`: no time.
    pub slow_start: Option<Duration>,
}

/// Deadlines of a call: `Duration` where they are whole, `Option<Duration>` where they override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts<T> {
    /// Until the connection stands.
    pub connect: T,
    /// From the request's end until the response's headers are there.
    pub response: T,
    /// The longest silence within a body.
    pub idle: T,
}

/// The shortest slow start.
const MIN_SLOW_START: Duration = Duration::from_millis(100);

/// Deadlines where none were given.
pub const DEFAULT_TIMEOUTS: Timeouts<Duration> =
    Timeouts { connect: Duration::from_secs(1), response: Duration::from_secs(15), idle: Duration::from_secs(60) };

// === impl Upstream ===

impl Upstream {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Upstream, faults: &mut Faults) -> Option<Upstream> {
        let name = check_name(&message.name, faults);
        check_labels(&message.labels, faults);
        let endpoints = Endpoint::check_list(&message.endpoints, faults);
        let balance = faults.at("balance", |faults| Balance::check(message, faults));
        let timeouts = Timeouts::check(message.timeouts.as_ref(), faults).over(DEFAULT_TIMEOUTS);
        let retry = faults.at("retry", |faults| Retry::check(message.retry.as_ref(), faults));
        let concurrency = message.concurrency.as_ref();
        let concurrency =
            concurrency.map(|concurrency| faults.at("concurrency", |faults| Concurrency::check(concurrency, faults)));
        let circuit_breaker = message.circuit_breaker.as_ref();
        let circuit_breaker = circuit_breaker
            .map(|breaker| faults.at("circuit_breaker", |faults| CircuitBreaker::check(breaker, faults)));
        let (max_connections, idle_connection) = faults.at("connections", |faults| {
            let connections = message.connections.clone().unwrap_or_default();
            let max = connections.max.unwrap_or(1024);
            if max == 0 || max > 65_535 {
                faults.note_at("max", "1 to 65535 connections can stand");
            }
            (max, duration("idle", &connections.idle, faults).unwrap_or(Duration::from_secs(60)))
        });
        let policies = Attachment::check_list(&message.policies, faults);
        let protocol = Protocol::check(message.protocol.as_ref(), faults);
        let tls = message.tls.as_ref().map(|tls| UpstreamTls::check(tls, &endpoints, faults));
        let health_check = message.health_check.as_ref();
        let health_check =
            health_check.and_then(|check| faults.at("health_check", |faults| HealthCheck::check(check, faults)));
        let ejection = faults.at("ejection", |faults| Ejection::check(message.ejection.as_ref(), faults));
        let all_down = faults.at("all_down", |faults| AllDown::check(message.all_down.as_ref(), faults));
        let dns = faults.at("dns", |faults| Dns::check(message.dns.as_ref(), faults));
        let failover_below = message.failover.as_ref().and_then(|failover| failover.below).unwrap_or(50);
        if !(1..=100).contains(&failover_below) {
            faults.at("failover", |faults| faults.note_at("below", "a share is 1 to 100 percent"));
        }
        let slow_start = message.slow_start.as_ref().map(|slow_start| {
            faults.at("slow_start", |faults| {
                let window = duration("window", &slow_start.window, faults).unwrap_or(Duration::from_secs(30));
                if window < MIN_SLOW_START {
                    faults.note_at("window", "nothing grows in less than 100ms");
                }
                window
            })
        });
        let labels = message.labels.clone();
        Some(Upstream {
            name: name?,
            labels,
            endpoints,
            balance,
            timeouts,
            retry,
            concurrency,
            circuit_breaker,
            max_connections,
            idle_connection,
            policies,
            tls,
            protocol,
            health_check,
            ejection,
            all_down,
            dns,
            failover_below,
            slow_start,
        })
    }
}

// === impl Timeouts ===

impl Timeouts<Option<Duration>> {
    /// Checks the field `timeouts`.
    pub(crate) fn check(message: Option<&pb::Timeouts>, faults: &mut Faults) -> Self {
        let default = pb::Timeouts::default();
        let message = message.unwrap_or(&default);
        faults.at("timeouts", |faults| Timeouts {
            connect: duration("connect", &message.connect, faults),
            response: duration("response", &message.response, faults),
            idle: duration("idle", &message.idle, faults),
        })
    }

    /// These where they are given, else the others.
    pub fn over(self, others: Timeouts<Duration>) -> Timeouts<Duration> {
        Timeouts {
            connect: self.connect.unwrap_or(others.connect),
            response: self.response.unwrap_or(others.response),
            idle: self.idle.unwrap_or(others.idle),
        }
    }
}

fn duration(field: &str, text: &str, faults: &mut Faults) -> Option<Duration> {
    match text {
        "" => None,
        text => faults.at(field, |faults| faults.take(quantity::duration(text))),
    }
}
