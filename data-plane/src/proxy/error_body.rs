//! Bodies of one's own for errors, where a policy has some that the client likes.

use crate::{
    context::{Answer, Context, Values},
    error::Error,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use proto::{
    policy::{ErrorBodies, ErrorBody},
    template::{ErrorField, Reference, Scope, Value},
};
use std::borrow::Cow;

/// What an error offers to a template, beside the request.
struct ErrorValues<'a> {
    request: Values<'a>,
    error: &'a Error,
    detail: String,
}

/// Puts a body of one's own into the answer to an error, if there is one for it.
pub(super) fn write(policy: &ErrorBodies, error: &Error, context: &Context, variables: &[String], answer: &mut Answer) {
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    let Some(own) = liked(policy, error, context) else { return };
    let request = Values::with_captures(context, variables, context.captures);
    let values = ErrorValues { request, error, detail: error.to_string() };
    let mut body = String::with_capacity(256);
    // A body has gaps, and no faults.
    if own.body.render(&values, &mut body).is_ok() {
        answer.headers_mut().insert(header::CONTENT_TYPE, own.content_type.clone());
        *answer.body_mut() = Bytes::from(body);
    }
}

// Of those that are for the error, the one that the client likes best, and of several the first.
fn liked<'p>(policy: &'p ErrorBodies, error: &Error, context: &Context) -> Option<&'p ErrorBody> {
    let fitting = policy.bodies.iter().filter(|body| body.is_for(error.status(), error.reason()));
    let accept: Vec<&[u8]> = context.headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes).collect();
    let accept = match accept.is_empty() {
        true => Cow::Borrowed(&b"*/*"[..]),
        false => Cow::Owned(accept.join(&b","[..])),
    };
    let mut best: Option<(u16, &ErrorBody)> = None;
    for body in fitting {
        let liking = body.liking(&accept);
        if liking > best.map_or(0, |(best, _)| best) {
            best = Some((liking, body));
        }
    }
    best.map(|(_, body)| body)
}

impl Scope for ErrorValues<'_> {
    fn value(&self, reference: &Reference) -> Option<Value<'_>> {
        let Reference::Error(field) = reference else { return self.request.value(reference) };
        let status = self.error.status();
        Some(Value::One(match field {
            ErrorField::Status => Cow::Owned(status.as_str().as_bytes().to_vec()),
            ErrorField::Title => Cow::Borrowed(status.canonical_reason().unwrap_or("Error").as_bytes()),
            ErrorField::Reason => Cow::Borrowed(self.error.reason().as_bytes()),
            ErrorField::Detail => Cow::Borrowed(self.detail.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use proto::template::{Target, Template};

    #[test]
    fn the_client_gets_what_it_likes() {
        let body = |reasons: &[&str], media_type, target, text: &str| ErrorBody {
            statuses: Vec::new(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            media_type,
            content_type: HeaderValue::from_static(media_type),
            body: Template::parse(text, target, None).unwrap(),
        };
        let policy = ErrorBodies {
            bodies: vec![
                body(&["no_route"], "text/html", Target::Html, "<p>{error.status} {header.x-a}"),
                body(&[], "application/json", Target::Json, "\"{error.reason} {request.id}{query.none}\""),
                body(&[], "text/html", Target::Html, "<p>else"),
            ],
        };
        let check = |error: Error, accept: Option<&'static str>, expect: &str| {
            let mut context = Context::of_request(Method::GET, "/");
            context.headers.insert("x-a", HeaderValue::from_static("<script>"));
            if let Some(accept) = accept {
                context.headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            let mut answer = error.answer(&context.request_id);
            write(&policy, &error, &context, &[], &mut answer);
            let text = std::str::from_utf8(answer.body()).unwrap();
            assert!(text.starts_with(expect), "{text}");
            assert_eq!(answer.headers()[header::VARY], "accept");
        };
        check(Error::NoRoute, None, "<p>404 &#x3c;script&#x3e;");
        check(Error::NoRoute, Some("application/json, text/html;q=0.9"), "\"no_route test\"");
        check(Error::NoRoute, Some("*/*"), "<p>404");
        check(Error::Closed, Some("*/*"), "\"closed test\"");
        check(Error::Closed, Some("text/*"), "<p>else");
        check(Error::Closed, Some("image/png"), "{\"type\":\"about:blank\"");
    }
}
