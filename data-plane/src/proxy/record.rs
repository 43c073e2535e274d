//! The record of a request: what became of it, written exactly once, whatever happens to it.
//!
//! It owns the request's context, travels with the answer's body, and is written when it is dropped.

use super::{
    AnswerBody,
    body::Flow,
    diagnostics, error_body,
    local::{Found, Local, LocalRoute},
    spans::{End, spans},
    upgrade::{Wish, Wished},
};
use crate::{
    compose::{Called, Ledger, Part, Reason},
    context::{Context, Peer, Reading, RequestBody, Upload, X_REQUEST_ID},
    error::{Error, Fault, ProxyError},
    filter::{Caller, Filters, Joined, Lent, Telling},
    pool::{Attempts, DownloadFault, TryEnd},
    router::Action,
    telemetry::{
        access_log::Line,
        counters::{CallEnd, count},
    },
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, uri::PathAndQuery};
use proto::matching::Captures;
use std::{
    iter, mem,
    rc::Rc,
    time::{Duration, Instant},
};

/// What the gateway calls itself in `Via`.
pub(super) const VIA: HeaderValue = HeaderValue::from_static("1.1 portico");

/// The record of a request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) local: Rc<Local>,
    pub(super) peer: Rc<Peer>,
    pub(super) context: Context,
    /// Which policies of a consumer take part.
    pub(super) joined: Joined,
    /// The whole target, which may be more than a path: what admission judges.
    pub(super) uri: http::Uri,
    pub(super) version: Version,
    /// The protocol that the client wishes to switch to.
    pub(super) wish: Option<HeaderValue>,
    /// Only of a request with a body that was sent on.
    pub(super) upload: Option<Rc<Upload>>,
    pub(super) attempts: Attempts,
    /// What was done for a composition.
    pub(super) ledger: Ledger,
    /// Which of the route's upstreams, once one was chosen.
    pub(super) side: Option<usize>,
    /// Bytes of the answer's body; of a tunnel, those to the client.
    pub(super) sent: u64,
    /// Of a tunnel, bytes to the upstream.
    pub(super) received: u64,
    route: Option<Rc<LocalRoute>>,
    started: Instant,
    revision: u64,
    status: u16,
    failure: Option<(&'static str, Fault)>,
    // What HTTP calls the error that was answered.
    proxy_error: Option<ProxyError>,
    ended: bool,
}

// === impl Record ===

impl Record {
    pub(super) fn begin(local: Rc<Local>, peer: Rc<Peer>, request: Request<RequestBody>) -> (Box<Record>, RequestBody) {
        let (mut parts, body) = request.into_parts();
        let (identity, consumers) = (local.identify(), local.consumers.clone());
        let context = Context::begin(parts.method, &parts.uri, parts.headers, &peer, identity, consumers);
        count(&local.counters.in_flight, 1);
        let record = Record {
            started: peer.wire.begun(),
            context,
            joined: Joined::default(),
            uri: parts.uri,
            version: parts.version,
            wish: parts.extensions.remove::<Wish>().map(|Wish(wish)| wish),
            upload: None,
            attempts: Attempts::default(),
            ledger: Ledger::default(),
            side: None,
            sent: 0,
            received: 0,
            route: None,
            revision: 0,
            status: 0,
            failure: None,
            proxy_error: None,
            ended: false,
            local,
            peer,
        };
        (Box::new(record), body)
    }

    /// Takes the router, once, and finds the route.
    pub(super) fn find(&mut self) -> Result<(Rc<LocalRoute>, Captures), Error> {
        let Found { revision, sample, route } = self.local.find(&self.context.head(&self.peer.listener));
        self.revision = revision;
        self.route = route.as_ref().ok().map(|(route, _)| route.clone());
        if let Ok((route, captures)) = &route {
            (self.context.routed, self.context.captures) = (Some(route.routed.clone()), *captures);
        }
        let trace = &mut self.context.trace;
        if trace.parent.is_none() {
            trace.sampled = self.local.telemetry.spans().is_on() && sample.takes(trace.id);
        }
        route
    }

    /// The one place that turns an error into an answer.
    pub(super) fn fail(&mut self, error: Error) -> Response<Flow> {
        if matches!(error, Error::Panic) {
            count(&self.local.counters.panics, 1);
        }
        self.failure = Some((error.reason(), error.fault()));
        self.proxy_error = Some(error.proxy_error());
        let mut answer = error.answer(&self.context.request_id);
        // Whoever was asked knows better what there is to say.
        let own = self.telling(|telling| telling.error_bodies.clone()).filter(|_| error.foreign_body().is_none());
        if let Some(policy) = own {
            let variables = self.route.as_ref().map_or(&[][..], |route| &route.entry.variables);
            error_body::write(&policy, &error, &self.context, variables, &mut answer);
        }
        answer.map(Flow::whole)
    }

