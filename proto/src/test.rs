//! Tests, checked: what must hold of a request, and whether it does by what was explained.

use crate::{
    explain::Description,
    fields::{check_labels, check_name, check_reference},
    invalid::{Faults, Invalid},
    name::Name,
    pb::{self, explanation::Outcome},
    resource::{Kind, ResourceKey},
};
use std::collections::BTreeMap;

/// The longest expectation that is a text.
const MAX_TEXT: usize = 8 * 1024;

/// What must hold of a request.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The request.
    pub request: Description,
    /// What becomes of it; at least one is given.
    pub expect: Expectation,
}

/// What becomes of a request; only what is given counts.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// The route that wins.
    pub route: Option<Name>,
    status: Option<u32>,
    upstream: Option<Name>,
    reason: Option<String>,
    location: Option<String>,
    target: Option<String>,
}

// === impl Test ===

impl Test {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Test, faults: &mut Faults) -> Option<Test> {
        let name = check_name(&message.name, faults);
        check_labels(&message.labels, faults);
        let request = faults.at("request", |faults| Description::check(message.request.as_ref(), faults));
        let expect = faults.at("expect", |faults| Expectation::check(message.expect.as_ref(), faults));
        Some(Test { name: name?, labels: message.labels.clone(), request: request?, expect: expect? })
    }

    /// What does not become of the request as expected, by what was explained; `why` says why a route did not win.
    pub fn broken(&self, told: &pb::Explanation, why: impl Fn(&Name) -> String) -> Vec<Invalid> {
        let mut faults = Faults::default();
        faults.at("expect", |faults| self.expect.compare(told, why, faults));
        let key = ResourceKey::new(Kind::Test, self.name.clone());
        faults.into_found().into_iter().map(|fault| Invalid { resource: Some(key.clone()), ..fault }).collect()
    }
}

// === impl Expectation ===

impl Expectation {
    fn check(message: Option<&pb::Expectation>, faults: &mut Faults) -> Option<Expectation> {
        let message = message.cloned().unwrap_or_default();
        if message == pb::Expectation::default() {
            faults
                .note("nothing is expected; give at least one of route, status, upstream, reason, location and target");
            return None;
        }
        let before = faults.count();
        let mut name = |field, text: &str| match text {
            "" => None,
            text => check_reference(field, text, faults),
        };
        let (route, upstream) = (name("route", &message.route), name("upstream", &message.upstream));
        let texts = [("reason", &message.reason), ("location", &message.location), ("target", &message.target)];
        for (field, text) in texts {
            if text.len() > MAX_TEXT {
                faults.note_at(field, "at most 8KiB can be expected");
            }
        }
        if message.status.is_some_and(|status| !(200..=599).contains(&status)) {
            faults.note_at("status", "a status of an answer is 200 to 599");
        }
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        (faults.count() == before).then_some(Expectation {
            route,
            upstream,
            status: message.status,
            reason: text(message.reason),
            location: text(message.location),
            target: text(message.target),
        })
    }

    fn compare(&self, told: &pb::Explanation, why: impl Fn(&Name) -> String, faults: &mut Faults) {
        if let Some(route) = &self.route {
            let winner = told.route.as_ref().map(|route| route.name.as_str());
            if winner != Some(route.as_str()) {
                let winner = winner.map_or_else(|| "no route wins".into(), |winner| format!("{winner:?} wins"));
                let because = told.request.as_ref().map(|_| format!("; {:?}: {}", route.as_str(), why(route)));
                faults.note_at(
                    "route",
                    format!(
                        "expected {:?}, but {winner}{}{}",
                        route.as_str(),
                        because.unwrap_or_default(),
                        refusal(told)
                    ),
                );
            }
        }
        let outcome = told.outcome.as_ref();
        if let Some(expected) = self.status {
            match outcome.and_then(status) {
                Some(status) if status == expected => {}
                Some(status) => {
                    faults.note_at("status", format!("expected {expected}, but it would be {status}{}", refusal(told)))
                }
                None => faults.note_at(
                    "status",
                    "what the upstream answers nobody knows before; expect `upstream` or `target` of what is forwarded",
                ),
            }
        }
        let sent: &[pb::ForwardedTo] = match outcome {
            Some(Outcome::Forward(forwarded)) => &forwarded.upstreams,
            Some(Outcome::Refused(_) | Outcome::Redirect(_) | Outcome::Respond(_) | Outcome::Compose(_)) | None => &[],
        };
        let mut compare = |field: &str, expected: Option<&str>, actual: Vec<&str>| {
            let Some(expected) = expected else { return };
            match actual.as_slice() {
                [] => faults.note_at(field, format!("expected {expected:?}, but {}", instead(outcome))),
                [first, rest @ ..] if rest.iter().any(|other| other != first) => {
                    let detail = format!("chance decides between {}, so it cannot be expected", actual.join(" and "));
                    faults.note_at(field, detail);
                }
                [actual, ..] if *actual == expected => {}
                [actual, ..] => faults.note_at(field, format!("expected {expected:?}, but it would be {actual:?}")),
            }
        };
        let upstreams = sent.iter().map(|to| to.upstream.as_str()).collect();
        compare("upstream", self.upstream.as_ref().map(Name::as_str), upstreams);
        compare("target", self.target.as_deref(), sent.iter().map(|to| to.target.as_str()).collect());
        let (reason, location) = match outcome {
            Some(Outcome::Refused(refused)) => (Some(refused.reason.as_str()), None),
            Some(Outcome::Redirect(redirect)) => (None, Some(redirect.location.as_str())),
            Some(Outcome::Forward(_) | Outcome::Respond(_) | Outcome::Compose(_)) | None => (None, None),
        };
        compare("reason", self.reason.as_deref(), reason.into_iter().collect());
        compare("location", self.location.as_deref(), location.into_iter().collect());
    }
}

