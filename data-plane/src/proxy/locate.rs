//! Addresses that a route makes of a request's, and the answers that the gateway gives itself.

use super::{admit::path_and_query, body::Flow};
use crate::{context::Values, error::Error};
use bytes::Bytes;
use http::{HeaderValue, Response, header, uri::PathAndQuery};
use proto::{
    matching::Scheme,
    path::normalise,
    route::{Redirect, Respond, Rewrite},
};
use std::fmt::Write;

/// The path and query after a rewrite, in their normal form again.
pub(super) fn rewrite(rewrite: &Rewrite, values: &Values<'_>) -> Result<PathAndQuery, Error> {
    let target = &values.context().target;
    let mut new = String::with_capacity(target.as_str().len() + 16);
    match rewrite {
        Rewrite::Prefix { matched, by } => {
            new.push_str(by);
            new.push_str(target.path().get(*matched..).unwrap_or_default());
            if new.is_empty() {
                new.push('/');
            }
        }
        Rewrite::Template(template) => template.render(values, &mut new).map_err(Error::Rewrite)?,
    }
    let (path, query) = match new.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (new.as_str(), target.query()),
    };
    let path = normalise(path).map_err(Error::RewrittenPath)?;
    path_and_query(path.into_owned(), query).ok_or(Error::Target)
}

/// The answer that sends the client elsewhere.
pub(super) fn redirect(redirect: &Redirect, values: &Values<'_>) -> Result<Response<Flow>, Error> {
    let context = values.context();
    let target = match &redirect.rewrite {
        Some(change) => rewrite(change, values)?,
        None => context.target.clone(),
    };
    let mut location = String::with_capacity(target.as_str().len() + 64);
    if redirect.scheme.is_some() || redirect.host.is_some() || redirect.port.is_some() {
        let scheme = redirect.scheme.unwrap_or(context.scheme);
        let (name, default) = match scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        let host = redirect.host.as_deref().unwrap_or(context.host.name());
        location.push_str(name);
        location.push_str("://");
        location.push_str(host);
        // A port of its own only where it is not the scheme's; to write into a string cannot fail.
        if let Some(port) = redirect.port.filter(|port| *port != default) {
            write!(location, ":{port}").ok();
        }
    }
    if location.is_empty() && target.as_str().starts_with("//") {
        // Alone it would be read as another host.
        let name = match context.scheme {
            Scheme::Http => "http://",
            Scheme::Https => "https://",
        };
        location.push_str(name);
        location.push_str(context.host.value().to_str().map_err(|_| Error::Target)?);
    }
    location.push_str(target.as_str());
    let location = HeaderValue::try_from(location).map_err(|_| Error::Target)?;
    let mut response = Response::new(Flow::whole(Bytes::new()));
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The answer that the route has ready.
pub(super) fn respond(respond: &Respond, values: &Values<'_>) -> Response<Flow> {
    let mut response = Response::new(Flow::whole(respond.body.clone()));
    *response.status_mut() = respond.status;
    let headers = response.headers_mut();
    for header in &respond.headers {
        let mut text = String::new();
        // A header whose value the request lacks is left out.
        if header.value.render(values, &mut text).is_ok()
            && let Ok(value) = HeaderValue::try_from(text)
        {
            headers.append(header.name.clone(), value);
        }
    }
    if !respond.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Authority, Context};
    use http::Method;
    use proto::{
        matching::Captures,
        template::{Target, Template},
    };

    fn location(change: Redirect, target: &'static str) -> String {
        let mut context = Context::of_request(Method::GET, target);
        context.host = Authority::parse(&HeaderValue::from_static("a.example:8080")).unwrap();
        let response = redirect(&change, &Values::of(&context)).unwrap();
        response.headers()[header::LOCATION].to_str().unwrap().into()
    }

    #[test]
    fn a_prefix_gives_way() {
        let check = |matched, by: &str, target: &'static str, expect: &str| {
            let context = Context::of_request(Method::GET, target);
            let change = Rewrite::Prefix { matched, by: by.into() };
            assert_eq!(rewrite(&change, &Values::of(&context)).unwrap().as_str(), expect);
        };
        check(4, "/v2", "/api/x?q=1", "/v2/x?q=1");
        check(4, "", "/api", "/");
        check(4, "", "/api/", "/");
        check(4, "", "/api?x", "/?x");
        check(0, "/v2", "/x", "/v2/x");
    }

    #[test]
    fn a_template_makes_the_path_and_maybe_the_query() {
        let variables = ["id".to_string()];
        let mut captures = Captures::default();
        captures.push(1, 6);
        let check = |text: &str, expect: &str| {
            let context = Context::of_request(Method::GET, "/a%20b?q=1%262");
            let template = Template::parse(text, Target::PathAndQuery, Some(&[("id", false)])).unwrap();
            let values = Values::with_captures(&context, &variables, captures);
            assert_eq!(rewrite(&Rewrite::Template(template), &values).unwrap().as_str(), expect);
        };
        check("/o/{path.id}", "/o/a%20b?q=1%262");
        check("/o?id={path.id}&q={query.q}", "/o?id=a%20b&q=1%262");
    }

    #[test]
    fn a_value_that_would_change_the_path_is_refused() {
        let context = Context::of_request(Method::GET, "/x?up=..%2F..");
        let template = Template::parse("/files/{query.up}", Target::PathAndQuery, Some(&[])).unwrap();
        assert!(rewrite(&Rewrite::Template(template), &Values::of(&context)).is_err());
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let to = |scheme, host: Option<&str>, port| Redirect {
            status: http::StatusCode::FOUND,
            scheme,
            host: host.map(str::to_string),
            port,
            rewrite: None,
        };
        assert_eq!(location(to(Some(Scheme::Https), None, None), "/a?b"), "https://a.example/a?b");
        assert_eq!(location(to(None, Some("b.example"), Some(80)), "/a"), "http://b.example/a");
        assert_eq!(location(to(None, None, Some(81)), "/a"), "http://a.example:81/a");
        // A path that begins with two slashes is no other host.
        let root = Rewrite::Prefix { matched: 2, by: String::new() };
        let to_root = Redirect { rewrite: Some(root), ..to(None, None, None) };
        assert_eq!(location(to_root, "/a//evil.example/x"), "http://a.example:8080//evil.example/x");
        let prefix = Rewrite::Prefix { matched: 2, by: "/b".into() };
        assert_eq!(location(Redirect { rewrite: Some(prefix), ..to(None, None, None) }, "/a/x?q"), "/b/x?q");
    }
}
