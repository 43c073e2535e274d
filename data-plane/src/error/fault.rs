//! Whose fault an error is.

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The client's.
    Client,
    /// The gateway's, or its configuration's.
    Gateway,
    /// The upstream's.
    Upstream,
}

// === impl Fault ===

impl Fault {
    /// The label in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Gateway => "gateway",
            Fault::Upstream => "upstream",
        }
    }
}
