//! Routes, checked.

mod mirror;
mod split;
mod upgrades;

pub use mirror::Mirror;
pub use split::{Destination, Split, SplitSide};
pub use upgrades::Upgrades;

use crate::{
    compose::Compose,
    fields::{HeaderTemplate, authority, check_headers, check_labels, check_name},
    invalid::Faults,
    matching::{Match, PathPattern, Scheme, scheme},
    name::Name,
    path::normalise,
    pb,
    policy::{Attachment, check_disable},
    quantity,
    template::{Target, Template},
    upstream::Timeouts,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use std::collections::BTreeMap;

/// The largest body of `respond`, in bytes.
pub const MAX_RESPOND_BODY: usize = 64 * 1024;

/// What to match, and what to do.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The higher wins.
    pub priority: i32,
    /// Which requests.
    pub matches: Match,
    /// What happens to them.
    pub action: Action,
    /// Policies of this route.
    pub policies: Vec<Attachment>,
    /// Policy kinds that do not hold here.
    pub disable: Vec<&'static str>,
    /// The largest request body; `None`: the node's setting.
    pub request_body: Option<BodyLimit>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send it to an upstream.
    Forward(Forward),
    /// Answer with another address.
    Redirect(Redirect),
    /// Answer at the gateway.
    Respond(Respond),
    /// Answer with what several upstreams answer.
    Compose(Box<Compose>),
}

/// Send the request to an upstream.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where to.
    pub destination: Destination,
    /// How the path changes.
    pub rewrite: Option<Rewrite>,
    /// The Host that the upstream sees in place of the client's.
    pub host: Option<HeaderValue>,
    /// Deadlines in place of the upstream's; `None` where those hold.
    pub timeouts: Timeouts<Option<std::time::Duration>>,
    /// What clients may switch to.
    pub upgrades: Upgrades,
    /// Who gets a copy.
    pub mirror: Option<Mirror>,
}

/// How the path changes.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// The matched prefix of `matched` bytes gives way to `by`, which has no final slash.
    Prefix {
        /// How many bytes of the path were matched.
        matched: usize,
        /// What takes their place; empty for the root.
        by: String,
    },
    /// The whole path, and with a `?` in it the query.
    Template(Template),
}

/// Answer with another address; what is `None` stays as the client asked.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// How the path changes.
    pub rewrite: Option<Rewrite>,
}

/// Answer at the gateway.
#[derive(Clone, Debug)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// Headers.
    pub headers: Vec<HeaderTemplate>,
    /// The body.
    pub body: Bytes,
}

/// The largest request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// So many bytes.
    Bytes(u64),
    /// No limit.
    Unlimited,
}

// === impl Route ===

impl Route {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Route, faults: &mut Faults) -> Option<Route> {
        let name = check_name(&message.name, faults);
        check_labels(&message.labels, faults);
        let matches = faults.at("match", |faults| Match::check(message.r#match.as_ref(), faults));
        let action = message.action.as_ref().and_then(|action| Action::check(action, &matches.path, faults));
        let policies = Attachment::check_list(&message.policies, faults);
        // One that is wrong otherwise is told of first.
        if policies.len() == message.policies.len() {
            Attachment::check_captured(&policies, &matches.path.variables(), faults);
        }
        let disable = check_disable(&message.disable, faults);
        let request_body = message.limits.as_ref().filter(|limits| !limits.request_body.is_empty());
        let request_body = request_body.and_then(|limits| {
            faults.at("limits", |faults| {
                faults.at("request_body", |faults| faults.take(BodyLimit::parse(&limits.request_body)))
            })
        });
        let (labels, priority) = (message.labels.clone(), message.priority.unwrap_or(0));
        Some(Route { name: name?, labels, priority, matches, action: action?, policies, disable, request_body })
    }

    /// The names of the upstreams it refers to, each with the pointer of the reference.
    pub fn upstreams(&self) -> Vec<(&Name, String)> {
        match &self.action {
            Action::Forward(forward) => {
                let mirror = forward.mirror.as_ref().map(|mirror| (&mirror.upstream, "mirror/upstream".to_string()));
                let upstreams = forward.destination.upstreams().into_iter().chain(mirror);
                upstreams.map(|(name, pointer)| (name, format!("/forward/{pointer}"))).collect()
            }
            Action::Compose(compose) => {
                compose.upstreams().into_iter().map(|(name, at)| (name, format!("/compose/{at}"))).collect()
            }
            Action::Redirect(_) | Action::Respond(_) => Vec::new(),
        }
    }
}

// === impl Action ===

impl Action {
    fn check(action: &pb::route::Action, path: &PathPattern, faults: &mut Faults) -> Option<Action> {
        use pb::route::Action as Message;
        match action {
            Message::Forward(message) => {
                faults.at("forward", |faults| Forward::check(message, path, faults)).map(Action::Forward)
            }
            Message::Redirect(message) => {
                faults.at("redirect", |faults| Redirect::check(message, path, faults)).map(Action::Redirect)
            }
            Message::Respond(message) => {
                faults.at("respond", |faults| Respond::check(message, path, faults)).map(Action::Respond)
            }
            Message::Compose(message) => {
                let compose = faults.at("compose", |faults| Compose::check(message, &path.variables(), faults));
                compose.map(|compose| Action::Compose(Box::new(compose)))
            }
        }
    }
}

// === impl Forward ===

impl Forward {
    fn check(message: &pb::Forward, path: &PathPattern, faults: &mut Faults) -> Option<Forward> {
        let destination = Destination::check(message, &path.variables(), faults);
        let rewrite = Rewrite::check(message.rewrite.as_ref(), path, faults);
        let host = faults.at("host", |faults| match message.host.as_str() {
            "" => None,
            text => faults.take(authority(text)),
        });
        let timeouts = Timeouts::check(message.timeouts.as_ref(), faults);
        let upgrades = faults.at("upgrades", |faults| Upgrades::check(message.upgrades.as_ref(), faults));
        let mirror = message.mirror.as_ref();
        let mirror = mirror.and_then(|mirror| faults.at("mirror", |faults| Mirror::check(mirror, faults)));
        Some(Forward { destination: destination?, rewrite, host, timeouts, upgrades, mirror })
    }
}

// === impl Rewrite ===

impl Rewrite {
    fn check(message: Option<&pb::Rewrite>, path: &PathPattern, faults: &mut Faults) -> Option<Rewrite> {
        use pb::rewrite::Kind;
        let kind = message?.kind.as_ref()?;
        faults.at("rewrite", |faults| match kind {
            Kind::Prefix(text) => faults.at("prefix", |faults| faults.take(Rewrite::prefix(text, path))),
            Kind::Template(text) => faults.at("template", |faults| {
                faults.take(Template::parse(text, Target::PathAndQuery, Some(&path.variables()))).map(Rewrite::Template)
            }),
        })
    }