    /// What every answer has, and then the filters, over errors too.
    pub(super) fn filters_back(&self, mut response: Response<Flow>) -> Response<Flow> {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.context.request_id.clone());
        if let Some(told) = self.telling(|telling| telling.diagnostics) {
            diagnostics::tell(told, &self.attempts, self.started, self.proxy_error, headers);
        }
        if let Some(route) = &self.route {
            route.entry.filters.response(&self.context, &self.joined, headers);
        }
        response
    }

    // Reads what is told of it.
    fn telling<T>(&self, read: impl FnOnce(&Telling) -> T) -> T {
        match &self.route {
            Some(route) => read(route.entry.filters.telling()),
            None => self.local.of_unrouted(read),
        }
    }

    /// Hands the record over to the answer's body.
    pub(super) fn finish(mut self: Box<Self>, response: Response<Flow>) -> Response<AnswerBody> {
        let mut response = response;
        self.status = response.status().as_u16();
        if self.context.method == Method::HEAD
            && let Flow::Whole(body) = response.body_mut()
            && let Some(bytes) = body.take()
        {
            // Only how long it would be.
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        if self.local.draining.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|flow| AnswerBody::new(flow, self))
    }

    /// The answer was sent whole.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }

    /// The upstream did not send the answer whole, and so the client did not get it whole.
    pub(super) fn cut_off(&mut self, fault: DownloadFault) {
        self.failure = Some(match fault {
            DownloadFault::Silent => ("upstream_body_timeout", Fault::Upstream),
            DownloadFault::Truncated => ("upstream_body_truncated", Fault::Upstream),
            DownloadFault::Upload => ("body_broken", Fault::Client),
        });
        self.ended = true;
    }

    /// Keeps no more of the request than the log will say, and that in memory of its own: the request may have come in a
    /// buffer that is much larger.
    pub(super) fn settle(&mut self) {
        let own = |value: &HeaderValue| {
            let mut own = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
            own.set_sensitive(value.is_sensitive());
            own
        };
        let mut told = HeaderMap::new();
        self.telling(|telling| {
            let wanted = telling.log.iter().flat_map(|log| log.headers());
            for name in iter::once(&header::USER_AGENT).chain(wanted) {
                let values = self.context.headers.get_all(name).iter().map(own);
                told.extend(values.map(|value| (name.clone(), value)));
            }
        });
        let context = &mut self.context;
        context.headers = told;
        if let Ok(target) = PathAndQuery::try_from(context.target.path().to_string()) {
            context.target = target;
        }
        context.host.settle();
        context.request_id = own(&context.request_id);
        (self.uri, self.wish) = (http::Uri::default(), None);
    }

    /// Whether the request is for a tunnel and nothing else: whoever opens one by HTTP/2 takes every success for it.
    pub(super) fn opens_tunnel(&self) -> bool {
        Wished::of(self.wish.as_ref(), self.version).opens_tunnel()
    }

    /// How long neither side of a tunnel may send anything.
    pub(super) fn tunnel_idle(&self) -> Duration {
        match self.route.as_deref().map(|route| &route.entry.action) {
            Some(Action::Forward(forward)) => forward.side(self.side).map_or(Duration::ZERO, |side| side.upgrades.idle),
            // None of those switches.
            Some(Action::Redirect(_) | Action::Respond(_) | Action::Compose(_)) | None => Duration::ZERO,
        }
    }

    /// A tunnel did not end in good order.
    pub(super) fn tunnel_broken(&mut self, reason: &'static str, fault: Fault) {
        (self.failure, self.ended) = (Some((reason, fault)), true);
    }

    /// The name and the label of its route, if it has one.
    pub(super) fn route(&self) -> Option<(&str, &str)> {
        self.route.as_deref().map(|route| (route.entry.name.as_str(), route.entry.label.as_str()))
    }

    /// The revision that said which route it takes; 0 if nothing did.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Has the body judged; what comes back is to be sent on.
    pub(super) async fn judge(&mut self, filters: &Filters, body: RequestBody) -> Result<RequestBody, Error> {
        let reading = Reading { wire: &self.peer.wire, idle: self.local.settings.idle_timeout };
        filters.body(&mut self.context, &self.joined, body, reading).await
    }

    /// What filters get while they are asked about another request, made from this one.
    pub(super) fn lent(&self) -> Lent<'_> {
        lent(&self.local, &self.peer, &self.joined, self.started)
    }

    /// What filters judge, and what they get while they are asked.
    pub(super) fn asked(&mut self) -> (&mut Context, Lent<'_>) {
        (&mut self.context, lent(&self.local, &self.peer, &self.joined, self.started))
    }

    /// When its first byte came.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// What tells of the part of that number: its name, and whom it asks.
    pub(super) fn part(&self, part: usize) -> Option<&Part> {
        match &self.route.as_deref()?.entry.action {
            Action::Compose(plan) => plan.parts.get(part),
            Action::Forward(_) | Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The variant of a composition that it was for.
    pub(super) fn variant(&self) -> Option<&str> {
        match &self.route.as_deref()?.entry.action {
            Action::Compose(plan) => plan.variants.get(self.ledger.variant()?).map(|variant| &*variant.name),
            Action::Forward(_) | Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    fn count_tries(&self, calls: &[Called]) {
        let Some(route) = &self.route else { return };
        let own = self.side.map(|side| (side, &self.context.method, &self.attempts));
        let of_parts = calls.iter().map(|called| (called.part, &called.method, &called.attempts));
        for (at, method, attempts) in own.into_iter().chain(of_parts) {
            let Some(series) = route.calls.get(at) else { continue };
            for attempt in attempts.tries() {
                let Some((at, end)) = attempt.ended else { continue };
                let end = match end {
                    TryEnd::Answered(status) => CallEnd::Answered(status.as_u16()),
                    TryEnd::Failed(reason) => CallEnd::Failed(reason),
                };
                series.observe(method, end, at.saturating_duration_since(attempt.begun));
            }
        }
    }

    // Counts the parts of a composition; which of them failed, and why, if any.
    fn count_parts(&self) -> Option<String> {
        let mut failed = String::new();
        for ended in self.ledger.ended() {
            let Some((route, part)) = self.route.as_deref().zip(self.part(ended.part)) else { continue };
            let (outcome, reason) = (ended.state.as_str(), ended.state.reason().map_or("", Reason::as_str));
            route.series.observe_part(&part.spec.name, (outcome, reason), ended.took);
            if !reason.is_empty() {
                failed.extend([if failed.is_empty() { "" } else { "," }, &part.spec.name, ":", reason]);
            }
        }
        Some(failed).filter(|failed| !failed.is_empty())
    }

    fn write(&mut self) {
        let now = Instant::now();
        let duration = now.saturating_duration_since(self.started);
        self.peer.wire.finish(now);
        let mut calls = self.ledger.calls();
        self.context.decisions.extend(calls.iter_mut().flat_map(|called| mem::take(&mut called.decisions)));
        let (context, counters) = (&self.context, &self.local.counters);
        if !self.ended && self.failure.is_none() {
            self.failure = Some(("client_closed", Fault::Client));
        }
        // What a client that left would have got is not known; 499 is what proxies write for it.
        let status = if self.status == 0 { 499 } else { self.status };
        let route = self.route.as_deref();
        let upstream = route.and_then(|route| match &route.entry.action {
            Action::Forward(forward) => forward.side(self.side).map(|side| side.pool.name()),
            Action::Redirect(_) | Action::Respond(_) | Action::Compose(_) => None,
        });
        match route {
            Some(route) => route.series.observe(&context.method, status, duration),
            None => counters.no_route().observe(&context.method, status, duration),
        }
        if let Some((reason, fault)) = self.failure {
            counters.fail(upstream, reason, fault);
        }
        let consumer = context.consumer().map(|consumer| &consumer.name);
        for decision in &context.decisions {
            counters.decide(decision, consumer);
        }
        let retries = calls.iter().map(|called| called.attempts.retries()).sum::<u32>() + self.attempts.retries();
        count(&counters.retries, u64::from(retries));
        counters.in_flight.set(counters.in_flight.get().saturating_sub(1));
        let received = self.upload.as_ref().map_or(self.received, |upload| upload.bytes());
        route.map_or(counters.no_route(), |route| &route.series).add_bodies(received, self.sent);
        self.count_tries(&calls);
        let incomplete = self.count_parts();
        let client;
        let line = Line {
            method: context.method.as_str(),
            path: context.target.path().as_bytes(),
            scheme: context.scheme,
            version: self.version,
            host: context.host.value().as_bytes(),
            client: match context.client == self.peer.address.ip() {
                true => self.peer.text.to_str().unwrap_or_default(),
                false => {
                    client = context.client.to_string();
                    &client
                }
            },
            headers: &context.headers,
            user_agent: context.headers.get(header::USER_AGENT).map_or(b"", HeaderValue::as_bytes),
            request_id: context.request_id.as_bytes(),
            trace: context.trace.id,
            span: context.trace.span,
            status,
            route: self.route(),
            upstream: upstream.map(|upstream| upstream.as_str()),
            endpoint: self.attempts.endpoint().map(|endpoint| endpoint.as_str()),
            duration,
            phases: self.attempts.phases(self.started, now),
            received,
            sent: self.sent,
            retries,
            reason: self.failure.map(|(reason, _)| reason),
            decisions: &context.decisions,
            incomplete: incomplete.as_deref(),
            subject: context.principals.iter().next().map(|principal| &*principal.subject),
            consumer: consumer.map(|consumer| consumer.as_str()),
            revision: self.revision,
        };
        self.telling(|telling| self.local.log.write(now, telling.log.as_deref(), &line));
        let exporter = self.local.telemetry.spans();
        if context.trace.sampled && exporter.is_on() {
            let (upstream, reason) =
                (upstream.map(|upstream| upstream.as_str()), self.failure.map(|(reason, _)| reason));
            let end = End { now, status, upstream, reason, calls: &calls };
            spans(self, &end).for_each(|span| exporter.offer(span));
        }
    }
}

fn lent<'r>(local: &'r Local, peer: &'r Rc<Peer>, joined: &'r Joined, now: Instant) -> Lent<'r> {
    let caller = Some(Caller { upstreams: &local.upstreams, peer });
    Lent { now, caller, personal: &local.personal, joined }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write();
    }
}
