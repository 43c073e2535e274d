//! Ask an authorization server about each request (forward authentication), by HTTP or by gRPC.

use crate::{
    fields::{MAX_HEADERS, authority, check_header_names, check_reference},
    invalid::Faults,
    name::Name,
    pb, quantity,
};
use http::{HeaderName, HeaderValue, header, uri::PathAndQuery};
use pb::ext_auth::OnFailure;
use std::{collections::BTreeMap, time::Duration};

/// How long the server may take, where nothing else is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// What it is told of the client's headers, where nothing else is said.
const SENT: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];
/// What clients are told of its refusals besides.
const TOLD: [HeaderName; 3] = [header::LOCATION, header::SET_COOKIE, header::WWW_AUTHENTICATE];
/// What belongs to a body.
const READING: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_RANGE];

/// The most extensions, and the longest name or value of one or of a parameter.
const MAX_EXTENSIONS: usize = 32;
const MAX_TEXT: usize = 1024;

/// Ask an authorization server about each request.
#[derive(Clone, Debug)]
pub struct ExtAuth {
    /// Whom.
    pub upstream: Name,
    /// How.
    pub form: ExtAuthForm,
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

/// How an authorization server is asked.
#[derive(Clone, Debug)]
pub enum ExtAuthForm {
    /// With a request for this.
    Http(PathAndQuery),
    /// As Envoy's ext_authz asks.
    Grpc(ExtAuthGrpc),
}

/// What is said by gRPC beside the request.
#[derive(Clone, Debug)]
pub struct ExtAuthGrpc {
    /// What the server is told each time.
    pub context_extensions: BTreeMap<String, String>,
    /// The parameters of the query that the upstream gets from its answer in place of the client's, decoded.
    pub query: Vec<Box<[u8]>>,
}

impl ExtAuth {
    pub(super) fn check(message: &pb::ExtAuth, faults: &mut Faults) -> Option<ExtAuth> {
        let pb::ExtAuth { upstream, path, host, send, to_upstream, to_client, timeout, on_failure, grpc } = message;
        let upstream = check_reference("upstream", upstream, faults);
        let form = match grpc {
            None => faults.at("path", |faults| faults.take(check_path(path)).map(ExtAuthForm::Http)),
            Some(grpc) => {
                if !path.is_empty() {
                    faults.note_at("path", "by gRPC it is always the same; leave `path` or `grpc` out");
                }
                Some(ExtAuthForm::Grpc(faults.at("grpc", |faults| ExtAuthGrpc::check(grpc, faults))))
            }
        };
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
        if let Some(at) = told.iter().position(|name| READING.contains(name)) {
            faults.at("to_client", |faults| faults.note_at(at, "it says how to read a body, which has its own"));
        }
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
            form: form?,
            host: host?,
            send: sent,
            to_upstream,
            to_client: told,
            timeout: timeout?,
            fails_open: fails_open?,
        })
    }
}

impl ExtAuthGrpc {
    fn check(message: &pb::ExtAuthGrpc, faults: &mut Faults) -> ExtAuthGrpc {
        let pb::ExtAuthGrpc { context_extensions, query } = message;
        faults.at("context_extensions", |faults| {
            if context_extensions.len() > MAX_EXTENSIONS {
                faults.note(format!("at most {MAX_EXTENSIONS} can be given"));
            }
            for (key, value) in context_extensions {
                if key.is_empty() || key.len() > MAX_TEXT || value.len() > MAX_TEXT {
                    faults
                        .note_at(key, format!("a key is not empty, and keys and values have at most {MAX_TEXT} bytes"));
                }
            }
        });
        faults.at("query", |faults| {
            if query.len() > MAX_HEADERS {
                faults.note(format!("at most {MAX_HEADERS} parameters can be given"));
            }
            if let Some(at) = query.iter().position(|name| name.is_empty() || name.len() > MAX_TEXT) {
                faults.note_at(at, format!("a parameter has a name, of at most {MAX_TEXT} bytes"));
            }
        });
        ExtAuthGrpc {
            context_extensions: context_extensions.clone(),
            query: query.iter().map(|name| name.as_bytes().into()).collect(),
        }
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
        assert!(matches!(&policy.form, ExtAuthForm::Http(path) if path == "/"));
        assert_eq!((policy.timeout, policy.fails_open), (TIMEOUT, false));
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
        fails(|message| message.to_client = vec!["x-a".into(), "content-type".into()], "/to_client/1: it says how");
        fails(
            |message| (message.path, message.grpc) = ("/".into(), Some(pb::ExtAuthGrpc::default())),
            "/path: by gRPC it is always the same",
        );
        let extended = |key: &str, value: String| {
            let context_extensions = [(key.to_string(), value)].into();
            Some(pb::ExtAuthGrpc { context_extensions, ..pb::ExtAuthGrpc::default() })
        };
        let found = check(|message| message.grpc = extended("a/b", "x".repeat(1025))).unwrap_err();
        assert!(found[0].starts_with("/grpc/context_extensions/a~1b: "), "{found:?}");
        let named = |query: &[&str]| {
            let query = query.iter().map(|name| name.to_string()).collect();
            Some(pb::ExtAuthGrpc { query, ..pb::ExtAuthGrpc::default() })
        };
        let found = check(|message| message.grpc = named(&["a", ""])).unwrap_err();
        assert!(found[0].starts_with("/grpc/query/1: "), "{found:?}");
        let policy = check(|message| message.grpc = named(&["a b"])).unwrap();
        assert!(matches!(policy.form, ExtAuthForm::Grpc(grpc) if *grpc.query[0] == *b"a b"));
        assert_eq!(check(|message| message.send = vec!["x-a".into()]).unwrap().send, ["x-a"]);
    }
}
