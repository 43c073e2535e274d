//! What is spoken with the endpoints of an upstream, checked.

use super::duration;
use crate::{invalid::Faults, pb};
use std::time::Duration;

/// What is spoken with endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2 {
        /// How often a connection with requests under way is asked whether it is there.
        ping: Option<Duration>,
    },
}

impl Protocol {
    /// Checks the field `protocol`.
    pub(super) fn check(message: Option<&pb::Protocol>, faults: &mut Faults) -> Protocol {
        use pb::protocol::Kind;
        match message.and_then(|message| message.kind.as_ref()) {
            None | Some(Kind::Http1(_)) => Protocol::Http1,
            Some(Kind::Http2(http2)) => {
                let ping = faults.at("protocol", |faults| {
                    faults.at("http2", |faults| {
                        let ping = duration("ping", &http2.ping, faults);
                        if ping.is_some_and(|ping| ping < Duration::from_secs(1)) {
                            faults.note_at("ping", "a connection is asked once a second at most: 1s or longer");
                        }
                        ping
                    })
                });
                Protocol::Http2 { ping }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::protocol::Kind;

    #[test]
    fn a_ping_is_a_duration_of_a_second_or_more() {
        let check = |ping: &str| {
            let mut faults = Faults::default();
            let kind = Some(Kind::Http2(pb::Http2 { ping: ping.into() }));
            let protocol = Protocol::check(Some(&pb::Protocol { kind }), &mut faults);
            faults.into_found().pop().map_or(Ok(protocol), |fault| Err(fault.pointer))
        };
        assert_eq!(check(""), Ok(Protocol::Http2 { ping: None }));
        assert_eq!(check("10s"), Ok(Protocol::Http2 { ping: Some(Duration::from_secs(10)) }));
        for bad in ["10ms", "soon"] {
            assert_eq!(check(bad), Err("/protocol/http2/ping".into()));
        }
    }
}
