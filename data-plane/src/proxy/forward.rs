//! The action `forward`: make of the request what the upstream is to see, call it, and make of its response an answer.

use super::{
    body::Flow,
    local::LocalRoute,
    locate::rewrite,
    mirror,
    record::{Record, VIA},
    upgrade::{self, Wished},
};
use crate::{
    context::{Context, RequestBody, UploadBody, Values, strip_cookie},
    error::Error,
    pool::{Affinity, Call, KeyHash, Outgoing, Upgrade, affinity, call, key_hash, session_cookie},
    router::{Forward, RouteEntry, Side, Splitter},
};
use http::{Response, StatusCode, header, uri::PathAndQuery};
use proto::{matching::Captures, upstream::Balance};
use std::rc::Rc;

/// Where a request goes.
pub(super) struct Destined<'a> {
    /// The route.
    pub(super) entry: &'a RouteEntry,
    /// Its action.
    pub(super) forward: &'a Forward,
    /// The upstream.
    pub(super) side: &'a Side,
    /// What the path captures.
    pub(super) captures: Captures,
}

/// A request whose context is what the upstream is to see.
pub(super) struct Prepared {
    /// Path and query, where they are not those of the context.
    pub(super) target: Option<PathAndQuery>,
    /// What the upstream is asked for.
    pub(super) upgrade: Option<Box<Upgrade>>,
    /// Which of the endpoints it is for.
    pub(super) affinity: Affinity,
}

pub(super) async fn forward(
    record: &mut Record,
    route: &Rc<LocalRoute>,
    forward: &Forward,
    captures: Captures,
    mut body: RequestBody,
) -> Result<Response<Flow>, Error> {
    let at = match &forward.split {
        None => 0,
        Some(split) => split.choose(split_key(split, &route.values(&record.context, captures))),
    };
    record.side = Some(at);
    // There are as many as the route has upstreams.
    let (side, pool) = forward.sides.get(at).zip(route.pools.get(at)).ok_or(Error::NoEndpoint)?;
    let (context, lent) = record.asked();
    if let Some(answer) = side.filters.request(context, lent).await? {
        return Ok(answer.map(Flow::whole));
    }
    if side.filters.judges_bodies(&record.joined) {
        body = record.judge(&side.filters, body).await?;
    }
    let limit = route.entry.request_body.unwrap_or(record.local.settings.max_request_body);
    let mut body = UploadBody::new(body, limit).map_err(Error::Upload)?;
    record.upload = body.as_ref().map(UploadBody::upload);
    let wished = Wished::of(record.wish.as_ref(), record.version);
    let destined = Destined { entry: &route.entry, forward, side, captures };
    let Prepared { target, upgrade, affinity } = destined.prepare(&mut record.context, wished, body.is_some())?;
    let mirrored = match &forward.mirror {
        Some(mirror) if upgrade.is_none() => mirror::begin(record, route, mirror, target.as_ref(), body.as_mut()),
        Some(_) | None => None,
    };
    let request = Call {
        upstreams: &record.local.upstreams,
        pool,
        affinity,
        outgoing: Outgoing {
            method: &record.context.method,
            target: target.as_ref().unwrap_or(&record.context.target),
            headers: &record.context.headers,
            upgrade: upgrade.as_deref(),
            trace: &record.context.trace,
        },
        retries: None,
        timeouts: side.timeouts,
        client_idle: record.local.settings.idle_timeout,
        peer: &record.peer,
    };
    let response = call(&request, &mut body, &mut record.attempts).await;
    if let Some(mirrored) = mirrored {
        mirrored.send();
    }
    let mut response = response?;
    let cookie = session_cookie(&request, record.context.scheme, &record.attempts);
    if let Some(upgrade) = upgrade.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        upgrade::agree(&mut response, &upgrade);
    }
    if record.opens_tunnel() && response.status().is_success() {
        return Err(Error::BadSwitch);
    }
    let headers = response.headers_mut();
    headers.append(header::VIA, VIA);
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    side.filters.response(&record.context, &record.joined, headers);
    Ok(response.map(Flow::Stream))
}

/// What decides which of several upstreams is taken; without it chance does.
pub(super) fn split_key(split: &Splitter, values: &Values<'_>) -> Option<KeyHash> {
    split.key.as_ref().and_then(|key| key_hash(key, values))
}

// === impl Destined ===

impl Destined<'_> {
    /// Makes of the request what the upstream is to see.
    pub(super) fn prepare(&self, context: &mut Context, wished: Wished<'_>, has_body: bool) -> Result<Prepared, Error> {
        let target = match &self.forward.rewrite {
            Some(change) => {
                let values = Values::with_captures(context, &self.entry.variables, self.captures);
                Some(rewrite(change, &values)?)
            }
            None => None,
        };
        if let Some(host) = &self.forward.host {
            context.headers.insert(header::HOST, host.clone());
        }
        let upgrade = upgrade::grant(context, wished, self.side, has_body)?;
        if upgrade.is_none() && wished.opens_tunnel() {
            return Err(Error::Connect);
        }
        let balance = &self.side.pool.spec().balance;
        let affinity = affinity(balance, context);
        if let Balance::StickyCookie(sticky) = balance {
            // It is between the client and the gateway.
            strip_cookie(&mut context.headers, &sticky.name);
        }
        Ok(Prepared { target, upgrade, affinity })
    }
}
