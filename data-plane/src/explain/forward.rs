//! What an upstream would get, and how it would be called: the proxy's own preparation of the request, for the upstream
//! that is chosen, or for each that may be.

use super::policies::{Asked, change};
use crate::{
    context::{Context, TRACEPARENT},
    error::Error,
    pool::Affinity,
    proxy::{Answered, Sent, Visit},
    router::{Forward, RouteEntry, Router, Side},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use proto::{
    hash_key::HashKey,
    matching::Captures,
    pb::{self, explanation::Outcome, header_change::Change},
    quantity,
    route::BodyLimit,
    upstream::{Balance, Timeouts, Upstream},
};
use std::{collections::BTreeSet, time::Duration};

/// Headers whose values are other ones with each request, or on each node.
const NEW_EACH_TIME: [&str; 4] = ["x-request-id", "traceparent", "sec-websocket-key", "x-forwarded-port"];

/// What would be sent, and where.
pub(super) struct Question<'r, 'v> {
    pub(super) router: &'r Router,
    pub(super) visit: &'v Visit,
    pub(super) entry: &'r RouteEntry,
    pub(super) action: &'r Forward,
    pub(super) captures: Captures,
    /// The headers that the client sends.
    pub(super) sent: &'v HeaderMap,
    /// The largest body.
    pub(super) limit: BodyLimit,
}

// === impl Question ===

impl<'r> Question<'r, '_> {
    /// The answer; policies of upstreams join the others.
    pub(super) fn answer(&self, asked: &mut Asked<'r>, depends: &mut Vec<String>) -> Result<Outcome, Error> {
        let decided = self.visit.side(self.entry, self.action, self.captures);
        let mut upstreams = Vec::new();
        // Each of those that may be; what one of them refuses, the others may not.
        let mut refused = None;
        for (at, side) in self.action.sides.iter().enumerate() {
            let percent = match (decided, &self.action.split) {
                (Some(decided), _) if decided == at => 100,
                (None, Some(split)) => split.percent(at),
                (Some(_) | None, _) => 0,
            };
            if percent == 0 {
                continue;
            }
            match self.to(side, percent, asked, depends) {
                Ok(Ok(to)) => upstreams.push(to),
                Ok(Err(answered)) => refused = Some(Ok(super::local(answered))),
                Err(error) => refused = Some(Err(error)),
            }
        }
        if decided.is_none() {
            depends.push("chance: which upstream of the split it is".into());
        }
        match refused {
            Some(refused) if upstreams.is_empty() => refused,
            Some(_) | None => Ok(Outcome::Forward(pb::Forwarded { upstreams })),
        }
    }

    // The steps of the proxy, in their order.
    fn to(
        &self,
        side: &'r Side,
        percent: u32,
        asked: &mut Asked<'r>,
        depends: &mut Vec<String>,
    ) -> Result<Result<pb::ForwardedTo, Answered>, Error> {
        let mut context = self.visit.context.clone();
        let policies = self.router.policies_of_side(self.entry, side);
        if let Some(answer) = asked.ask(policies, Some(side.pool.name()), &mut context, depends)? {
            let body = answer.body().len();
            return Ok(Err(Answered { response: answer.map(drop), body }));
        }
        self.visit.check_body(self.limit).map_err(Error::Upload)?;
        let sent = self.visit.send(context, self.entry, (self.action, side), self.captures)?;
        let spec = side.pool.spec();
        states(spec, &sent, depends);
        let mirror = self.action.mirror.as_ref().filter(|_| sent.upgrade.is_none());
        if let Some(mirror) = mirror.filter(|mirror| mirror.spec.percent < 100) {
            depends.push(format!("chance: {} % of the requests are copied to the mirror", mirror.spec.percent));
        }
        Ok(Ok(pb::ForwardedTo {
            upstream: side.pool.name().to_string(),
            percent,
            target: sent.target.to_string(),
            host: super::text(&sent.context.headers, &header::HOST).unwrap_or_default(),
            headers: differences(self.sent, &sent.context),
            upgrade: sent.upgrade.as_ref().and_then(|protocol| protocol.to_str().ok()).unwrap_or_default().into(),
            balance: balance(&spec.balance, sent.affinity),
            endpoints: endpoints(spec),
            timeouts: Some(timeouts(side.timeouts)),
            retries: if sent.upgrade.is_some() { 0 } else { spec.retry.attempts },
            mirror: mirror.map(|mirror| mirror.spec.upstream.to_string()).unwrap_or_default(),
        }))
    }
}

