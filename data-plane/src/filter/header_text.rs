//! Values of headers that policies write: made once where they are always the same, otherwise of what a request carries.

use crate::context::{Context, Values};
use http::{HeaderName, HeaderValue};
use proto::{
    fields::HeaderTemplate,
    template::{RenderError, Template},
};

/// A value of a header.
#[derive(Debug)]
pub(super) enum HeaderText {
    // To put it into a message is to count a reference.
    Literal(HeaderValue),
    Template(Template),
}

// === impl HeaderText ===

impl HeaderText {
    pub(super) fn build(template: &Template) -> HeaderText {
        match template.as_literal().and_then(|text| HeaderValue::from_str(text).ok()) {
            Some(value) => HeaderText::Literal(value),
            None => HeaderText::Template(template.clone()),
        }
    }

    /// A list of headers.
    pub(super) fn build_all(headers: &[HeaderTemplate]) -> Vec<(HeaderName, HeaderText)> {
        headers.iter().map(|header| (header.name.clone(), HeaderText::build(&header.value))).collect()
    }

    /// The value; `None` where the request lacks one that it is made of.
    pub(super) fn render(&self, context: &Context) -> Result<Option<HeaderValue>, RenderError> {
        let template = match self {
            HeaderText::Literal(value) => return Ok(Some(value.clone())),
            HeaderText::Template(template) => template,
        };
        let mut text = String::new();
        match template.render(&Values::of(context), &mut text) {
            // Whatever a template of a header renders can stand in one.
            Ok(()) => Ok(HeaderValue::try_from(text).ok()),
            Err(RenderError::Absent(_)) => Ok(None),
            Err(error @ RenderError::Unencodable(_)) => Err(error),
        }
    }
}
