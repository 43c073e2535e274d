//! Ask an authorization server whether a request may go on, by HTTP or by gRPC.
//!
//! It is told who asks for what, and never the body; nothing of what it answers changes the request but what the policy
//! names. Whatever is wrong with the server is one thing here: it has not answered, and the policy says what that means.

mod changes;
mod grpc;

use super::{
    Attached,
    asking::{Question, Unanswered, ask},
    sequence::{Caller, Lent},
    verdict::{Said, Verdict},
};
use crate::{
    context::{Context, Decision, HeaderChange, Made, Placing},
    error::{Fault, Refusal},
    pool::{DownloadBody, Pool},
};
use changes::Changes;
use futures_util::FutureExt;
use grpc::Check;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use proto::{
    name::Name,
    policy::{ExtAuth, ExtAuthForm},
};
use std::sync::Arc;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const UNAVAILABLE: &str = "ext_auth_unavailable";

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ExtAuthFilter {
    name: Name,
    policy: Arc<ExtAuth>,
    // `None` only where nobody is asked.
    pool: Option<Arc<Pool>>,
}

/// What the server says.
enum Judgement {
    Passes(Changes),
    Refuses(Box<Refusal>),
}

// === impl ExtAuthFilter ===

impl ExtAuthFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<ExtAuth>) -> ExtAuthFilter {
        ExtAuthFilter { name: attached.policy.name.clone(), policy: policy.clone(), pool: attached.asks.cloned() }
    }

    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    pub(super) fn depends_on(&self) -> String {
        format!("the answer of upstream {}, which {} asks", self.policy.upstream, self.name)
    }

    pub(super) fn request<'a>(&'a self, context: &'a mut Context, lent: Lent<'a>) -> Verdict<'a> {
        Verdict::Wait(Box::pin(async move {
            let judged = match self.ask(context, lent.caller).await {
                Ok(Judgement::Passes(changes)) => changes.apply(&self.policy, context, self.address()),
                Ok(Judgement::Refuses(refusal)) => return Said::Refuse(refusal),
                Err(Unanswered) => Err(Unanswered),
            };
            match judged {
                Ok(()) => Said::Continue,
                Err(Unanswered) if self.policy.fails_open => {
                    let (policy, kind, made) = (self.name.clone(), "ext_auth", Made::FailedOpen);
                    context.decisions.push(Decision { policy, kind, reason: UNAVAILABLE, made });
                    match Changes::default().apply(&self.policy, context, self.address()) {
                        Ok(()) => Said::Continue,
                        Err(Unanswered) => Said::Refuse(Box::new(unavailable())),
                    }
                }
                Err(Unanswered) => Said::Refuse(Box::new(unavailable())),
            }
        }))
    }

    /// On the way back: what its server says that the client gets.
    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        let own = context.for_client.iter().filter(|(filter, _)| *filter == self.address());
        own.for_each(|(_, change)| change.apply(headers));
    }

    // It cannot be another's while a request holds the route.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    async fn ask(&self, context: &Context, caller: Option<Caller<'_>>) -> Result<Judgement, Unanswered> {
        let (pool, caller) = self.pool.as_ref().zip(caller).ok_or(Unanswered)?;
        match &self.policy.form {
            ExtAuthForm::Http(path) => self.ask_by_http(context, (pool, path), caller).await,
            ExtAuthForm::Grpc(grpc) => Check { policy: &self.policy, grpc, pool }.ask(context, caller).await,
        }
    }

    async fn ask_by_http(
        &self,
        context: &Context,
        (pool, path): (&Arc<Pool>, &PathAndQuery),
        caller: Caller<'_>,
    ) -> Result<Judgement, Unanswered> {
        let question = Question {
            pool,
            method: &Method::GET,
            target: path,
            headers: &self.told(context),
            body: None,
            within: self.policy.timeout,
            trace: &context.trace,
        };
        let (head, body) = ask(question, caller).await?.into_parts();
        // What came together with the head is taken, so that the connection can be used again; nobody waits for more.
        skim(body).now_or_never();
        if head.status.is_server_error() || head.status.is_informational() {
            return Err(Unanswered);
        }
        if !head.status.is_success() {
            return Ok(Judgement::Refuses(Box::new(refusal(
                head.status,
                named(&head.headers, &self.policy.to_client),
            ))));
        }
        let change = |(name, value)| HeaderChange { name, value, how: Placing::Beside };
        let upstream = named(&head.headers, &self.policy.to_upstream).into_iter().map(change).collect();
        Ok(Judgement::Passes(Changes { upstream, ..Changes::default() }))
    }

    fn told(&self, context: &Context) -> HeaderMap {
        let mut headers = context.told(&self.policy.send);
        let method = HeaderValue::from_str(context.method.as_str());
        let target = HeaderValue::from_str(context.target.as_str());
        for (name, value) in [(X_FORWARDED_METHOD, method), (X_FORWARDED_URI, target)] {
            // Neither has a character that cannot stand in a header.
            value.into_iter().for_each(|value| drop(headers.insert(&name, value)));
        }
        headers.insert(header::HOST, self.policy.host.as_ref().unwrap_or(context.host.value()).clone());
        headers
    }
}

fn named(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    names.iter().flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone()))).collect()
}

fn refusal(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>) -> Refusal {
    let (fault, detail) = (Fault::Client, "the authorization server refuses the request".into());
    Refusal { status, fault, reason: "ext_auth_refused", detail, headers }
}

fn unavailable() -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        fault: Fault::Upstream,
        reason: UNAVAILABLE,
        detail: "the authorization server does not answer; try again later".into(),
        headers: Vec::new(),
    }
}

async fn skim(mut body: DownloadBody) {
    while let Some(Ok(_)) = body.frame().await {}
}
