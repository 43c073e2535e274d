//! What a request offers to the templates of its route.

use super::Context;
use proto::{
    claims::Claims,
    matching::{Captures, parameter},
    path::percent_decode,
    template::{Reference, RequestField, Scope, Value},
};
use serde_json::Value as Json;
use std::borrow::Cow;

/// The values of a request.
pub(crate) struct Values<'a> {
    context: &'a Context,
    // The names of the captures, in their order.
    variables: &'a [String],
    captures: Captures,
}

impl<'a> Values<'a> {
    /// With what the path of its route captured.
    pub(crate) fn of(context: &'a Context) -> Values<'a> {
        let variables = context.routed.as_ref().map_or(&[][..], |routed| &routed.variables);
        Values { context, variables, captures: context.captures }
    }

    /// With what its path captured by these names.
    pub(crate) fn with_captures(context: &'a Context, variables: &'a [String], captures: Captures) -> Values<'a> {
        Values { context, variables, captures }
    }

    /// The request.
    pub(crate) fn context(&self) -> &'a Context {
        self.context
    }
}

impl Scope for Values<'_> {
    fn value(&self, reference: &Reference) -> Option<Value<'_>> {
        let context = self.context;
        Some(Value::One(match reference {
            Reference::Path(name) => {
                let index = self.variables.iter().position(|variable| variable == name)?;
                percent_decode(self.captures.get(index, context.path())?)
            }
            Reference::Query(name) => Cow::Owned(parameter(context.target.query()?, name)?),
            // The Host that the client asked for is not among the headers that the upstream sees.
            Reference::Header(name) if name == "host" => Cow::Borrowed(context.host.value().as_bytes()),
            Reference::Header(name) => Cow::Borrowed(context.headers.get(name)?.as_bytes()),
            Reference::Claims(names) => return claim(context, names),
            Reference::ConsumerName => Cow::Borrowed(context.consumer()?.name.as_str().as_bytes()),
            // Only what answers one knows it; only a composition knows its parts.
            Reference::Error(_) | Reference::Part { .. } | Reference::Item(_) => return None,
            Reference::ClientAddress => Cow::Owned(context.client.to_string().into_bytes()),
            Reference::Request(field) => Cow::Borrowed(match field {
                RequestField::Id => context.request_id.as_bytes(),
                RequestField::Host => context.host.name().as_bytes(),
                RequestField::Method => context.method.as_str().as_bytes(),
                RequestField::Path => context.path().as_bytes(),
                RequestField::Scheme => context.scheme.as_str().as_bytes(),
            }),
        }))
    }
}

/// What is proven of that name, by the first who proved something of it.
fn claim<'a>(context: &'a Context, names: &[String]) -> Option<Value<'a>> {
    let (first, below) = names.split_first()?;
    let find = |claims: &'a Claims| {
        let inner = |claim: &'a Json, name: &String| claim.as_object()?.get(name);
        below.iter().try_fold(claims.get(first)?, inner)
    };
    let claim = context.principals.iter().find_map(|principal| find(&principal.claims))?;
    Some(match claim {
        Json::Null => return None,
        Json::Array(elements) => match elements.iter().map(scalar).collect() {
            Some(values) => Value::Several(values),
            None => Value::Opaque,
        },
        claim => scalar(claim).map_or(Value::Opaque, Value::One),
    })
}

fn scalar(claim: &Json) -> Option<Cow<'_, [u8]>> {
    match claim {
        Json::String(text) => Some(Cow::Borrowed(text.as_bytes())),
        Json::Bool(_) | Json::Number(_) => Some(Cow::Owned(claim.to_string().into_bytes())),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::Authority, principal::Principal};
    use http::{HeaderValue, Method};
    use proto::{
        name::Name,
        template::{Target, Template},
    };
    use serde_json::json;
    use std::rc::Rc;

    #[test]
    fn a_request_offers_what_it_carries() {
        let mut context = Context::of_request(Method::GET, "/a%20b?q=1");
        context.host = Authority::parse(&HeaderValue::from_static("A.example:8080")).unwrap();
        let check = |text: &str, expect: Option<&str>| {
            let template = Template::parse(text, Target::HeaderValue, None).unwrap();
            let mut out = String::new();
            let rendered = template.render(&Values::of(&context), &mut out).ok().map(|()| out);
            assert_eq!(rendered.as_deref(), expect, "{text}");
        };
        check("{request.method} {request.scheme}://{request.host}{request.path}", Some("GET http://a.example/a%20b"));
        check("{client.address} {request.id} {header.host}", Some("127.0.0.1 test A.example:8080"));
        for absent in ["{path.id}", "{claims.sub}", "{consumer.name}", "{query.x}"] {
            check(absent, None);
        }
        let claims = json!({"sub": "ann", "n": 7, "r": {"roles": ["a", "b"], "x": {}}, "mixed": [1, {}], "none": null});
        let claims = claims.as_object().unwrap().clone();
        let known = Principal::new("jwt", Name::parse("p").unwrap(), "ann".into());
        context.principals.add(Rc::new(Principal { claims, ..known }));
        let check = |text: &str, expect: Option<&str>| {
            let template = Template::parse(text, Target::HeaderValue, None).unwrap();
            let mut out = String::new();
            let rendered = template.render(&Values::of(&context), &mut out).ok().map(|()| out);
            assert_eq!(rendered.as_deref(), expect, "{text}");
        };
        check("{claims.sub} {claims.n} {claims.r.roles}", Some("ann 7 a,b"));
        for absent in ["{claims.r}", "{claims.r.x}", "{claims.mixed}", "{claims.none}", "{claims.sub.x}"] {
            check(absent, None);
        }
    }
}