    fn prefix(text: &str, path: &PathPattern) -> Result<Rewrite, String> {
        let matched = match path {
            PathPattern::Prefix(prefix) => prefix.len(),
            PathPattern::Any => 0,
            PathPattern::Exact(_) | PathPattern::Template(_) | PathPattern::Regex(_) => {
                return Err("a prefix can be rewritten only where one is matched; use `template`".into());
            }
        };
        match normalise(text) {
            Ok(normal) if normal == text && !text.contains(['?', '#']) => {
                Ok(Rewrite::Prefix { matched, by: text.strip_suffix('/').unwrap_or(text).into() })
            }
            Ok(normal) => Err(format!("a path is written in its normal form: {normal:?}")),
            Err(fault) => Err(fault.to_string()),
        }
    }
}

// === impl Redirect ===

impl Redirect {
    fn check(message: &pb::Redirect, path: &PathPattern, faults: &mut Faults) -> Option<Redirect> {
        let before = faults.count();
        let status = message.status.unwrap_or(302);
        if ![301, 302, 303, 307, 308].contains(&status) {
            faults.note_at("status", format!("{status} does not redirect; use 301, 302, 303, 307 or 308"));
        }
        let scheme = faults.at("scheme", |faults| match message.scheme.as_str() {
            "" => None,
            text => faults.take(scheme(text)),
        });
        let host = faults.at("host", |faults| match message.host.as_str() {
            "" => None,
            text => faults.take(crate::matching::host_name(text).map(|()| text.to_ascii_lowercase())),
        });
        let port = message.port.map(u16::try_from);
        if matches!(port, Some(Err(_) | Ok(0))) {
            faults.note_at("port", "a port is 1 to 65535");
        }
        let rewrite = Rewrite::check(message.rewrite.as_ref(), path, faults);
        if scheme.is_none() && host.is_none() && port.is_none() && rewrite.is_none() && faults.count() == before {
            faults
                .note("a redirect to the same address goes round for ever; give `scheme`, `host`, `port` or `rewrite`");
        }
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
        Some(Redirect { status, scheme, host, port: port.and_then(Result::ok), rewrite })
    }
}

// === impl Respond ===

impl Respond {
    fn check(message: &pb::Respond, path: &PathPattern, faults: &mut Faults) -> Option<Respond> {
        let status = message.status.unwrap_or(200);
        let valid = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        if valid.is_none() {
            faults.note_at("status", format!("{status} is not the status of an answer; use 200 to 599"));
        }
        if message.body.len() > MAX_RESPOND_BODY {
            faults.note_at("body", "the body is larger than 64KiB; let an upstream serve it");
        }
        if matches!(status, 204 | 205 | 304) && !message.body.is_empty() {
            faults.note_at("body", format!("an answer of {status} has no body"));
        }
        let headers = check_headers("headers", &message.headers, Some(&path.variables()), faults);
        let status = StatusCode::from_u16(valid?).ok()?;
        Some(Respond { status, headers, body: Bytes::from(message.body.clone()) })
    }
}

// === impl BodyLimit ===

impl BodyLimit {
    /// Parses a size or `unlimited`.
    pub fn parse(text: &str) -> Result<BodyLimit, String> {
        match text {
            "unlimited" => Ok(BodyLimit::Unlimited),
            text => quantity::size(text).map(BodyLimit::Bytes),
        }
    }
}
