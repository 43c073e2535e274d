//! Ask an authorization server whether a request may go on.
//!
//! It is told who asks for what, and never the body; nothing of what it answers is taken but a status and named headers.
//! Whatever is wrong with the server is one thing here: it has not answered, and the policy says what that means.

use super::{
    Attached,
    asking::{Question, Unanswered, ask},
    sequence::{Caller, Lent},
    verdict::{Said, Verdict},
};
use crate::{
    context::{Context, Decision, X_REQUEST_ID},
    error::{Fault, Refusal},
    pool::{DownloadBody, Pool},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use proto::{name::Name, policy::ExtAuth};
use std::sync::Arc;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// What the server is told of every request; strangers have no say in it. By `Via` a request is known that comes round.
const TOLD: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    X_REQUEST_ID,
    header::VIA,
];
const UNAVAILABLE: &str = "ext_auth_unavailable";

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ExtAuthFilter {
    name: Name,
    policy: Arc<ExtAuth>,
    // `None` only where nobody is asked.
    pool: Option<Arc<Pool>>,
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
            match self.ask(context, lent.caller).await {
                Ok(answer) if answer.status().is_success() => {
                    self.take_over(context, answer.headers());
                    Said::Continue
                }
                Ok(answer) => Said::Refuse(Box::new(self.refused(&answer))),
                Err(Unanswered) if self.policy.fails_open => {
                    // On record all the same, as what would have been refused.
                    let (policy, kind) = (self.name.clone(), "ext_auth");
                    context.decisions.push(Decision { policy, kind, reason: UNAVAILABLE, shadow: true });
                    self.take_over(context, &HeaderMap::new());
                    Said::Continue
                }
                Err(Unanswered) => Said::Refuse(Box::new(unavailable())),
            }
        }))
    }

    // The head of its answer, whatever it says.
    async fn ask(&self, context: &Context, caller: Option<Caller<'_>>) -> Result<Response<()>, Unanswered> {
        let (pool, caller) = self.pool.as_ref().zip(caller).ok_or(Unanswered)?;
        let question = Question {
            pool,
            method: &Method::GET,
            target: &self.policy.path,
            headers: &self.told(context),
            body: None,
            within: self.policy.timeout,
            trace: &context.trace,
        };
        let (parts, body) = ask(question, caller).await?.into_parts();
        // What came together with the head is taken, so that the connection can be used again; nobody waits for more.
        skim(body).now_or_never();
        match parts.status.is_server_error() || parts.status.is_informational() {
            true => Err(Unanswered),
            false => Ok(Response::from_parts(parts, ())),
        }
    }

    fn told(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in TOLD.iter().chain(&self.policy.send) {
            if !headers.contains_key(name) {
                headers.extend(context.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        let method = HeaderValue::from_str(context.method.as_str());
        let target = HeaderValue::from_str(context.target.as_str());
        for (name, value) in [(X_FORWARDED_METHOD, method), (X_FORWARDED_URI, target)] {
            // Neither has a character that cannot stand in a header.
            value.into_iter().for_each(|value| drop(headers.insert(&name, value)));
        }
        headers.insert(header::HOST, self.policy.host.as_ref().unwrap_or(context.host.value()).clone());
        headers
    }

    // What it says goes on, and what the client said of the same never does.
    fn take_over(&self, context: &mut Context, answer: &HeaderMap) {
        for name in &self.policy.to_upstream {
            context.headers.remove(name);
            context.headers.extend(answer.get_all(name).iter().map(|value| (name.clone(), value.clone())));
        }
    }

    fn refused(&self, answer: &Response<()>) -> Refusal {
        let told = |name: &HeaderName| {
            answer.headers().get_all(name).iter().map(|value| (name.clone(), value.clone())).collect()
        };
        Refusal {
            status: answer.status(),
            fault: Fault::Client,
            reason: "ext_auth_refused",
            detail: "the authorization server refuses the request".into(),
            headers: self.policy.to_client.iter().flat_map(|name| -> Vec<_> { told(name) }).collect(),
        }
    }
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
