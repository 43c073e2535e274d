//! Change the headers of the response: remove, then set, then add.

use crate::context::{Context, Values};
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{fields::HeaderTemplate, policy::ResponseHeaders, template::Template};

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ResponseHeadersFilter {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
}

#[derive(Debug)]
enum Value {
    // Made once; to put it into a response is to count a reference.
    Literal(HeaderValue),
    Template(Template),
}

// === impl ResponseHeadersFilter ===

impl ResponseHeadersFilter {
    pub(super) fn build(policy: &ResponseHeaders) -> ResponseHeadersFilter {
        let build = |headers: &[HeaderTemplate]| {
            headers.iter().map(|header| (header.name.clone(), Value::build(&header.value))).collect()
        };
        ResponseHeadersFilter { remove: policy.remove.clone(), set: build(&policy.set), add: build(&policy.add) }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        let written = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(written).cloned().collect()
    }

    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            if let Some(value) = value.render(context) {
                headers.insert(name, value);
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.render(context) {
                headers.append(name, value);
            }
        }
    }
}

// === impl Value ===

impl Value {
    fn build(template: &Template) -> Value {
        match template.as_literal().and_then(|text| HeaderValue::from_str(text).ok()) {
            Some(value) => Value::Literal(value),
            None => Value::Template(template.clone()),
        }
    }

    // None where the request lacks a value, or has one that cannot stand in a header.
    fn render(&self, context: &Context) -> Option<HeaderValue> {
        match self {
            Value::Literal(value) => Some(value.clone()),
            Value::Template(template) => {
                let mut text = String::new();
                template.render(&Values::of(context), &mut text).ok()?;
                HeaderValue::try_from(text).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, header};
    use proto::template::Target;

    fn value(text: &str) -> Value {
        Value::build(&Template::parse(text, Target::HeaderValue, Some(&[])).unwrap())
    }

    #[test]
    fn remove_then_set_then_add() {
        let name = HeaderName::from_static;
        let filter = ResponseHeadersFilter {
            remove: vec![header::SERVER, name("x-a")],
            set: vec![(name("x-a"), value("1")), (name("x-id"), value("<{header.x-request-id}>"))],
            add: vec![(name("x-a"), value("2")), (name("x-none"), value("{query.none}"))],
        };
        let mut context = Context::of_request(Method::GET, "/x?q=1");
        context.headers.insert("x-request-id", HeaderValue::from_static("7"));
        let mut headers = HeaderMap::new();
        headers.insert(header::SERVER, HeaderValue::from_static("s"));
        headers.append("x-a", HeaderValue::from_static("0"));
        filter.response(&context, &mut headers);
        let all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(all, [("x-a", "1"), ("x-a", "2"), ("x-id", "<7>")]);
    }
}
