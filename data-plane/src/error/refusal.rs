//! Why a policy refuses a request, and what the client is told.

use super::fault::Fault;
use bytes::Bytes;
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
    /// What the client gets to read.
    pub(crate) detail: Detail,
    /// Further headers of the answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a client gets to read that is refused.
#[derive(Clone, Debug)]
pub(crate) enum Detail {
    /// What to do, for people, in a problem. It must not help to guess a credential.
    Problem(Cow<'static, str>),
    /// What another says who was asked, of that media type, in place of a problem.
    Body(HeaderValue, Bytes),
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
        f.write_str(match &self.detail {
            Detail::Problem(text) => text,
            Detail::Body(..) => "the request is refused",
        })
    }
}

// === impl Detail ===

impl<T: Into<Cow<'static, str>>> From<T> for Detail {
    fn from(text: T) -> Detail {
        Detail::Problem(text.into())
    }
}
