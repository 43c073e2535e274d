//! One call of a part: what the upstream gets, and what of its answer counts. It goes the way of every request to that
//! upstream: its policies, its connections, health and retries. Of the client's request it has only what is named.

use super::{
    find::find,
    ledger::Entry,
    plan::{Part, Plan},
    reason::Reason,
    run::Lent,
    scan::{Limits, ScanFault, scan},
};
use crate::{
    context::{Context, Peer, Reading, RequestBody, TRACESTATE, UploadBody},
    filter::{self, Caller, Filters, Joined},
    limiter::Taken,
    pool::{Call, DownloadBody, DownloadFault, LocalPool, Outgoing, affinity, call},
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, uri::PathAndQuery};
use http_body::Body;
use http_body_util::BodyExt;
use proto::{
    compose::{self, Accept},
    matching::Captures,
    path::normalise,
    route::BodyLimit,
    template::{Reference, RenderError, Scope},
};
use std::{
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::timeout_at;

/// Of the trace, what goes on besides its ids.
const TRACED: [HeaderName; 2] = [TRACESTATE, HeaderName::from_static("baggage")];
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request of a part.
pub(super) struct Prepared {
    pub(super) target: PathAndQuery,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// What a call came to: the value that is selected, and the head of the answer.
pub(super) struct Answered {
    pub(super) value: Bytes,
    pub(super) headers: HeaderMap,
}

/// What a part asks an upstream for; what it refers to is in that scope.
pub(super) fn prepare(asked: &compose::Call, scope: &impl Scope, context: &Context) -> Result<Prepared, RenderError> {
    let mut text = String::with_capacity(64);
    asked.path.render(scope, &mut text)?;
    let target = normal(&text).ok_or_else(|| unencodable(&asked.path))?;
    let mut headers = context.told(TRACED.iter().chain(&asked.send));
    headers.entry(header::ACCEPT).or_insert(JSON);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::HOST, asked.host.as_ref().unwrap_or(context.host.value()).clone());
    let mut body = None;
    if let Some(template) = &asked.body {
        let mut text = String::with_capacity(128);
        template.render(scope, &mut text)?;
        headers.insert(header::CONTENT_TYPE, JSON);
        body = Some(Bytes::from(text));
    }
    for header in &asked.headers {
        let mut text = String::new();
        header.value.render(scope, &mut text)?;
        let value = HeaderValue::try_from(text).map_err(|_| unencodable(&header.value))?;
        headers.insert(header.name.clone(), value);
    }
    Ok(Prepared { target, headers, body })
}

fn normal(text: &str) -> Option<PathAndQuery> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = normalise(path).ok()?;
    match query {
        None => PathAndQuery::try_from(path.into_owned()).ok(),
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")).ok(),
    }
}

// All values together are too much for where they go: the first stands for them.
fn unencodable(template: &proto::template::Template) -> RenderError {
    RenderError::Unencodable(template.references().next().cloned().unwrap_or(Reference::Path(String::new())))
}

/// Asks for it, and has what of the answer counts, by that time.
pub(super) async fn ask(
    (plan, at): (&Plan, usize),
    lent: &Lent<'_>,
    prepared: Prepared,
    until: Instant,
) -> Result<Answered, Reason> {
    let (part, pool) = plan.parts.get(at).zip(lent.pools.get(at)).ok_or(Reason::Connect)?;
    lent.hold(prepared.body.as_ref().map_or(0, Bytes::len)).ok_or(Reason::TooLarge)?;
    // A wire of its own: the deadlines of this call are not the request's.
    let peer = Rc::new(lent.peer.of_stream(Instant::now()));
    let mut entry = lent.ledger.begin(at, &part.call().method);
    let asking = async {
        let response = send(part, lent, (pool, &peer), prepared, &mut entry).await?;
        take(plan, part, lent, response).await
    };
    let asked = timeout_at(until.into(), peer.wire.drive(pin!(asking))).await;
    asked.unwrap_or(Err(Reason::Timeout))
}

async fn send(
    part: &Part,
    lent: &Lent<'_>,
    (pool, peer): (&LocalPool, &Rc<Peer>),
    prepared: Prepared,
    entry: &mut Entry<'_>,
) -> Result<Response<DownloadBody>, Reason> {
    let Some(called) = &mut entry.called else { return Err(Reason::Connect) };
    let body = prepared.body.map_or(RequestBody::None, |body| RequestBody::Whole(Some(body)));
    let mut context = context(lent.context, part.call(), prepared.target, prepared.headers);
    // Where the route knows who calls, the policies of who does have been asked for all calls; otherwise each call asks.
    let own = Joined::default();
    let joined = if lent.filters.joined.is_set() { lent.filters.joined } else { &own };
    let filters = filter::Lent { joined, ..lent.filters };
    let admitted = admit(&part.filters, &mut context, body, (filters, lent, peer)).await;
    called.decisions = std::mem::take(&mut context.decisions);
    let mut body = UploadBody::new(admitted?, BodyLimit::Unlimited).map_err(|_| Reason::Unencodable)?;
    let request = Call {
        upstreams: lent.upstreams,
        pool,
        affinity: affinity(&pool.spec().balance, &context),
        outgoing: Outgoing {
            method: &context.method,
            target: &context.target,
            headers: &context.headers,
            upgrade: None,
            trace: &context.trace,
        },
        retries: part.spec.retries,
        timeouts: pool.spec().timeouts,
        client_idle: lent.idle,
        peer,
    };
    let mut response =
        call(&request, &mut body, &mut called.attempts).await.map_err(|error| Reason::of_call(&error))?;
    part.filters.response(&context, joined, response.headers_mut());
    Ok(response)
}

