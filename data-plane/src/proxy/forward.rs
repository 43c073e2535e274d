//! The action `forward`: make of the request what the upstream is to see, call it, and make of its response an answer.

use super::{
    affinity::{affinity, key_hash, session_cookie},
    body::Flow,
    local::LocalRoute,
    locate::rewrite,
    mirror,
    record::{Record, VIA},
    upgrade,
};
use crate::{
    context::{RequestBody, UploadBody, strip_cookie},
    error::Error,
    pool::{Call, Outgoing, call},
    router::Forward,
};
use http::{Response, StatusCode, header};
use proto::{matching::Captures, upstream::Balance};
use std::{ops::ControlFlow, rc::Rc};

pub(super) async fn forward(
    record: &mut Record,
    route: &Rc<LocalRoute>,
    forward: &Forward,
    captures: Captures,
    body: RequestBody,
) -> Result<Response<Flow>, Error> {
    let at = match &forward.split {
        None => 0,
        Some(split) => {
            let values = route.values(&record.context, captures);
            split.choose(split.key.as_ref().and_then(|key| key_hash(key, &values)))
        }
    };
    record.side = Some(at);
    // There are as many as the route has upstreams.
    let (side, pool) = forward.sides.get(at).zip(route.pools.get(at)).ok_or(Error::NoEndpoint)?;
    if let ControlFlow::Break(answer) = side.filters.request(&mut record.context) {
        return Ok(answer.map(Flow::whole));
    }
    let limit = route.entry.request_body.unwrap_or(record.local.settings.max_request_body);
    let mut body = UploadBody::new(body, limit).map_err(Error::Upload)?;
    record.upload = body.as_ref().map(UploadBody::upload);
    let target = match &forward.rewrite {
        Some(change) => Some(rewrite(change, &route.values(&record.context, captures))?),
        None => None,
    };
    if let Some(host) = &forward.host {
        record.context.headers.insert(header::HOST, host.clone());
    }
    let upgrade = upgrade::grant(record, side, body.is_some())?;
    if upgrade.is_none() && record.opens_tunnel() {
        return Err(Error::Connect);
    }
    let affinity = affinity(&pool.spec().balance, &record.context);
    if let Balance::StickyCookie(sticky) = &pool.spec().balance {
        // It is between the client and the gateway.
        strip_cookie(&mut record.context.headers, &sticky.name);
    }
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
    side.filters.response(&record.context, headers);
    Ok(response.map(Flow::Stream))
}
