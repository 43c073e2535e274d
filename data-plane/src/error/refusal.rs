//! Why a policy refuses a request, and what the client is told.

use super::fault::Fault;
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::{borrow::Cow, fmt};

/// Why a policy refuses a request, and what the client is told.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: StatusCode,
    /// Whose fault it is.
    pub(crate) fault: Fault,
    /// The label in problems, logs and metrics.
    pub(crate) reason: &'static str,
    /// What to do, for people. It must not help to guess a credential.
    pub(crate) detail: Cow<'static, str>,
    /// Further headers of the answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl Refusal ===

impl Refusal {
    /// Nobody knows whose request it is, and nobody is served unknown.
    pub(crate) fn unauthenticated(challenges: impl IntoIterator<Item = HeaderValue>) -> Refusal {
        Refusal {
            status: StatusCode::UNAUTHORIZED,
            fault: Fault::Client,
            reason: "unauthenticated",
            detail: "the request carries no credential that is accepted here; WWW-Authenticate names what is".into(),
            headers: challenges.into_iter().map(|challenge| (header::WWW_AUTHENTICATE, challenge)).collect(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