// The upstream's policies let it pass.
async fn admit(
    filters: &Filters,
    context: &mut Context,
    body: RequestBody,
    (asked, lent, peer): (filter::Lent<'_>, &Lent<'_>, &Rc<Peer>),
) -> Result<RequestBody, Reason> {
    let caller = Some(Caller { upstreams: lent.upstreams, peer });
    let asking = filters.request(context, filter::Lent { now: Instant::now(), caller, ..asked });
    if asking.await.map_err(|error| Reason::of_call(&error))?.is_some() {
        return Err(Reason::Refused);
    }
    if !filters.judges_bodies(asked.joined) {
        return Ok(body);
    }
    let reading = Reading { wire: &peer.wire, idle: lent.idle };
    filters.body(context, asked.joined, body, reading).await.map_err(|error| Reason::of_call(&error))
}

// What the upstream's policies see: a request of its own, with what is known of the client.
fn context(client: &Context, asked: &compose::Call, target: PathAndQuery, headers: HeaderMap) -> Context {
    Context {
        method: asked.method.clone(),
        target,
        host: client.host.clone(),
        headers,
        client: client.client,
        scheme: client.scheme,
        request_id: client.request_id.clone(),
        trace: client.trace.clone(),
        certificate: client.certificate.clone(),
        origin: None,
        routed: client.routed.clone(),
        captures: Captures::default(),
        principals: client.principals.clone(),
        consumers: client.consumers.clone(),
        decisions: Vec::new(),
        allowance: None,
        for_client: Vec::new(),
        seats: Taken::default(),
    }
}

// What of an answer counts.
async fn take(plan: &Plan, part: &Part, lent: &Lent<'_>, response: Response<DownloadBody>) -> Result<Answered, Reason> {
    let (head, body) = response.into_parts();
    if !is_accepted(part, head.status) {
        // What came together with the head is taken, so that the connection can be used again; nobody waits for more.
        skim(body).now_or_never();
        return Err(Reason::Status(head.status));
    }
    let encoding = head.headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Reason::Json);
    }
    let body = read(body, part.spec.max_body, lent).await?;
    let limits = Limits { depth: part.spec.max_depth, duplicates: plan.duplicates };
    let value = scan(&body, limits).map_err(|fault| match fault {
        ScanFault::Syntax(_) => Reason::Json,
        ScanFault::TooDeep => Reason::TooDeep,
        ScanFault::TooMany => Reason::TooLarge,
        ScanFault::Duplicate => Reason::Duplicate,
    })?;
    let value = find(value, &part.spec.select.steps).ok_or(Reason::NoValue)?;
    Ok(Answered { value: body.slice_ref(value), headers: head.headers })
}

fn is_accepted(part: &Part, status: StatusCode) -> bool {
    match &part.spec.accept {
        Accept::Success => status.is_success(),
        Accept::Listed(statuses) => statuses.contains(&status),
    }
}

async fn skim(mut body: DownloadBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

// One piece is not copied, and mostly there is no more.
async fn read(mut body: DownloadBody, most: usize, lent: &Lent<'_>) -> Result<Bytes, Reason> {
    let hint = body.size_hint();
    if hint.lower() > most as u64 {
        return Err(Reason::TooLarge);
    }
    let expected = hint.exact().and_then(|len| usize::try_from(len).ok()).unwrap_or_default();
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|fault| match fault {
            DownloadFault::Silent => Reason::Timeout,
            DownloadFault::Truncated | DownloadFault::Upload => Reason::CutOff,
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + more.len() + data.len() > most {
            return Err(Reason::TooLarge);
        }
        lent.hold(data.len()).ok_or(Reason::TooLarge)?;
        if first.is_empty() && more.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            more.reserve(expected.max(first.len() + data.len()));
            more.extend_from_slice(&first);
            first = Bytes::new();
        }
        more.extend_from_slice(&data);
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// When a part has to be there that begins now.
pub(super) fn due(within: Option<Duration>, deadline: Instant) -> Instant {
    within.map_or(deadline, |within| deadline.min(Instant::now() + within))
}
