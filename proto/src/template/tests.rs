use super::*;

struct Request;

impl Scope for Request {
    fn value(&self, reference: &Reference) -> Option<Value<'_>> {
        let several = |values: &[&'static str]| {
            Some(Value::Several(values.iter().map(|value| Cow::Borrowed(value.as_bytes())).collect()))
        };
        let value: &[u8] = match reference {
            Reference::Path(name) if name == "id" => b"a b",
            Reference::Path(name) if name == "rest" => b"x/y z",
            Reference::Query(name) if name == "up" => b"..",
            Reference::Query(name) if name == "q" => b"1&b=2",
            Reference::Query(name) if name == "crlf" => b"a\r\nX: y",
            Reference::Header(name) if name == "x-user" => b"ann",
            Reference::Claims(keys) => match keys.join("/").as_str() {
                "realm/roles" => return several(&["a", "b c"]),
                "https://x.example/roles" => return several(&["one"]),
                "tricky" => return several(&["user,admin"]),
                "object" => return Some(Value::Opaque),
                _ => return None,
            },
            Reference::Request(RequestField::Method) => b"GET",
            Reference::ConsumerName => b"shop",
            Reference::ClientAddress => b"::1",
            _ => return None,
        };
        Some(Value::One(Cow::Borrowed(value)))
    }
}

