//! What clients are told of how their requests were answered.

use crate::{invalid::Faults, pb};

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// Where the time went (`Server-Timing`).
    pub server_timing: bool,
    /// Who made the answer, and why (`Proxy-Status`).
    pub proxy_status: Option<ProxyStatus>,
}

/// Who made the answer, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStatus {
    /// Whether with the address of the endpoint.
    pub next_hop: bool,
}

impl Diagnostics {
    pub(super) fn check(message: &pb::Diagnostics, faults: &mut Faults) -> Option<Diagnostics> {
        let pb::Diagnostics { server_timing, proxy_status } = message;
        if server_timing.is_none() && proxy_status.is_none() {
            faults.note("a policy that tells nothing; give `server_timing: {}`, `proxy_status: {}` or both");
            return None;
        }
        let proxy_status = proxy_status.map(|pb::ProxyStatus { next_hop }| ProxyStatus { next_hop });
        Some(Diagnostics { server_timing: server_timing.is_some(), proxy_status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_something() {
        let mut faults = Faults::default();
        let timing = pb::Diagnostics { server_timing: Some(pb::ServerTiming {}), proxy_status: None };
        let expect = Diagnostics { server_timing: true, proxy_status: None };
        assert_eq!(Diagnostics::check(&timing, &mut faults), Some(expect));
        assert_eq!((Diagnostics::check(&pb::Diagnostics::default(), &mut faults), faults.count()), (None, 1));
    }
}
