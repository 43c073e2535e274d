//! What a filter says to a request.

use crate::{context::Answer, error::Refusal};
use futures_util::future::LocalBoxFuture;
use http::HeaderValue;

/// What a filter says: at once, or when it has asked somebody.
pub(crate) enum Verdict<'a> {
    /// At once.
    Now(Said),
    /// Only a filter that really waits pays for that.
    Wait(LocalBoxFuture<'a, Said>),
}

/// What a filter said.
pub(crate) enum Said {
    /// The request goes on.
    Continue,
    /// It carries none of the credentials that the filter reads: another may know whose it is.
    Absent(Challenge),
    /// It is refused.
    Refuse(Box<Refusal>),
    /// It is answered here, and that is no refusal.
    Answer(Box<Answer>),
}

/// How a client may say who it is: a value of `WWW-Authenticate` (RFC 9110, 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge(pub(crate) HeaderValue);

// === impl Verdict ===

impl Verdict<'_> {
    /// The request goes on.
    pub(crate) const CONTINUE: Verdict<'static> = Verdict::Now(Said::Continue);

    /// It is refused.
    pub(crate) fn refuse(refusal: Refusal) -> Verdict<'static> {
        Verdict::Now(Said::Refuse(Box::new(refusal)))
    }
}
