//! What a request offers to the templates of its route.

use super::Context;
use proto::{
    matching::{Captures, parameter},
    path::percent_decode,
    template::{Reference, Scope},
};
use std::borrow::Cow;

/// The values of a request.
pub(crate) struct Values<'a> {
    context: &'a Context,
    // The names of the captures, in their order.
    variables: &'a [String],
    captures: Captures,
}

impl<'a> Values<'a> {
    /// Of a request whose route captures nothing, or where that does not matter.
    pub(crate) fn of(context: &'a Context) -> Values<'a> {
        Values { context, variables: &[], captures: Captures::default() }
    }

    /// With what its path captured.
    pub(crate) fn with_captures(context: &'a Context, variables: &'a [String], captures: Captures) -> Values<'a> {
        Values { context, variables, captures }
    }

    /// The request.
    pub(crate) fn context(&self) -> &'a Context {
        self.context
    }
}

impl Scope for Values<'_> {
    fn value(&self, reference: &Reference) -> Option<Cow<'_, [u8]>> {
        match reference {
            Reference::Path(name) => {
                let index = self.variables.iter().position(|variable| variable == name)?;
                self.captures.get(index, self.context.path()).map(percent_decode)
            }
            Reference::Query(name) => parameter(self.context.target.query()?, name).map(Cow::Owned),
            Reference::Header(name) => {
                // The Host that the client asked for is not among the headers that the upstream sees.
                match name == "host" {
                    true => Some(Cow::Borrowed(self.context.host.value().as_bytes())),
                    false => self.context.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
                }
            }
        }
    }
}
