//! Change the headers of the response: remove, then set, then add.

use super::header_text::HeaderText;
use crate::context::Context;
use http::{HeaderMap, HeaderName};
use proto::policy::ResponseHeaders;

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ResponseHeadersFilter {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderText)>,
    add: Vec<(HeaderName, HeaderText)>,
}

// === impl ResponseHeadersFilter ===

impl ResponseHeadersFilter {
    pub(super) fn build(policy: &ResponseHeaders) -> ResponseHeadersFilter {
        ResponseHeadersFilter {
            remove: policy.remove.clone(),
            set: HeaderText::build_all(&policy.set),
            add: HeaderText::build_all(&policy.add),
        }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        let written = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(written).cloned().collect()
    }

    // A header whose value cannot be made is left out: the request was answered, and nothing can be refused any more.
    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, text) in &self.set {
            if let Ok(Some(value)) = text.render(context) {
                headers.insert(name, value);
            }
        }
        for (name, text) in &self.add {
            if let Ok(Some(value)) = text.render(context) {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method, header};
    use proto::template::{Target, Template};

    fn text(text: &str) -> HeaderText {
        HeaderText::build(&Template::parse(text, Target::HeaderValue, None).unwrap())
    }

    #[test]
    fn remove_then_set_then_add() {
        let name = HeaderName::from_static;
        let filter = ResponseHeadersFilter {
            remove: vec![header::SERVER, name("x-a")],
            set: vec![(name("x-a"), text("1")), (name("x-id"), text("<{header.x-request-id}{path.id}>"))],
            add: vec![(name("x-a"), text("2")), (name("x-none"), text("{query.none}"))],
        };
        let mut context = Context::of_request(Method::GET, "/x?q=1");
        context.capture("id", 1..2);
        context.headers.insert("x-request-id", HeaderValue::from_static("7"));
        let mut headers = HeaderMap::new();
        headers.insert(header::SERVER, HeaderValue::from_static("s"));
        headers.append("x-a", HeaderValue::from_static("0"));
        filter.response(&context, &mut headers);
        let all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(all, [("x-a", "1"), ("x-a", "2"), ("x-id", "<7x>")]);
    }
}