// What nobody but a running node knows.
fn states(upstream: &Upstream, sent: &Sent, depends: &mut Vec<String>) {
    let name = &upstream.name;
    let mut note = |text: String| {
        if !depends.contains(&text) {
            depends.push(text);
        }
    };
    note(format!("health: which endpoints of {name} take traffic, and whether any does"));
    if matches!(upstream.balance, Balance::StickyCookie(_)) && !matches!(sent.affinity, Affinity::Session(_)) {
        note(format!("session: a new one begins with an endpoint of {name}, which a cookie names from then on"));
    }
    if upstream.concurrency.is_some() {
        note(format!("limit: whether {name} has as many requests under way as may be"));
    }
    if upstream.circuit_breaker.is_some() {
        note(format!("circuit: whether requests are kept from {name} for a while"));
    }
    if upstream.retry.attempts > 0 && sent.upgrade.is_none() {
        note(format!("retries: whether the budget of {name} has room for further tries"));
    }
}

fn balance(balance: &Balance, affinity: Affinity) -> String {
    match (balance, affinity) {
        (Balance::RoundRobin, _) => "round_robin: in turn".into(),
        (Balance::LeastRequest, _) => "least_request: the less busy of two drawn at random".into(),
        (Balance::Random, _) => "random".into(),
        (Balance::ConsistentHash(hash), Affinity::Key(_)) => {
            format!("consistent_hash: by its {}", key(&hash.key))
        }
        (Balance::ConsistentHash(hash), Affinity::None | Affinity::Session(_)) => {
            format!("consistent_hash: it has no {}, so at random", key(&hash.key))
        }
        (Balance::StickyCookie(sticky), Affinity::Session(_)) => {
            format!("sticky_cookie: the endpoint that its cookie {} names", sticky.name)
        }
        (Balance::StickyCookie(sticky), Affinity::None | Affinity::Key(_)) => {
            format!("sticky_cookie: it has no cookie {}, so the less busy of two drawn at random", sticky.name)
        }
    }
}

fn key(key: &HashKey) -> String {
    match key {
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(name) => format!("cookie {name}"),
        HashKey::Query(name) => format!("query parameter {name}"),
        HashKey::ClientAddress => "client address".into(),
        HashKey::Path => "path".into(),
        HashKey::Template(_) => "template's value".into(),
    }
}

fn endpoints(upstream: &Upstream) -> Vec<pb::ExplainedEndpoint> {
    let endpoint = |endpoint: &proto::upstream::Endpoint| pb::ExplainedEndpoint {
        address: endpoint.place.to_string(),
        weight: endpoint.weight,
        priority: endpoint.priority,
    };
    upstream.endpoints.iter().map(endpoint).collect()
}

fn timeouts(timeouts: Timeouts<Duration>) -> pb::Timeouts {
    pb::Timeouts {
        connect: quantity::write(timeouts.connect),
        response: quantity::write(timeouts.response),
        idle: quantity::write(timeouts.idle),
    }
}

// What was taken from the headers of the client, and what was put to them.
fn differences(before: &HeaderMap, context: &Context) -> Vec<pb::HeaderChange> {
    let mut after = context.headers.clone();
    // It is written with each try.
    after.insert(TRACEPARENT, HeaderValue::from_static("new"));
    // They frame the body, which the call does anew.
    let frames = |name: &HeaderName| *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
    let names: BTreeSet<&str> =
        before.keys().chain(after.keys()).filter(|name| !frames(name)).map(|name| name.as_str()).collect();
    let mut changes = Vec::new();
    for name in names {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let values = |headers: &HeaderMap| headers.get_all(&name).iter().cloned().collect::<Vec<_>>();
        let (before, after) = (values(before), values(&after));
        if before == after {
            continue;
        }
        let text = |value: &HeaderValue| match NEW_EACH_TIME.contains(&name.as_str()) {
            true => String::new(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        match after.strip_prefix(before.as_slice()) {
            _ if after.is_empty() => changes.push(change(&name, Change::Removed(pb::Removed {}))),
            Some(more) if !before.is_empty() => {
                changes.extend(more.iter().map(|value| change(&name, Change::Added(text(value)))));
            }
            Some(_) | None => {
                let mut values = after.iter();
                changes.extend(values.next().map(|first| change(&name, Change::Set(text(first)))));
                changes.extend(values.map(|value| change(&name, Change::Added(text(value)))));
            }
        }
    }
    changes
}