fn status(outcome: &Outcome) -> Option<u32> {
    match outcome {
        Outcome::Refused(refused) => Some(refused.status),
        Outcome::Redirect(redirect) => Some(redirect.status),
        Outcome::Respond(respond) => Some(respond.status),
        Outcome::Forward(_) | Outcome::Compose(_) => None,
    }
}

fn instead(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Refused(refused)) => format!("it would be refused with {} {}", refused.status, refused.reason),
        Some(Outcome::Redirect(redirect)) => format!("it would be redirected to {}", redirect.location),
        Some(Outcome::Respond(respond)) => format!("the gateway would answer with {}", respond.status),
        Some(Outcome::Compose(composed)) => {
            let parts: Vec<&str> = composed.parts.iter().map(|part| part.name.as_str()).collect();
            format!("it would be composed of {}", parts.join(", "))
        }
        Some(Outcome::Forward(forwarded)) => {
            let upstreams: Vec<&str> = forwarded.upstreams.iter().map(|to| to.upstream.as_str()).collect();
            format!("it would be forwarded to {}", upstreams.join(" or "))
        }
        None => "nothing would become of it".into(),
    }
}

fn refusal(told: &pb::Explanation) -> String {
    match &told.outcome {
        Some(Outcome::Refused(refused)) => format!(" (refused, {}: {})", refused.reason, refused.detail),
        Some(Outcome::Forward(_) | Outcome::Redirect(_) | Outcome::Respond(_) | Outcome::Compose(_)) | None => {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(upstreams: &[(&str, &str)]) -> Outcome {
        let to = |(upstream, target): &(&str, &str)| pb::ForwardedTo {
            upstream: (*upstream).into(),
            target: (*target).into(),
            ..Default::default()
        };
        Outcome::Forward(pb::Forwarded { upstreams: upstreams.iter().map(to).collect() })
    }

    fn broken(expect: pb::Expectation, route: &str, outcome: Outcome) -> String {
        let message = pb::Test {
            name: "t".into(),
            request: Some(pb::RequestDescription { url: "/".into(), ..Default::default() }),
            expect: Some(expect),
            ..Default::default()
        };
        let mut faults = Faults::default();
        let test = Test::check(&message, &mut faults).expect("a test");
        let route = (!route.is_empty()).then(|| pb::WinningRoute { name: route.into(), ..Default::default() });
        let told = pb::Explanation { route, outcome: Some(outcome), ..Default::default() };
        let found = test.broken(&told, |_| "lost".into());
        found.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_what_is_given_is_compared() {
        let none = pb::Expectation::default;
        let to = || forwarded(&[("u", "/x")]);
        let either = || forwarded(&[("u", "/x"), ("v", "/x")]);
        let refused =
            || Outcome::Refused(pb::RefusedRequest { status: 404, reason: "no_route".into(), ..Default::default() });
        let redirect = || Outcome::Redirect(pb::Redirected { status: 302, location: "/y".into() });
        for (expect, route, outcome, pointers) in [
            (pb::Expectation { route: "r".into(), ..none() }, "r", to(), ""),
            (pb::Expectation { route: "r".into(), ..none() }, "s", to(), "/expect/route"),
            (pb::Expectation { route: "r".into(), ..none() }, "", refused(), "/expect/route"),
            (pb::Expectation { status: Some(404), reason: "no_route".into(), ..none() }, "", refused(), ""),
            (
                pb::Expectation { status: Some(400), reason: "x".into(), ..none() },
                "",
                refused(),
                "/expect/status /expect/reason",
            ),
            (pb::Expectation { status: Some(200), ..none() }, "r", to(), "/expect/status"),
            (pb::Expectation { upstream: "u".into(), target: "/x".into(), ..none() }, "r", to(), ""),
            (
                pb::Expectation { upstream: "v".into(), target: "/y".into(), ..none() },
                "r",
                to(),
                "/expect/upstream /expect/target",
            ),
            (
                pb::Expectation { upstream: "u".into(), target: "/x".into(), ..none() },
                "r",
                either(),
                "/expect/upstream",
            ),
            (pb::Expectation { upstream: "u".into(), ..none() }, "r", redirect(), "/expect/upstream"),
            (pb::Expectation { location: "/y".into(), status: Some(302), ..none() }, "r", redirect(), ""),
            (pb::Expectation { location: "/z".into(), ..none() }, "r", redirect(), "/expect/location"),
            (pb::Expectation { location: "/z".into(), ..none() }, "r", to(), "/expect/location"),
        ] {
            assert_eq!(broken(expect.clone(), route, outcome), pointers, "{expect:?}");
        }
    }

    #[test]
    fn a_test_expects_something_that_can_be() {
        let check = |expect: Option<pb::Expectation>| {
            let mut faults = Faults::default();
            Expectation::check(expect.as_ref(), &mut faults);
            faults.into_found().into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(check(None), [""]);
        assert_eq!(
            check(Some(pb::Expectation { status: Some(0), route: "?".into(), ..Default::default() })),
            ["/route", "/status"]
        );
    }
}
