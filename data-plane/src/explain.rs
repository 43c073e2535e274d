//! What a node would do with a request, and why: told by the code that does it, step by step, without an upstream.
//!
//! The request is written as a client would write it, read by the listener's codec, admitted, and matched by the router;
//! its policies are asked as filters ask, and what an upstream would get is what the proxy would send. What only a running
//! node knows (health, limits, chance) is named and not guessed.

mod composition;
mod forward;
mod lost;
mod policies;

use crate::{
    compose::foretell,
    consumers::Consumers,
    context::{Routed, Values},
    error::Error,
    filter::Whose,
    listener::read_head,
    principal::Principal,
    proxy::{Answered, Visit},
    router::{Action, Found, Router},
    settings::Settings,
};
use forward::Question;
use http::{HeaderMap, header};
use policies::Asked;
use proto::{
    explain::Description,
    invalid::{Faults, Invalid},
    name::Name,
    pb::{self, explanation::Outcome},
    resource::{Kind, ResourceKey},
    snapshot::Snapshot,
};
use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whatever the configuration is.
const NODE: &str = "node: its settings (trusted proxies, limits of heads and bodies, listeners and their ports) are taken \
                    for the defaults, and it is not short of memory";

/// How long all tests together may take.
const TESTS_WITHIN: Duration = Duration::from_secs(2);

/// Whether the routes that lost are told too, for which all have to be looked at.
#[derive(Clone, Copy)]
enum Losers {
    Told,
    Left,
}

/// Tells what a node would do. It keeps the router of the last configuration that it was asked about, for the next is
/// built from that: whoever asks about one after another pays for the difference.
#[derive(Default)]
pub struct Explainer {
    settings: Settings,
    last: Mutex<Option<Arc<Router>>>,
}

// === impl Explainer ===

impl Explainer {
    /// What a node that runs this would do with the request.
    pub fn explain(&self, snapshot: &Snapshot, request: &Description) -> pb::Explanation {
        let mut told = self.foretell(&self.router(snapshot), request, Losers::Told);
        told.depends_on.push(NODE.into());
        told
    }

    /// The tests of the configuration that are broken, each with what is expected and what would happen.
    pub fn broken_tests(&self, snapshot: &Snapshot) -> Vec<Invalid> {
        if snapshot.tests().is_empty() {
            return Vec::new();
        }
        let (started, router) = (Instant::now(), self.router(snapshot));
        let mut broken = Vec::new();
        for test in snapshot.tests().values() {
            let told = self.foretell(&router, &test.request, Losers::Left);
            let mut faults = Faults::default();
            faults.at("request", |faults| snapshot.check_given(&test.request, faults));
            let resource = Some(ResourceKey::new(Kind::Test, test.name.clone()));
            broken.extend(faults.into_found().into_iter().map(|fault| Invalid { resource: resource.clone(), ..fault }));
            broken.extend(test.broken(&told, |route| self.why_not(&router, &test.request, route)));
            if started.elapsed() > TESTS_WITHIN {
                let (resource, pointer) = (Some(ResourceKey::new(Kind::Test, test.name.clone())), String::new());
                let detail = format!("the tests take longer than {} s together; have fewer", TESTS_WITHIN.as_secs());
                broken.push(Invalid { resource, pointer, detail });
                break;
            }
        }
        broken
    }

    fn foretell(&self, router: &Router, request: &Description, losers: Losers) -> pb::Explanation {
        let mut told = pb::Explanation::default();
        let outcome = self.walk(router, request, losers, &mut told);
        told.outcome = Some(outcome.unwrap_or_else(|error| Outcome::Refused(refused(&error))));
        told
    }

    // Why that route does not win.
    fn why_not(&self, router: &Router, request: &Description, route: &Name) -> String {
        let key = ResourceKey::new(Kind::Route, route.clone());
        let Some(route) = router.snapshot().get(&key).and_then(|entry| entry.checked.as_route()) else {
            return "there is no such route".into();
        };
        let admitted = self.admit(request);
        let why = admitted.map(|(visit, _)| {
            let found = router.find(&visit.head());
            lost::why(route, &visit.head(), found.as_ref().map(|found| &*found.route.route))
        });
        why.unwrap_or_else(|error| error.to_string())
    }

    // The request as a node has it before it looks for a route, and the headers that the client sent.
    fn admit(&self, request: &Description) -> Result<(Visit, HeaderMap), Error> {
        let (head, framing) = read_head(request.head(), &self.settings)?;
        let sent = head.headers().clone();
        let mut visit = Visit::new(head, framing, request.client, (&request.listener, request.scheme));
        visit.admit()?;
        Ok((visit, sent))
    }

