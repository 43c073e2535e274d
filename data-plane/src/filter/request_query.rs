//! Change the query of the request: keep, remove, rename, set, then add. What is not named stays byte for byte.

use super::verdict::Verdict;
use crate::{
    context::{Context, Values},
    error::{Fault, Refusal},
};
use bytes::Bytes;
use http::{StatusCode, uri::PathAndQuery};
use proto::{
    matching::decode_form,
    policy::{Parameter, RequestQuery},
    template::RenderError,
};
use std::{borrow::Cow, sync::Arc};

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct RequestQueryFilter {
    policy: Arc<RequestQuery>,
    // What the path of the route captures.
}

// === impl RequestQueryFilter ===

impl RequestQueryFilter {
    pub(super) fn build(policy: &Arc<RequestQuery>) -> RequestQueryFilter {
        RequestQueryFilter { policy: policy.clone() }
    }

    pub(super) fn request(&self, context: &mut Context) -> Verdict<'static> {
        let refuse = |detail: Cow<'static, str>| {
            let (status, fault) = (StatusCode::BAD_REQUEST, Fault::Client);
            Verdict::refuse(Refusal {
                status,
                fault,
                reason: "request_query",
                detail: detail.into(),
                headers: Vec::new(),
            })
        };
        let query = match self.change(context) {
            Ok(query) => query,
            Err(error) => return refuse(format!("the query cannot be made: {error}").into()),
        };
        if query == context.target.query().unwrap_or_default() {
            return Verdict::CONTINUE;
        }
        let path = context.target.path();
        let target = match query.as_str() {
            "" => path.to_string(),
            query => [path, query].join("?"),
        };
        match PathAndQuery::from_maybe_shared(Bytes::from(target)) {
            Ok(target) => context.target = target,
            Err(_) => return refuse("the query is longer than a request can have".into()),
        }
        Verdict::CONTINUE
    }

    // Values are made of the request as it came.
    fn change(&self, context: &Context) -> Result<String, RenderError> {
        let RequestQuery { keep, remove, rename, set, add } = &*self.policy;
        let old = context.target.query().unwrap_or_default();
        let mut query = String::with_capacity(old.len() + 32);
        let mut written = vec![false; set.len()];
        for pair in old.split('&').filter(|_| !old.is_empty()) {
            let (name, rest) = pair.split_at(pair.find('=').unwrap_or(pair.len()));
            let mut decoded = decode_form(name);
            if keep.as_ref().is_some_and(|keep| !keep.contains(&*decoded)) || remove.contains(&*decoded) {
                continue;
            }
            let mut pair = Cow::Borrowed(pair);
            if let Some((_, new)) = rename.iter().find(|(name, _)| **name == *decoded) {
                decoded = decode_form(new);
                pair = Cow::Owned([new.as_str(), rest].concat());
            }
            match set.iter().position(|parameter| parameter.name == *decoded) {
                // In the place of the first of the name.
                Some(at) if written[at] => {}
                Some(at) => {
                    self.write(&set[at], context, &mut query)?;
                    written[at] = true;
                }
                None => push(&pair, &mut query),
            }
        }
        let unwritten = set.iter().zip(&written).filter(|(_, written)| !**written).map(|(parameter, _)| parameter);
        unwritten.chain(add).try_for_each(|parameter| self.write(parameter, context, &mut query))?;
        Ok(query)
    }

    // One whose value the request lacks is left out.
    fn write(&self, parameter: &Parameter, context: &Context, query: &mut String) -> Result<(), RenderError> {
        let mut pair = [parameter.encoded.as_str(), "="].concat();
        match parameter.value.render(&Values::of(context), &mut pair) {
            Ok(()) => push(&pair, query),
            Err(RenderError::Absent(_)) => {}
            Err(error @ RenderError::Unencodable(_)) => return Err(error),
        }
        Ok(())
    }
}

fn push(pair: &str, query: &mut String) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(pair);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::verdict::Said;
    use http::Method;
    use proto::template::{Target, Template};

    fn parameters(list: &[(&str, &str)]) -> Vec<Parameter> {
        let parameter = |(name, value): &(&str, &str)| Parameter {
            name: (*name).into(),
            encoded: name.replace(' ', "%20"),
            value: Template::parse(value, Target::QueryValue, None).unwrap(),
        };
        list.iter().map(parameter).collect()
    }

    fn nothing() -> RequestQuery {
        RequestQuery { keep: None, remove: Default::default(), rename: Vec::new(), set: Vec::new(), add: Vec::new() }
    }

    #[track_caller]
    fn check(policy: RequestQuery, target: &'static str, expect: &str) {
        let filter = RequestQueryFilter { policy: Arc::new(policy) };
        let mut context = Context::of_request(Method::GET, target);
        context.capture("id", 1..2);
        assert!(matches!(filter.request(&mut context), Verdict::Now(Said::Continue)));
        assert_eq!(context.target.as_str(), expect);
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let without =
            |names: &[&str]| RequestQuery { remove: names.iter().map(|name| (*name).into()).collect(), ..nothing() };
        check(without(&["b"]), "/x?a=%7e+%2f&b=1&&c&%62=2&a=2&=", "/x?a=%7e+%2f&&c&a=2&=");
        check(without(&["b"]), "/x?%zz=1&b", "/x?%zz=1");
        check(without(&["b", "a b"]), "/x?b=1&a+b=2&a%20b", "/x");
        check(without(&["b"]), "/x", "/x");
        check(without(&["b"]), "/x?", "/x?");
        let only = |names: &[&str]| RequestQuery {
            keep: Some(names.iter().map(|name| (*name).into()).collect()),
            ..nothing()
        };
        check(only(&["a"]), "/x?b=1&a=1&A=2&a[]=3&%61=4", "/x?a=1&%61=4");
        check(only(&[]), "/x?b=1&&a=1", "/x");
        check(
            RequestQuery { rename: vec![(b"a".into(), "b".into())], ..nothing() },
            "/x?a=%2B&aa=1&a&b=2",
            "/x?b=%2B&aa=1&b&b=2",
        );
    }

    #[test]
    fn what_is_set_takes_the_place_of_the_first() {
        let set = |list: &[(&str, &str)]| RequestQuery { set: parameters(list), ..nothing() };
        check(set(&[("a", "{path.id}&x=1")]), "/x?b=1&a=2&c=3&a=4", "/x?b=1&a=x%26x%3D1&c=3");
        check(set(&[("a b", "1"), ("c", "{query.\"a b\"}")]), "/x?d=1", "/x?d=1&a%20b=1");
        // What the policy has no value for is not the client's to say.
        check(set(&[("user", "{claims.sub}")]), "/x?user=eve&q=1", "/x?q=1");
        let renamed = RequestQuery { rename: vec![(b"u".into(), "user".into())], ..set(&[("user", "{claims.sub}")]) };
        check(renamed, "/x?u=eve", "/x");
        check(RequestQuery { add: parameters(&[("a", "2")]), ..nothing() }, "/x?a=1", "/x?a=1&a=2");
        check(RequestQuery { add: parameters(&[("a", "2")]), ..nothing() }, "/x", "/x?a=2");
    }
}
