//! Why an answer that is made of several is none, and what the client is told.

use http::StatusCode;
use std::fmt;

/// A part failed without which there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct PartFailure {
    /// Its name.
    pub(crate) part: Box<str>,
    /// How a sentence about it goes on.
    pub(crate) why: &'static str,
    /// The status of the answer.
    pub(crate) status: StatusCode,
}

impl fmt::Display for PartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the part {:?} of the answer failed: {}", self.part, self.why)
    }
}