    // The same steps as those of a request, in their order.
    fn walk(
        &self,
        router: &Router,
        request: &Description,
        losers: Losers,
        told: &mut pb::Explanation,
    ) -> Result<Outcome, Error> {
        let (mut visit, sent) = self.admit(request)?;
        told.request = Some(admitted(&visit));
        visit.context.consumers = Consumers::of(router.snapshot().directory());
        let found = router.find(&visit.head());
        match losers {
            Losers::Told => {
                lost::tell(router.snapshot(), &visit.head(), found.as_ref().map(|found| &*found.route.route), told);
            }
            Losers::Left => {}
        }
        let Found { route, captures } = found.ok_or(Error::NoRoute)?;
        if router.is_ambiguous(&visit.head(), route) {
            return Err(Error::PathAmbiguous);
        }
        (visit.context.routed, visit.context.captures) = (Some(Rc::new(Routed::new(&route.route))), captures);
        let captured = route.variables.iter().enumerate();
        let captured = captured.filter_map(|(at, name)| Some((name, captures.get(at, visit.context.path())?)));
        told.route = Some(pb::WinningRoute {
            name: route.name.to_string(),
            variables: captured.map(|(name, value)| (name.clone(), value.to_string())).collect(),
        });
        let consumer = request.consumer.as_ref().and_then(|name| router.snapshot().consumer(name));
        let whose = if consumer.is_some() { Whose::Given } else { Whose::Unsaid };
        visit.context.principals = consumer.map(Principal::given).into_iter().collect();
        let mut asked = Asked::new(router, whose);
        let policies = router.policies_of(route);
        let outcome = match asked.ask(policies, None, &mut visit.context, &mut told.depends_on) {
            Err(error) => Err(error),
            Ok(Some(answer)) => {
                let body = answer.body().len();
                Ok(local(Answered { response: answer.map(drop), body }))
            }
            Ok(None) => match (&route.action, visit.answer(route, captures)) {
                (Action::Forward(action), _) => {
                    let limit = route.request_body.unwrap_or(self.settings.max_request_body);
                    let question =
                        Question { router, visit: &visit, entry: route, action, captures, sent: &sent, limit };
                    question.answer(&mut asked, &mut told.depends_on)
                }
                (Action::Compose(plan), _) => {
                    let values = Values::with_captures(&visit.context, &route.variables, captures);
                    foretell(plan, &values).map(|foretold| composition::composed(&foretold, plan, &mut told.depends_on))
                }
                (Action::Redirect(_) | Action::Respond(_), Some(answer)) => answer.map(local),
                // Only what is forwarded has no answer of its own.
                (Action::Redirect(_) | Action::Respond(_), None) => Err(Error::NoRoute),
            },
        };
        told.policies = asked.tell(&visit.context);
        outcome
    }

    // Built outside of the lock: of two who ask at once both may build, and neither waits.
    fn router(&self, snapshot: &Snapshot) -> Arc<Router> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = &last
            && last.snapshot().root() == snapshot.root()
        {
            return last.clone();
        }
        let router = Arc::new(Router::build(snapshot, None, last.as_deref()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(router.clone());
        router
    }
}

impl std::fmt::Debug for Explainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explainer").finish_non_exhaustive()
    }
}

fn admitted(visit: &Visit) -> pb::AdmittedRequest {
    let head = visit.head();
    pb::AdmittedRequest {
        method: head.method.to_string(),
        scheme: head.scheme.as_str().into(),
        host: head.host.into(),
        path: head.path.into(),
        query: head.query.unwrap_or_default().into(),
        listener: head.listener.into(),
        client: head.client.to_string(),
    }
}

fn refused(error: &Error) -> pb::RefusedRequest {
    pb::RefusedRequest {
        status: error.status().as_u16().into(),
        reason: error.reason().into(),
        detail: error.to_string(),
    }
}

fn local(answered: Answered) -> Outcome {
    let status = answered.response.status().as_u16().into();
    match text(answered.response.headers(), &header::LOCATION) {
        Some(location) if answered.response.status().is_redirection() => {
            Outcome::Redirect(pb::Redirected { status, location })
        }
        Some(_) | None => Outcome::Respond(pb::Responded { status, body_bytes: answered.body as u32 }),
    }
}

// The bytes of a header that are no text are shown as such.
fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
