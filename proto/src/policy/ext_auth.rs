//! Ask an authorization server about each request (forward authentication).

use crate::{
    fields::{authority, check_header_names, check_reference},
    invalid::Faults,
    name::Name,
    pb, quantity,
};
use http::{HeaderName, HeaderValue, header, uri::PathAndQuery};
use pb::ext_auth::OnFailure;
use std::time::Duration;

/// How long the server may take, where nothing else is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// What it is told of the client's headers, where nothing else is said.
const SENT: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];
/// What clients are told of its refusals besides.
const TOLD: [HeaderName; 3] = [header::LOCATION, header::SET_COOKIE, header::WWW_AUTHENTICATE];

/// Ask an authorization server about each request.
#[derive(Clone, Debug)]
pub struct ExtAuth {
    /// Whom.
    pub upstream: Name,
    /// What of it.
    pub path: PathAndQuery,
    /// By which name, if not by that of the request.
    pub host: Option<HeaderValue>,
    /// The headers of the request that it is told.
    pub send: Vec<HeaderName>,
    /// The headers of its answer that the upstream gets in place of the client's.
    pub to_upstream: Vec<HeaderName>,
    /// The headers of its refusals that the client gets.
    pub to_client: Vec<HeaderName>,
    /// How long it may take, all together.
    pub timeout: Duration,
    /// Whether requests pass when it does not answer.
    pub fails_open: bool,
}

impl ExtAuth {
    pub(super) fn check(message: &pb::ExtAuth, faults: &mut Faults) -> Option<ExtAuth> {
        let pb::ExtAuth { upstream, path, host, send, to_upstream, to_client, timeout, on_failure } = message;
        let upstream = check_reference("upstream", upstream, faults);
        let path = faults.at("path", |faults| faults.take(check_path(path)));
        let host = faults.at("host", |faults| match host.as_str() {
            "" => Some(None),
            host => faults.take(authority(host)).map(Some),
        });
        let sent = match send.is_empty() {
            true => SENT.to_vec(),
            false => check_header_names("send", send, faults),
        };
        let to_upstream = check_header_names("to_upstream", to_upstream, faults);
        if let Some(at) = to_upstream.iter().position(|name| *name == header::HOST) {
            faults.at("to_upstream", |faults| faults.note_at(at, "where a request goes is said by its route"));
        }
        let mut told = check_header_names("to_client", to_client, faults);
        told.extend(TOLD);
        let timeout = faults.at("timeout", |faults| match timeout.as_str() {
            "" => Some(TIMEOUT),
            text => faults.take(check_timeout(text)),
        });
        let fails_open = match on_failure {
            Some(OnFailure::Deny(_)) => Some(false),
            Some(OnFailure::Allow(_)) => Some(true),
            None => {
                faults.note("say what becomes of requests when the server does not answer: `deny: {}` or `allow: {}`");
                None
            }
        };
        Some(ExtAuth {
            upstream: upstream?,
            path: path?,
            host: host?,
            send: sent,
            to_upstream,
            to_client: told,
            timeout: timeout?,
            fails_open: fails_open?,
        })
    }
}

fn check_path(text: &str) -> Result<PathAndQuery, String> {
    let text = if text.is_empty() { "/" } else { text };
    let advice =
        || format!("{text:?} is not a path; it begins with / and may have a query, as in \"/check?by=gateway\"");
    let path = PathAndQuery::try_from(text).map_err(|_| advice())?;
    if text.starts_with('/') && !text.contains('#') { Ok(path) } else { Err(advice()) }
}

fn check_timeout(text: &str) -> Result<Duration, String> {
    let timeout = quantity::duration(text)?;
    match timeout > Duration::ZERO && timeout <= MAX_TIMEOUT {
        true => Ok(timeout),
        false => {
            Err(format!("every request waits for it; give more than 0 and at most {}", quantity::write(MAX_TIMEOUT)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut pb::ExtAuth)) -> Result<ExtAuth, Vec<String>> {
        let mut message = pb::ExtAuth {
            upstream: "guard".into(),
            on_failure: Some(OnFailure::Deny(pb::Deny {})),
            ..pb::ExtAuth::default()
        };
        change(&mut message);
        let mut faults = Faults::default();
        let policy = ExtAuth::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(policy.unwrap()) } else { Err(found) }
    }

    #[test]
    fn what_is_left_out_is_strict() {
        let policy = check(|_| {}).unwrap();
        assert_eq!((policy.path.as_str(), policy.timeout, policy.fails_open), ("/", TIMEOUT, false));
        assert_eq!((policy.send, policy.to_upstream), (SENT.to_vec(), vec![]));
        assert_eq!(policy.to_client, TOLD);
    }

    #[test]
    fn faults_say_where_and_what_to_do() {
        let fails = |change: fn(&mut pb::ExtAuth), expect: &str| {
            let found = check(change).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(expect), "{expect}: {found:?}");
        };
        fails(|message| message.on_failure = None, ": say what becomes");
        fails(|message| message.upstream = "Guard".into(), "/upstream: ");
        fails(|message| message.path = "check".into(), "/path: \"check\" is not a path");
        fails(|message| message.path = "/a#b".into(), "/path: ");
        fails(|message| message.host = "a b".into(), "/host: ");
        fails(|message| message.timeout = "31s".into(), "/timeout: every request waits");
        fails(|message| message.timeout = "0s".into(), "/timeout: ");
        fails(|message| message.send = vec!["transfer-encoding".into()], "/send/0: ");
        fails(|message| message.to_upstream = vec!["x-user".into(), "host".into()], "/to_upstream/1: where");
        fails(|message| message.to_client = vec!["a b".into()], "/to_client/0: ");
        assert_eq!(check(|message| message.send = vec!["x-a".into()]).unwrap().send, ["x-a"]);
    }
}