fn render(text: &str, target: Target) -> Result<String, String> {
    let template = Template::parse(text, target, Some(&[("id", false), ("rest", true)]))?;
    let mut out = String::new();
    template.render(&Request, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

#[test]
fn each_target_encodes() {
    let check = |text: &str, target, expect: &str| assert_eq!(render(text, target).as_deref(), Ok(expect), "{text}");
    check("/v2/{path.id}/x?q={query.q}&r=1", Target::PathAndQuery, "/v2/a%20b/x?q=1%26b%3D2&r=1");
    check("/{path.rest}", Target::PathAndQuery, "/x/y%20z");
    check("/{claims.realm.roles}", Target::PathAndQuery, "/a,b%20c");
    check("/{request.method}?r={claims.tricky}", Target::PathAndQuery, "/GET?r=user%2Cadmin");
    check("{{{header.X-User}}}", Target::HeaderValue, "{ann}");
    check("{header.\"x-user\"}", Target::HeaderValue, "ann");
    check("{claims.realm.roles};{claims.\"https://x.example/roles\"}", Target::HeaderValue, "a,b c;one");
    check("{consumer.name}@{client.address}", Target::HeaderValue, "shop@::1");
    check("", Target::HeaderValue, "");
    check("{claims.realm.roles}&{query.q} é", Target::QueryValue, "a,b%20c%261%26b%3D2%20%C3%A9");
    check("{{\"q\": \"{query.crlf}\"}}", Target::Json, "{\"q\": \"a\\u000d\\u000aX: y\"}");
    // What is for people is better with a gap than not at all.
    check("<p>{query.q}{query.none}{claims.object}</p>", Target::Html, "<p>1&#x26;b&#x3d;2</p>");
}

#[test]
fn nothing_is_injected() {
    for (text, target) in [
        ("/{query.up}", Target::PathAndQuery),
        ("/{query.none}", Target::PathAndQuery),
        ("{query.crlf}", Target::HeaderValue),
        // Two roles out of one that has a comma in it.
        ("{claims.tricky}", Target::HeaderValue),
        ("{claims.object}", Target::HeaderValue),
        ("/{claims.object}", Target::PathAndQuery),
    ] {
        assert!(render(text, target).is_err(), "{text}");
    }
}

#[test]
fn a_bad_template_is_refused_with_advice() {
    for text in ["{", "{path}", "{path.}", "{path.id", "}", "{path.ID}", "{path.id.x}", "{header.a b}", "{query.\"a}"] {
        assert!(Template::parse(text, Target::HeaderValue, Some(&[("id", false)])).is_err(), "{text}");
    }
    for text in ["orders", "/a b", "/a#b", "/%2f", "/a\\b", "/é"] {
        assert!(Template::parse(text, Target::PathAndQuery, Some(&[])).is_err(), "{text}");
    }
    assert!(Template::parse("{error.status}", Target::HeaderValue, None).is_err());
    assert!(Template::parse("{error.status}", Target::Text, None).is_ok());
    // A policy does not know what its routes capture.
    assert!(Template::parse("{path.any}", Target::HeaderValue, None).is_ok());
}

#[test]
fn a_json_body_takes_values_as_they_are_and_texts_as_strings() {
    let check = |text: &str, expect: Result<&str, &str>| {
        let result = render_json(text);
        match expect {
            Ok(body) => assert_eq!(result.as_deref(), Ok(body), "{text}"),
            Err(part) => assert!(result.as_ref().is_err_and(|error| error.contains(part)), "{text}: {result:?}"),
        }
    };
    check("{\"ids\": {parts.list.ids}}", Ok("{\"ids\": [1, 12345678901234567890.10]}"));
    check("{\"a\":{\"b\":{items.sku}}}", Ok("{\"a\":{\"b\":[\"x\",\"y\\n\"]}}"));
    check("[{path.id}, \"{path.id} {{x}} {parts.list.name}\"]", Ok("[\"a b\", \"a b {x} é\\\"\"]"));
    check("{claims.realm.roles}", Ok("[\"a\",\"b c\"]"));
    check("{parts.list.none}", Err("the request has no parts.list.none"));
    check("\"{parts.list.object}\"", Err("cannot be encoded"));
    check("{parts.list.object}", Ok("{\"n\":null}"));
    check("\"{items.sku}\"", Ok("\"x,y\\u000a\""));
    check("{parts.lost.x}", Err("there is no part \"lost\"; did you mean \"list\"?"));
    for bad in ["{\"a\": }", "{ {path.id}: 1 }", "1{path.id}", "{path.id}{path.id}", "\"\\{path.id}\"", "\"", ""] {
        check(bad, Err("not JSON"));
    }
}

#[test]
fn a_json_value_is_text_where_text_belongs() {
    let render = |text: &str, target| {
        let roots = Roots { parts: Some(&["list"]), items: true, ..Default::default() };
        let template = Template::parse_within(text, target, roots)?;
        let mut out = String::new();
        template.render(&Answers, &mut out).map_err(|e| e.to_string()).map(|()| out)
    };
    let check = |text: &str, target, expect: &str| {
        assert_eq!(render(text, target).as_deref(), Ok(expect), "{text}");
    };
    check("/s/{parts.list.ids}?sku={items.sku}", Target::PathAndQuery, "/s/1,12345678901234567890.10?sku=x,y%0A");
    check("{parts.list.name}", Target::HeaderValue, "é\"");
    check("{parts.list.yes}", Target::HeaderValue, "true");
    for absent in ["{parts.list.null}", "{parts.list.none}"] {
        assert!(render(absent, Target::HeaderValue).unwrap_err().contains("has no"), "{absent}");
    }
    for opaque in ["/{parts.list.object}", "/{parts.list.empty}", "/{parts.list.nested}", "/{parts.list.surrogate}"] {
        assert!(render(opaque, Target::PathAndQuery).unwrap_err().contains("cannot be encoded"), "{opaque}");
    }
    // Outside of a composition nobody knows them.
    assert!(Template::parse("{parts.list}", Target::HeaderValue, None).unwrap_err().contains("`compose`"));
    assert!(Template::parse("{items}", Target::HeaderValue, None).unwrap_err().contains("`for_each`"));
}

fn render_json(text: &str) -> Result<String, String> {
    let roots = Roots { variables: Some(&[("id", false)]), parts: Some(&["list"]), items: true };
    let template = Template::parse_within(text, Target::JsonBody, roots)?;
    let mut out = String::new();
    template.render(&Answers, &mut out).map_err(|e| e.to_string()).map(|()| out)
}

struct Answers;

impl Scope for Answers {
    fn value(&self, reference: &Reference) -> Option<Value<'_>> {
        let json = |text: &'static str| Some(Value::Json(Cow::Borrowed(text.as_bytes())));
        match reference {
            Reference::Part { part: 0, path, .. } => match path.to_string().as_str() {
                "ids" => json("[1, 12345678901234567890.10]"),
                "name" => json("\"\\u00e9\\\"\""),
                "yes" => json("true"),
                "null" => json("null"),
                "object" => json("{\"n\":null}"),
                "empty" => json("[]"),
                "nested" => json("[[1]]"),
                "surrogate" => json("\"\\ud800\""),
                _ => None,
            },
            Reference::Item(_) => Some(Value::JsonList(vec![Cow::Borrowed(b"\"x\""), Cow::Borrowed(b"\"y\\n\"")])),
            other => Request.value(other),
        }
    }
}
