//! Why a part is not in an answer as it should be.

use crate::error::Error;
use http::StatusCode;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A policy of the upstream stopped the call.
    Refused,
    /// The upstream could not be asked, or did not answer.
    Connect,
    /// There was no time left.
    Timeout,
    /// It answered with a status that is not accepted.
    Status(StatusCode),
    /// The body is no JSON.
    Json,
    /// A name stands twice in one object of it.
    Duplicate,
    /// It is larger than it may be.
    TooLarge,
    /// It nests deeper than it may.
    TooDeep,
    /// It did not come whole.
    CutOff,
    /// What is wanted of it is not there.
    NoValue,
    /// A value cannot stand where the call needs it, or is not there.
    Unencodable,
    /// A part that it uses is missing.
    Dependency,
    /// The list has too many elements, or is none.
    Items,
    /// There is something already where it belongs.
    Conflict,
}

// === impl Reason ===

impl Reason {
    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::Refused => "refused",
            Reason::Connect => "connect",
            Reason::Timeout => "timeout",
            Reason::Status(_) => "status",
            Reason::Json => "json",
            Reason::Duplicate => "duplicate",
            Reason::TooLarge => "too_large",
            Reason::TooDeep => "too_deep",
            Reason::CutOff => "cut_off",
            Reason::NoValue => "no_value",
            Reason::Unencodable => "unencodable",
            Reason::Dependency => "dependency",
            Reason::Items => "items",
            Reason::Conflict => "conflict",
        }
    }

    /// What happened, for people: how a sentence about the part goes on.
    pub(crate) fn as_text(self) -> &'static str {
        match self {
            Reason::Refused => "a policy of its upstream stopped the call",
            Reason::Connect => "its upstream could not be asked, or did not answer",
            Reason::Timeout => "it was not there in time",
            Reason::Status(_) => "its upstream answered with a status that is not accepted",
            Reason::Json => "its body is not JSON",
            Reason::Duplicate => "its body has a name twice in one object",
            Reason::TooLarge => "its body is larger than the limit",
            Reason::TooDeep => "its body nests deeper than the limit",
            Reason::CutOff => "its body did not come whole",
            Reason::NoValue => "its body lacks what is selected of it",
            Reason::Unencodable => "a value of another part that its call needs is missing, or cannot stand there",
            Reason::Dependency => "a part that it uses is missing",
            Reason::Items => "its list has more elements than the limit, or is no list",
            Reason::Conflict => "there is something already where it belongs",
        }
    }

    /// Why a call failed.
    pub(super) fn of_call(error: &Error) -> Reason {
        match error {
            Error::ConnectTimeout | Error::ResponseTimeout | Error::QueueTimeout => Reason::Timeout,
            Error::Denied(_) | Error::BodyInvalid(_) => Reason::Refused,
            _ => Reason::Connect,
        }
    }
}
