//! The protocols that a client may switch its connection to, checked.

use crate::{invalid::Faults, pb, quantity};
use http::HeaderValue;
use std::time::Duration;

/// The most protocols of a route.
const MAX_PROTOCOLS: usize = 8;
/// The longest name of one.
const MAX_PROTOCOL: usize = 64;
/// How long neither side may send anything, where nothing is said.
const DEFAULT_IDLE: Duration = Duration::from_secs(60 * 60);

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What clients may switch to.
#[derive(Clone, Debug)]
pub struct Upgrades {
    /// As the upstream is asked for them.
    pub protocols: Vec<HeaderValue>,
    /// How long neither side may send anything.
    pub idle: Duration,
    /// Whether the operator named them, and so counts on them.
    pub named: bool,
}

// === impl Upgrades ===

impl Upgrades {
    pub(super) fn check(message: Option<&pb::Upgrades>, faults: &mut Faults) -> Upgrades {
        let Some(message) = message else {
            return Upgrades { protocols: vec![WEBSOCKET], idle: DEFAULT_IDLE, named: false };
        };
        let protocols: Vec<HeaderValue> = faults.at("protocols", |faults| {
            if message.protocols.len() > MAX_PROTOCOLS {
                faults.note(format!("at most {MAX_PROTOCOLS} protocols can be given"));
            }
            for (at, text) in message.protocols.iter().enumerate() {
                if message.protocols[..at].iter().any(|before| before.eq_ignore_ascii_case(text)) {
                    faults.note_at(at, format!("{text:?} is there already"));
                }
            }
            let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(protocol(text)));
            message.protocols.iter().enumerate().filter_map(parse).collect()
        });
        let idle = match message.idle.as_str() {
            "" => None,
            text => faults.at("idle", |faults| faults.take(quantity::duration(text))),
        };
        if idle.is_some() && message.protocols.is_empty() {
            faults.note_at("protocols", "without a protocol nothing is upgraded; give `protocols: [websocket]`");
        }
        let named = !protocols.is_empty();
        Upgrades { protocols, idle: idle.unwrap_or(DEFAULT_IDLE), named }
    }
}

// One protocol: a name, and maybe a version.
fn protocol(text: &str) -> Result<HeaderValue, String> {
    let (name, version) = match text.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    if !is_token(name) || !version.is_none_or(is_token) || text.len() > MAX_PROTOCOL {
        return Err(format!("{text:?} is not a protocol; write a name as in the header `Upgrade`, like \"websocket\""));
    }
    match name.to_ascii_lowercase().as_str() {
        "h2" | "h2c" | "h3" | "http" | "https" => Err(format!(
            "{text:?} is never switched to, for what is in it no policy would see; clients speak HTTP/2 from the first \
             byte, and with an upstream the upstream's `protocol` is spoken"
        )),
        "tls" | "ssl" => Err(format!(
            "{text:?} is never switched to; use a listener of the scheme https, and the `tls` of the upstream"
        )),
        "ws" | "wss" | "websockets" => {
            Err(format!("{text:?} is no protocol; that of ws:// and wss:// is \"websocket\""))
        }
        "websocket" => Ok(WEBSOCKET),
        _ => HeaderValue::from_str(text).map_err(|_| format!("{text:?} is not a protocol")),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocols: &[&str], idle: &str) -> Result<Upgrades, Vec<String>> {
        let mut faults = Faults::default();
        let protocols = protocols.iter().map(ToString::to_string).collect();
        let upgrades = Upgrades::check(Some(&pb::Upgrades { protocols, idle: idle.into() }), &mut faults);
        let found = faults.into_found();
        if found.is_empty() { Ok(upgrades) } else { Err(found.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn websocket_is_allowed_where_nothing_is_said() {
        let upgrades = Upgrades::check(None, &mut Faults::default());
        assert_eq!((upgrades.protocols, upgrades.idle, upgrades.named), (vec![WEBSOCKET], DEFAULT_IDLE, false));
        let none = check(&[], "").unwrap();
        assert!(none.protocols.is_empty() && !none.named);
    }

    #[test]
    fn protocols_are_names_with_or_without_a_version() {
        let upgrades = check(&["WebSocket", "SPDY/3.1", "my-proto", "tcp"], "5m").unwrap();
        assert_eq!(upgrades.protocols, ["websocket", "SPDY/3.1", "my-proto", "tcp"]);
        assert_eq!((upgrades.idle, upgrades.named), (Duration::from_secs(300), true));
        for bad in ["", "a b", "a,b", "a/", "/1", "a/1/2", "a\r\nb", "ä", &"x".repeat(65)] {
            assert!(check(&[bad], "").unwrap_err()[0].contains("is not a protocol"), "{bad:?}");
        }
    }

    #[test]
    fn what_would_pass_policies_by_is_refused_with_advice() {
        for (bad, advice) in [
            ("h2c", "`protocol`"),
            ("H2C", "`protocol`"),
            ("HTTP/2.0", "`protocol`"),
            ("h2", "`protocol`"),
            ("TLS/1.2", "https"),
            ("wss", "\"websocket\""),
        ] {
            assert!(check(&["x", bad], "").unwrap_err()[0].contains(advice), "{bad}");
        }
        assert_eq!(check(&["x", "X"], "").unwrap_err().len(), 1);
        assert_eq!(check(&["1", "2", "3", "4", "5", "6", "7", "8", "9"], "").unwrap_err().len(), 1);
        assert!(check(&[], "5m").unwrap_err()[0].starts_with("/protocols: "));
        assert!(check(&["x"], "5").unwrap_err()[0].starts_with("/idle: "));
    }
}
