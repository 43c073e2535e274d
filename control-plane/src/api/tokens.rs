//! Admin tokens: made, listed, taken away. A token is told once, in the answer to its making.

use super::{
    call::Call,
    form::time_text,
    life::{read_end, read_life},
    page::{self, Page},
    problem::{Problem, ProblemKind},
    query::{NONE, PAGES},
};
use crate::{
    access::{AccessError, TokenSpec},
    author::{BOOTSTRAP, ROLES, Role},
    store::StoredToken,
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use proto::{
    invalid::{Invalid, did_you_mean},
    name::Name,
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

const FIELDS: [&str; 4] = ["name", "role", "expires_in", "expires_at"];

/// `GET /v1/tokens`: by name.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let page = Page::read(&call.parameters(&PAGES)?, "tokens")?;
    let mut tokens = call.state.access.list();
    tokens.retain(|token| page.after.as_ref().is_none_or(|after| token.name > *after));
    let more = tokens.len() > page.size;
    tokens.truncate(page.size);
    let next = tokens.last().filter(|_| more).map(|last| page::token(&last.name, "tokens")).unwrap_or_default();
    let body = json!({"tokens": tokens.iter().map(json).collect::<Vec<_>>(), "next_page_token": next});
    Ok(call.form().write_tagged(None, &call.head.headers, &body))
}

/// `GET /v1/tokens/{name}`.
pub(crate) async fn get(name: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let token = call.state.access.get(&name).ok_or_else(|| missing(&name))?;
    Ok(call.form().write_tagged(None, &call.head.headers, &json(&token)))
}

/// `POST /v1/tokens`.
pub(crate) async fn create(call: Call, body: Body) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    let (value, _) = call.document(body).await?;
    let spec = read(&value, OffsetDateTime::now_utc()).map_err(|faults| Problem::invalid_fields(&faults))?;
    let (token, text) = call.state.access.create(call.author()?, spec).await.map_err(problem_of)?;
    let mut body = json(&token);
    body["token"] = text.into();
    let mut response = call.form().write(StatusCode::CREATED, &body);
    let location = HeaderValue::try_from(format!("/v1/tokens/{}", token.name));
    response.headers_mut().insert(header::LOCATION, location.expect("a name is safe in a URL"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `DELETE /v1/tokens/{name}`.
pub(crate) async fn delete(name: String, call: Call) -> Result<Response, Problem> {
    call.parameters(&NONE)?;
    call.state.access.delete(call.author()?, &name).await.map_err(problem_of)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn json(token: &StoredToken) -> Value {
    json!({
        "name": token.name,
        "role": token.role.as_str(),
        "created_at": time_text(token.created_at),
        "created_by": token.created_by,
        "expires_at": token.expires_at.map(time_text),
        "last_used_at": token.last_used_at.map(time_text),
    })
}

// What a token is to be, or every fault at once.
fn read(value: &Value, now: OffsetDateTime) -> Result<TokenSpec, Vec<Invalid>> {
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: String| {
        faults.push(Invalid { resource: None, pointer: pointer.into(), detail });
    };
    let none = Map::new();
    let object = value.as_object().unwrap_or_else(|| {
        fault("", "an object with name and role is expected".into());
        &none
    });
    for field in object.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
        let pointer = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
        fault(&pointer, format!("a token has no such field{}", did_you_mean(field, FIELDS)));
    }
    let mut text = |field: &str| match object.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => {
            fault(&format!("/{field}"), "a string is expected".into());
            // Told; and not told again as missing.
            Some("")
        }
    };
    let [name, role, within, end] = FIELDS.map(&mut text);
    let name = match name.map(Name::parse) {
        None => Err("a token needs a name".into()),
        Some(Ok(name)) if name.as_str() == BOOTSTRAP => {
            Err(format!("{BOOTSTRAP:?} is what the token of the settings is called"))
        }
        Some(name) => name,
    };
    let name = name.map_err(|detail| fault("/name", detail)).ok();
    let role = read_role(role).map_err(|detail| fault("/role", detail)).ok();
    let expires_at = match (within, end) {
        (None, None) => Ok(None),
        (Some(within), None) => read_life(within).map(|life| Some(now + life)).map_err(|why| ("/expires_in", why)),
        (None, Some(end)) => read_end(end, now).map(Some).map_err(|why| ("/expires_at", why)),
        (Some(_), Some(_)) => Err(("/expires_at", "expires_in is given too; give one of them".into())),
    };
    let expires_at = expires_at.map_err(|(pointer, detail)| fault(pointer, detail)).ok();
    match (name, role, expires_at) {
        (Some(name), Some(role), Some(expires_at)) if faults.is_empty() => Ok(TokenSpec { name, role, expires_at }),
        _ => {
            // One text for a field is enough.
            faults.dedup_by(|second, first| second.pointer == first.pointer);
            Err(faults)
        }
    }
}

fn read_role(text: Option<&str>) -> Result<Role, String> {
    let roles = ROLES.map(Role::as_str);
    let text = text.ok_or_else(|| format!("a token needs a role: {}", roles.join(", ")))?;
    Role::parse(text)
        .ok_or_else(|| format!("{text:?} is no role; there are {}{}", roles.join(", "), did_you_mean(text, roles)))
}

fn problem_of(error: AccessError) -> Problem {
    match error {
        AccessError::NameTaken(name) => {
            let detail = format!("there is a token named {:?}; delete it first, or take another name", name.as_str());
            Problem::new(ProblemKind::NameTaken, detail)
        }
        AccessError::NotFound(name) => missing(&name),
        AccessError::TooMany(most) => {
            let detail = format!("there are {most} tokens; delete some that nobody uses");
            Problem::new(ProblemKind::LimitReached, detail)
        }
        AccessError::Unavailable(detail) => Problem::unavailable(detail),
    }
}

fn missing(name: &str) -> Problem {
    Problem::not_found(format_args!("token named {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::{Duration, macros::datetime};

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    fn check(value: Value, expect: &[&str]) {
        let pointers: Vec<String> = match read(&value, NOW) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.pointer).collect(),
        };
        assert_eq!(pointers, expect, "{value}");
    }

    #[test]
    fn every_fault_of_a_token_is_told_at_once() {
        check(json!({"name": "ci", "role": "editor"}), &[]);
        check(json!({"name": "ci", "role": "editor", "expires_at": null}), &[]);
        check(json!({}), &["/name", "/role"]);
        check(json!([]), &["", "/name", "/role"]);
        check(
            json!({"name": "CI", "role": "root", "expires_in": "soon", "ttl": 1}),
            &["/ttl", "/name", "/role", "/expires_in"],
        );
        check(json!({"name": 7, "role": "viewer"}), &["/name"]);
        check(json!({"name": "bootstrap", "role": "viewer"}), &["/name"]);
        check(json!({"name": "a", "role": "viewer", "expires_in": "1d", "expires_at": "x"}), &["/expires_at"]);
    }

    #[test]
    fn a_token_ends_when_that_is_said() {
        let end = |field: &str, text: &str| {
            let read = read(&json!({"name": "a", "role": "viewer", field: text}), NOW);
            read.ok().and_then(|spec| spec.expires_at)
        };
        assert_eq!(end("expires_in", "90d"), Some(NOW + Duration::days(90)));
        assert_eq!(end("expires_in", "5m"), Some(NOW + Duration::minutes(5)));
        assert_eq!(end("expires_at", "2026-11-24T13:00:00+01:00"), None, "that is now");
        assert_eq!(end("expires_at", "2026-11-24T14:00:00+01:00"), Some(NOW + Duration::hours(1)));
        for life in ["0d", "3651d", "-1d", "+1d", "d", "1.5d", "25h", "", "99999999999d"] {
            assert_eq!(end("expires_in", life), None, "{life}");
        }
        for time in ["2026-11-24", "2026-11-24T11:59:59Z", "2126-11-24T12:00:00Z", "tomorrow"] {
            assert_eq!(end("expires_at", time), None, "{time}");
        }
    }
}
